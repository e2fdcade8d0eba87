"""`catsdogs fetch` from a real web server on this machine, which breaks off, lies, changes and refuses."""

import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.download.resume import Limits
from handler.files import UserError
from serving.fetch.download import fetch
from serving.fetch.progress import PERIOD_S, Lines
from serving.fetch.sources import find_source
from serving.fetch.web import HEADER
from tests.serving import web as webs
from tests.serving.web import DATA, OTHER, PART, Web, cut, held, left, redirect, right, sha256, status, wait_for
from tests.zoo import ROOT


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    webs.forget_environment(monkeypatch)


@pytest.fixture
def web() -> Iterator[Web]:
    with webs.serve(DATA) as served:
        yield served


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "models" / "catsdogs.mar"


def run(
    url: str, out: Path, data: bytes = DATA, seconds: float = 20, size: int = 1 << 20, messages: list[str] | None = None
) -> bool:
    limits = Limits(seconds, size, first_wait_s=0.01)
    say = (messages if messages is not None else []).append
    with find_source(url) as source:
        return fetch(source, out, sha256(data), limits, lambda done, total: None, say)


def test_the_file_is_there_and_nothing_else(web: Web, out: Path) -> None:
    assert run(web.url, out) is True
    assert out.read_bytes() == DATA
    assert left(out) == ["catsdogs.mar"]


def test_what_is_there_already_is_not_asked_for(web: Web, out: Path) -> None:
    run(web.url, out)
    assert run(web.url, out) is False
    assert len(web.requests) == 1


def test_another_file_of_that_name_is_replaced_when_the_right_one_is_whole(web: Web, out: Path) -> None:
    out.parent.mkdir()
    out.write_bytes(b"the one before")
    web.turns = [status(404)]
    with pytest.raises(UserError):
        run(web.url, out)
    assert out.read_bytes() == b"the one before"
    run(web.url, out)
    assert out.read_bytes() == DATA


def test_a_connection_that_breaks_is_gone_on_with_where_it_broke(web: Web, out: Path) -> None:
    web.turns = [cut(1000), cut(50_000)]
    run(web.url, out)
    assert web.ranges == [None, "bytes=1000-", "bytes=50000-"]
    assert [headers.get("if-range") for headers in web.requests] == [None, '"one"', '"one"']
    assert out.read_bytes() == DATA


def test_a_weak_etag_is_no_condition_and_a_date_is_one(web: Web, out: Path) -> None:
    web.etag, web.modified = 'W/"one"', "Sun, 22 Nov 2026 08:00:00 GMT"
    web.turns = [cut(1000)]
    run(web.url, out)
    assert web.requests[1]["if-range"] == web.modified


def test_a_server_that_knows_no_ranges_starts_over(web: Web, out: Path) -> None:
    web.turns = [cut(1000), webs.without_ranges]
    messages: list[str] = []
    run(web.url, out, messages=messages)
    assert "The server sends the whole file again: starting over." in messages
    assert out.read_bytes() == DATA


@pytest.mark.parametrize("turn", [webs.right, webs.without_condition], ids=["If-Range is kept", "If-Range is ignored"])
def test_a_file_that_changes_between_two_tries_is_begun_anew(web: Web, out: Path, turn: webs.Turn) -> None:
    def change(request: webs.Handler) -> None:
        web.data, web.etag = OTHER, '"two"'
        turn(request)

    web.turns = [cut(1000), change]
    run(web.url, out, OTHER)
    assert out.read_bytes() == OTHER


def test_a_part_of_another_process_is_gone_on_with(web: Web, out: Path) -> None:
    out.parent.mkdir()
    (out.parent / PART).write_bytes(DATA[:777])
    run(web.url, out)
    assert web.ranges == ["bytes=777-"]
    assert out.read_bytes() == DATA


def test_a_part_of_another_file_costs_a_second_start_and_no_more(web: Web, out: Path) -> None:
    out.parent.mkdir()
    (out.parent / PART).write_bytes(OTHER[:777])
    run(web.url, out)
    assert web.ranges == ["bytes=777-", None]
    assert left(out) == ["catsdogs.mar"]


def test_a_part_longer_than_the_file_is_begun_anew(web: Web, out: Path) -> None:
    out.parent.mkdir()
    (out.parent / PART).write_bytes(OTHER)
    run(web.url, out)
    assert out.read_bytes() == DATA


def test_a_part_that_is_whole_needs_no_server(out: Path) -> None:
    out.parent.mkdir()
    (out.parent / PART).write_bytes(DATA)
    assert run("http://127.0.0.1:1/", out) is True
    assert left(out) == ["catsdogs.mar"]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(web: Web, out: Path, code: int) -> None:
    web.turns = [status(code), status(code)]
    messages: list[str] = []
    run(web.url, out, messages=messages)
    assert len(web.requests) == 3
    assert f"The server answers {code} " in messages[0]


