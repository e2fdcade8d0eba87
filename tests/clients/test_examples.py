"""The programs of docs/examples/clients, as people copy them: at the real server, and at one that is busy or silent.

CI has the toolchains of all languages; elsewhere those of a language that is missing are skipped.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.documentation import blocks_of, run_by
from tests.e2e.support import PATH, start
from tests.zoo import ROOT

FOLDER = ROOT / "docs" / "examples" / "clients"
PAGE = FOLDER / "README.md"
ANSWER = json.dumps({"label": "cat", "probability": 0.75, "probabilities": {"cat": 0.75, "dog": 0.25}}).encode()
PROBLEM = json.dumps({"code": "overloaded", "detail": "The queue is full."}).encode()


def programs() -> dict[str, list[str]]:
    """Return the commands that the page gives for each file, in the order in which they are run."""
    headings = {number: line for number, line in enumerate(PAGE.read_text().splitlines(), 1) if line.startswith("## ")}
    found = {}
    for block in run_by(__file__):
        if block.language == "sh":
            heading = headings[max(number for number in headings if number < block.line)]
            found[heading.split("`")[1]] = block.commands
    return found


PROGRAMS = programs()
TIMEOUT_S = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs, compiled where they need to be, and two pictures."""
    made = tmp_path_factory.mktemp("examples")
    for path in FOLDER.iterdir():
        shutil.copy(path, made)
    shutil.copy(zoo.CAT, made / "photo.jpg")
    (made / "letter.jpg").write_text("no picture")
    return made


@pytest.fixture(params=sorted(PROGRAMS))
def program(request: pytest.FixtureRequest, folder: Path) -> "Program":
    return Program.ready(request.param, folder)


def missing(name: str) -> list[str]:
    """Return the tools that a program needs and that are not on the PATH."""
    tools = {step.split()[0] for step in PROGRAMS[name]} - {"python"}
    return [tool for tool in sorted(tools) if not tool.startswith("./") and shutil.which(tool) is None]


class Program:
    """A program, ready to run."""

    def __init__(self, command: str, folder: Path) -> None:
        self.command, self.folder = command, folder

    @classmethod
    def ready(cls, name: str, folder: Path) -> "Program":
        *steps, command = PROGRAMS[name]
        for tool in missing(name):
            assert "CI" not in os.environ, f"CI must install {tool}: {name} is run nowhere else"
            pytest.skip(f"no {tool} on the PATH")
        compiled = folder / f"{name}.compiled"
        if not compiled.exists():
            for step in steps:
                subprocess.run(["sh", "-ec", step], cwd=folder, check=True, timeout=120)
            compiled.touch()
        return cls(re.sub("^python ", f"{sys.executable} ", command), folder)

    def start(self, url: str, picture: str = "photo.jpg", key: str = "") -> "subprocess.Popen[str]":
        """Run it as the page says, at another address."""
        address = "http://127.0.0.1:8080/predictions/catsdogs"
        command = self.command.replace("photo.jpg", picture)
        command = command.replace(address, url) if address in command else f"{command} {url}"
        # Without the proxies of this machine, which some of the languages would ask.
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        kept.pop("CATSDOGS_KEY", None)
        environment = kept | ({"CATSDOGS_KEY": key} if key else {})
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["sh", "-ec", f"exec {command}"], cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, url: str, picture: str = "photo.jpg", key: str = "") -> tuple[int, str, str]:
        """Return its exit status, and what it wrote to standard output and to standard error."""
        with self.start(url, picture, key) as child:
            out, errors = child.communicate(timeout=90)
        return child.returncode, out, errors


