"""What `catsdogs check` makes of right, wrong and missing answers; of the real server: tests/e2e/test_halves.py."""

import json
import shutil
import threading
from base64 import b64decode
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click.testing
import pytest

from serving.pod_cli import check
from tests.zoo import ROOT

SAMPLES = ROOT / "docs" / "samples"
TRUTHS = {path.read_bytes(): path.parent.name for path in SAMPLES.rglob("*.jpg")}
WAYS = ("REST", "KServe v1", "KServe v2")


@contextmanager
def server(mistaken: Collection[str] = (), unready: int = 0, broken: bool = False) -> Iterator[str]:
    """The address of one that knows the samples, but calls these by the other name; ready after so many questions."""
    wrong = {path.read_bytes() for path in SAMPLES.rglob("*.jpg") if path.name in mistaken}
    left = iter(range(unready))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if self.path == "/readyz":
                self.answer(200 if next(left, None) is None else 503, {})
            else:
                self.answer(200, {"models": ["catsdogs"]})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/predictions":
                self.answer(503 if broken else 200, {"label": self.label(body)})
            elif self.path.endswith(":predict"):
                picture = b64decode(json.loads(body)["instances"][0]["b64"])
                self.answer(200, {"predictions": [{"label": self.label(picture)}]})
            else:
                picture = b64decode(json.loads(body)["inputs"][0]["data"][0])
                self.answer(200, {"outputs": [{"name": "label", "data": [self.label(picture)]}]})

        def label(self, picture: bytes) -> str:
            other = {"cat": "dog", "dog": "cat"}
            return other[TRUTHS[picture]] if picture in wrong else TRUTHS[picture]

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_port}"
        finally:
            found.shutdown()
            thread.join()


def ask(url: str, *options: str) -> tuple[int, list[str]]:
    """The exit status and the lines of the command."""
    done = click.testing.CliRunner().invoke(check, ["--url", url, "--pictures", str(SAMPLES), *options])
    return done.exit_code, done.output.splitlines()


def test_every_picture_must_be_right_by_every_protocol() -> None:
    with server() as url:
        status, lines = ask(url)
    assert status == 0
    assert len(lines) == 1 + len(TRUTHS) * len(WAYS)
    assert all(line.startswith("ok    ") for line in lines)


def test_without_a_share_one_wrong_verdict_fails() -> None:
    with server({"11.jpg"}) as url:
        status, lines = ask(url)
    assert status == 1
    assert [line for line in lines if not line.startswith("ok")] == [
        f"FAIL  11.jpg is a cat by {way}: the answer is dog" for way in WAYS
    ]


@pytest.mark.parametrize("share", ["0.9", "0.9375"])
def test_with_a_share_so_many_may_be_wrong_and_are_marked(share: str) -> None:
    with server({"11.jpg"}) as url:
        status, lines = ask(url, "--least-accuracy", share)
    assert status == 0
    assert "MISS  11.jpg is a cat by REST: the answer is dog" in lines
    assert lines[-1] == "ok    15 of 16 pictures are right"
    assert not [line for line in lines if line.startswith("FAIL")]


def test_fewer_fail_by_the_share_alone() -> None:
    with server({"11.jpg", "13.jpg"}) as url:
        status, lines = ask(url, "--least-accuracy", "0.9")
    assert status == 1
    failed = [line for line in lines if line.startswith("FAIL")]
    assert failed == ["FAIL  14 of 16 pictures are right: that is 0.875, and 0.9 is the least"]


def test_what_is_no_verdict_fails_whatever_the_share() -> None:
    with server(broken=True) as url:
        status, lines = ask(url, "--least-accuracy", "0")
    assert status == 1
    assert len([line for line in lines if line.startswith("FAIL") and "by REST" in line]) == len(TRUTHS)
    assert lines[-1] == "ok    0 of 16 pictures are right"


def test_a_server_that_is_not_ready_is_waited_for_where_that_is_asked() -> None:
    with server(unready=1) as url:
        assert ask(url)[0] == 1
    with server(unready=1) as url:
        assert ask(url, "--wait", "30")[0] == 0


def test_waiting_ends_and_says_what_it_waited_for() -> None:
    with server(unready=1000) as url:
        status, lines = ask(url, "--wait", "1")
    assert status == 1
    (line,) = lines
    assert line.startswith("FAIL  it is ready: ")
    assert "503" in line


def test_one_picture_of_one_class_is_a_set(tmp_path: Path) -> None:
    (tmp_path / "Cat").mkdir()
    shutil.copy(SAMPLES / "cat" / "11.jpg", tmp_path / "Cat")
    with server() as url:
        status, lines = ask(url, "--pictures", str(tmp_path), "--least-accuracy", "1")
    assert (status, lines[-1]) == (0, "ok    1 of 1 pictures are right")