def test_retry_after_is_kept(web: Web, out: Path) -> None:
    web.turns = [status(503, Retry_After=1)]
    messages: list[str] = []
    run(web.url, out, messages=messages)
    assert messages[0].endswith("trying again in 1.0 s.")


def test_waits_grow_while_nothing_comes(web: Web, out: Path) -> None:
    web.turns = [status(503)] * 6
    messages: list[str] = []
    run(web.url, out, messages=messages)
    waits = [float(re.findall(r"in ([\d.]+) s", line)[0]) for line in messages]
    assert waits[-1] > waits[0]
    assert waits[-1] <= 0.01 * 2**5


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_refusal_is_one_sentence_at_once(web: Web, out: Path, code: int) -> None:
    web.always = status(code)
    with pytest.raises(UserError, match=rf"{web.url} cannot be fetched: the server answers {code} "):
        run(web.url, out)
    assert len(web.requests) == 1
    assert left(out) == []


def test_the_limit_of_all_tries_is_kept_and_what_came_too(web: Web, out: Path) -> None:
    web.turns = [cut(100_000)]
    web.always = status(503)
    with pytest.raises(UserError, match=r"not fetched within 1 s, in \d+ tries: the server answers 503.*0\.1 MB"):
        run(web.url, out, seconds=1)
    assert left(out) == [PART]


def test_a_server_that_is_not_there_is_one_sentence(out: Path) -> None:
    with pytest.raises(UserError, match=r"http://127.0.0.1:1/ was not fetched within 0.5 s, in \d+ tries: .*refused"):
        run("http://127.0.0.1:1/", out, seconds=0.5)
    assert left(out) == []


def test_a_server_that_promises_more_than_it_sends_is_refused_as_cut_off(web: Web, out: Path) -> None:
    web.data = DATA[:1000]

    def lie(request: webs.Handler) -> None:
        request.head(200, Content_Length=len(DATA))
        request.wfile.write(web.data)

    web.always = lie
    with pytest.raises(UserError, match=rf"it was cut off at 1000 of {len(DATA)} bytes"):
        run(web.url, out, seconds=0.5)
    assert not out.exists()


def test_a_wrong_sha256_names_both_and_leaves_nothing(web: Web, out: Path) -> None:
    web.data = OTHER
    with pytest.raises(UserError, match=f"its sha256 is {sha256(OTHER)}, not {sha256(DATA)}.$"):
        run(web.url, out)
    assert left(out) == []
    web.data = DATA
    assert run(web.url, out)


@pytest.mark.parametrize("turn", [webs.right, webs.without_length], ids=["with its length", "without a length"])
def test_a_file_that_was_cut_off_before_it_came_to_the_server_is_called_so(
    web: Web, out: Path, turn: webs.Turn
) -> None:
    web.data, web.always = DATA[:200_000], turn
    with pytest.raises(
        UserError, match="It was cut off: 200000 bytes, which begin as an archive and do not end as one"
    ):
        run(web.url, out)
    assert left(out) == []


def test_a_page_instead_of_an_archive_is_called_so(web: Web, out: Path) -> None:
    web.data = b"<html>Please sign in</html>"
    with pytest.raises(UserError, match="It is no archive at all, but 27 bytes of something else"):
        run(web.url, out)


@pytest.mark.parametrize("turn", [webs.right, webs.without_length], ids=["told", "not told"])
def test_more_than_the_limit_is_not_written(web: Web, out: Path, turn: webs.Turn) -> None:
    web.always = turn
    with pytest.raises(UserError, match=r"too large: 0.\d MB, where the limit is 0.1 MB"):
        run(web.url, out, size=100_000)
    assert left(out) == []


def test_a_redirect_is_followed(web: Web, out: Path) -> None:
    away = redirect("/elsewhere")
    web.always = lambda handler: right(handler) if handler.path == "/elsewhere" else away(handler)
    assert run(web.url, out)
    assert web.requests[-1][":path"] == "/elsewhere"