@pytest.fixture(scope="module")
def key() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def server(archive: Path, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(key)
    with start(archive, workers=1, keys=keys) as running:
        yield running


class Busy(BaseHTTPRequestHandler):
    """Answers with the statuses of its server in turn; the last one goes on."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        server: Line = self.server  # type: ignore[assignment]
        server.asked.append(time.monotonic())
        status = server.statuses[min(len(server.asked), len(server.statuses)) - 1]
        body = server.answer if status == 200 else PROBLEM if server.is_problem else b"<h1>Busy</h1>"
        self.send_response(status)
        kind = "application/json" if status == 200 else "application/problem+json" if server.is_problem else "text/html"
        self.send_header("Content-Type", kind)
        if status != 200:
            date = formatdate(time.time() + 3, usegmt=True)
            self.send_header("Retry-After", server.retry_after.replace("DATE", date))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Line(ThreadingHTTPServer):
    def __init__(self, statuses: tuple[int, ...], retry_after: str, is_problem: bool, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Busy)
        self.statuses, self.retry_after, self.is_problem = statuses, retry_after, is_problem
        self.answer = answer
        self.asked: list[float] = []


@contextmanager
def busy(
    *statuses: int, retry_after: str = "0", is_problem: bool = True, answer: bytes = ANSWER
) -> Iterator[tuple[str, list[float]]]:
    """The address of a server that answers with these statuses, and when it was asked; DATE is 3 seconds ahead."""
    with Line(statuses, retry_after, is_problem, answer) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}{PATH}", made.asked
        finally:
            made.shutdown()
            thread.join()


def test_it_classifies_a_picture_with_a_key(program: Program, server: Server, key: str) -> None:
    url = server.options.url + PATH
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(url, content=zoo.CAT.read_bytes(), headers=headers, trust_env=False).json()
    status, out, errors = program.run(url, key=key)
    assert (status, errors) == (0, "")
    label, probability = out.split()[:2]
    assert label == answer["label"] == "cat"
    assert float(probability) == pytest.approx(answer["probability"], abs=1e-5)


def test_it_tells_a_refusal_by_its_code(program: Program, server: Server, key: str) -> None:
    status, out, errors = program.run(server.options.url + PATH, "letter.jpg", key)
    assert (status, out) == (1, "")
    assert "unsupported_image: " in errors
    assert len(errors.splitlines()) == 1, errors


def test_it_tells_that_the_key_is_missing(program: Program, server: Server) -> None:
    status, _, errors = program.run(server.options.url + PATH)
    assert status == 1
    assert "unauthorized: The key is missing or wrong." in errors


def test_it_waits_as_long_as_a_busy_server_asks_for(program: Program) -> None:
    with busy(503, 429, 200, retry_after="1") as (url, asked):
        status, out, errors = program.run(url)
        assert (status, out.split()[:2], errors) == (0, ["cat", "0.75"], "")
        assert len(asked) == 3
        assert min(asked[1] - asked[0], asked[2] - asked[1]) >= 0.95


def test_it_waits_until_the_date_that_a_busy_server_names(program: Program) -> None:
    with busy(503, 200, retry_after="DATE") as (url, asked):
        status, _, errors = program.run(url)
        assert (status, errors, len(asked)) == (0, "", 2)
        assert asked[1] - asked[0] >= 1.9


def test_a_wait_that_is_nonsense_is_a_second(program: Program) -> None:
    with busy(503, 200, retry_after="soon") as (url, asked):
        status, _, errors = program.run(url)
        assert (status, errors, len(asked)) == (0, "", 2)
        assert 0.95 <= asked[1] - asked[0] < 10


@pytest.mark.parametrize("answer", [b"<h1>Welcome</h1>", b"", b"{}", b'"cat"'], ids=["HTML", "empty", "other", "text"])
def test_an_answer_of_another_api_is_told_in_a_line(program: Program, answer: bytes) -> None:
    with busy(200, answer=answer) as (url, _):
        status, out, errors = program.run(url)
    assert (status, out) == (1, "")
    assert "not an answer of this API: is " in errors
    assert len(errors.splitlines()) == 1, errors


def test_a_file_that_is_missing_is_told_in_a_line(program: Program) -> None:
    status, out, errors = program.run("http://127.0.0.1:1/", "missing.jpg")
    assert (status, out) == (1, "")
    assert "missing.jpg" in errors
    assert len(errors.splitlines()) == 1, errors


def test_without_a_picture_it_prints_its_usage(program: Program) -> None:
    command = program.command.split(" photo.jpg")[0].removesuffix(" http://127.0.0.1:8080/predictions/catsdogs")
    done = subprocess.run(["sh", "-ec", command], cwd=program.folder, capture_output=True, text=True, timeout=60)
    # go run exits with 1 whatever the program's status is, and prints that.
    assert done.returncode == (1 if command.startswith("go run") else 2)
    assert done.stderr.startswith("usage: ")
    assert len(done.stderr.splitlines()) <= 2, done.stderr


def test_it_gives_up_on_a_server_that_stays_busy(program: Program) -> None:
    with busy(503) as (url, asked):
        status, _, errors = program.run(url)
        assert status == 1
        assert "overloaded: The queue is full." in errors
        assert len(asked) == 4


def test_an_error_of_something_between_is_told_by_its_status(program: Program) -> None:
    with busy(502, is_problem=False) as (url, asked):
        status, _, errors = program.run(url)
        assert (status, len(asked)) == (1, 1)
        assert "http_502: " in errors


def test_where_nobody_listens_there_is_no_answer(program: Program) -> None:
    with socket.socket() as bound:  # bound and not listening: no other process can take the port
        bound.bind(("127.0.0.1", 0))
        status, _, errors = program.run(f"http://127.0.0.1:{bound.getsockname()[1]}{PATH}")
    assert status == 1
    assert "no answer" in errors
    assert len(errors.splitlines()) == 1, errors


def test_none_waits_for_longer_than_its_timeout(folder: Path) -> None:
    ready = [Program.ready(name, folder) for name in PROGRAMS if not missing(name)]
    assert "CI" not in os.environ or len(ready) == len(PROGRAMS)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        began = time.monotonic()
        children = [program.start(f"http://127.0.0.1:{silent.getsockname()[1]}{PATH}") for program in ready]
        for child in children:
            with child:
                _, errors = child.communicate(timeout=60)
            assert child.returncode == 1
            assert "no answer" in errors
        assert TIMEOUT_S - 1 < time.monotonic() - began < TIMEOUT_S + 20


def test_the_page_shows_each_file_as_it_is() -> None:
    shown = [block.text for block in blocks_of(PAGE) if block.language != "sh"]
    files = [path for path in sorted(FOLDER.iterdir()) if path != PAGE]
    assert len(files) == len(PROGRAMS) == len(shown) == 6
    for path in files:
        assert path.read_text() in shown, f"{PAGE.name} shows another {path.name}: python -m docs.client_examples"