def test_a_circle_of_redirects_is_one_sentence(web: Web, out: Path) -> None:
    web.always = redirect("/models/catsdogs.mar")
    with pytest.raises(UserError, match="redirect"):
        run(web.url, out)


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key"])
def test_the_header_reaches_its_server_and_no_other(
    web: Web, out: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(HEADER, f"{name}: Bearer s3cret\n")
    with webs.serve(DATA) as other:
        web.turns = [redirect("/next"), redirect(other.url)]
        run(web.url, out)
        assert [headers[name.lower()] for headers in web.requests] == ["Bearer s3cret"] * 2
        assert name.lower() not in other.requests[0]


def test_the_header_may_be_in_a_file(web: Web, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "header").write_text("Authorization: Bearer s3cret\n")
    monkeypatch.setenv(f"{HEADER}_FILE", str(tmp_path / "header"))
    run(web.url, out)
    assert [headers["authorization"] for headers in web.requests] == ["Bearer s3cret"]


@pytest.mark.parametrize("header", ["s3cret", "Authorization:", ": s3cret", "Author ization: s3cret", "A: s3cr\u00e9t"])
def test_a_header_that_is_none_is_refused_without_its_value(
    out: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setenv(HEADER, header)
    with pytest.raises(UserError, match=HEADER) as raised:
        run("http://127.0.0.1:1/", out)
    assert "s3cr" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://user:s3cret@127.0.0.1:1/", "http://127.0.0.1:1/?signature=s3cret"])
def test_what_is_secret_in_an_address_is_not_said(out: Path, url: str) -> None:
    with pytest.raises(UserError) as raised:
        run(url, out, seconds=0.1)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["catsdogs.mar", "ftp://host/x.mar", "http://", "https://x:port/", "s3://bucket", "s3:///k"]
)
def test_what_is_no_source_is_one_sentence(out: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"is no |is not "):
        run(name, out)


def test_a_redirect_to_something_else_is_one_sentence(web: Web, out: Path) -> None:
    web.always = redirect("ftp://127.0.0.1/catsdogs.mar")
    with pytest.raises(UserError, match="neither http nor https"):
        run(web.url, out)


def test_the_proxy_of_the_environment_is_asked(web: Web, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{web.port}")
    assert run("http://models.example/catsdogs.mar", out)
    assert web.requests[0][":path"] == "http://models.example/catsdogs.mar"


def test_a_folder_cannot_be_the_archive(web: Web, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        run(web.url, tmp_path)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "catsdogs", "fetch", *arguments]


def test_a_kill_leaves_the_part_alone_and_the_next_one_goes_on(web: Web, out: Path) -> None:
    release = threading.Event()
    web.turns = [held(100_000, release)]
    first = subprocess.Popen(command(web.url, str(out), "--sha256", sha256(DATA)), cwd=ROOT, text=True)
    part = out.parent / PART
    try:
        wait_for(lambda: part.exists() and part.stat().st_size == 100_000, first)
        first.send_signal(signal.SIGKILL)
        first.wait()
    finally:
        release.set()
    assert left(out) == [PART]
    done = subprocess.run(
        command(web.url, str(out), "--sha256", sha256(DATA)), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "Resuming at 0.1 MB."
    assert web.ranges == [None, "bytes=100000-"]
    assert left(out) == ["catsdogs.mar"]


def test_of_two_at_once_one_fetches_and_the_other_waits_for_it(web: Web, out: Path) -> None:
    release = threading.Event()
    web.turns = [held(100_000, release)]
    both: list[subprocess.Popen[str]] = []
    try:
        for _ in range(2):
            both.append(
                subprocess.Popen(
                    command(web.url, str(out), "--sha256", sha256(DATA)), cwd=ROOT, stderr=subprocess.PIPE, text=True
                )
            )
            if len(both) == 1:
                wait_for(lambda: bool(web.requests), both[0])
        assert both[1].stderr is not None
        assert both[1].stderr.readline().startswith("Another process is writing")
    finally:
        release.set()
        outputs = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "is there already" in outputs[1]
    assert len(web.requests) == 1
    assert left(out) == ["catsdogs.mar"]


def test_the_command_says_in_one_sentence_what_is_wrong(web: Web, out: Path) -> None:
    web.always = status(404)
    done = subprocess.run(
        command(web.url, str(out), "--sha256", sha256(DATA)), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == f"catsdogs: {web.url} cannot be fetched: the server answers 404 Not Found.\n"


def test_the_command_wants_a_sha256_that_is_one(web: Web, out: Path) -> None:
    done = subprocess.run(command(web.url, str(out), "--sha256", "latest"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "latest is not a sha256" in done.stderr
    assert not web.requests


def test_a_log_gets_a_line_every_few_seconds() -> None:
    now, messages = [0.0], list[str]()
    lines = Lines(messages.append, lambda: now[0])
    for second in range(20):
        now[0] = float(second)
        lines(second * 2_000_000, 45_000_000)
    assert messages == ["10.0 of 45.0 MB, 2.0 MB/s", "20.0 of 45.0 MB, 2.0 MB/s", "30.0 of 45.0 MB, 2.0 MB/s"]
    assert PERIOD_S == 5


def test_what_was_there_before_has_no_speed() -> None:
    now, messages = [0.0], list[str]()
    lines = Lines(messages.append, lambda: now[0])
    for second, done in ((0, 30_000_000), (5, 35_000_000), (6, 1_000_000), (11, 2_000_000)):
        now[0] = float(second)
        lines(done, None)
    assert messages == ["35.0 MB, 1.0 MB/s", "2.0 MB, 0.2 MB/s"]


def test_a_full_disk_is_one_sentence_and_keeps_the_part(web: Web, out: Path) -> None:
    """A file that may not grow further stands in for it."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    arguments = command(web.url, str(out), "--sha256", sha256(DATA))
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2
    assert done.stderr == "catsdogs: Cannot write: File too large. Nothing was changed.\n"
    assert left(out) == [PART]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(out: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(UserError, match="The proxy that the environment names cannot be used"):
        run("http://models.example/catsdogs.mar", out)
