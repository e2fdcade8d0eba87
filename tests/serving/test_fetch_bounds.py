"""`catsdogs fetch` from servers that never finish: its limits of time and size hold, and what they say harms nobody."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from common.download.resume import Limits
from common.text import printable
from handler.files import UserError
from serving.fetch.download import fetch
from serving.fetch.sources import find_source
from tests.serving import web as webs
from tests.serving.web import DATA, PART, left, sha256, trickle
from tests.zoo import ROOT

LIMIT_S = 1.0
# To shut connections, on a machine that has other things to do.
MARGIN_S = 2.0
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
# What the server says at once, and what it then says for ever.
CONVERSATIONS = {
    "silence": (b"", b""),
    "a status without end": (b"HTTP/1.1 200 ", b"x"),
    "a header without end": (OK + b"X: ", b"x"),
    "headers without end": (OK, b"X: x\r\n"),
    "one early hint after another": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "a chunk's extension without end": (CHUNKED + b"5;x=", b"x"),
    "a chunk's length without end": (CHUNKED, b"0"),
    "chunks of a byte": (CHUNKED, b"1\r\nx\r\n"),
    "a trailer without end": (CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"x"),
    "a body that trickles": (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
    "redirects in a circle": (b"HTTP/1.1 302 Found\r\nLocation: /", b"x"),
    "an error that trickles": (b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n", b"x"),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    webs.forget_environment(monkeypatch)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "models" / "catsdogs.mar"


def run(
    name: str,
    out: Path,
    environment: Mapping[str, str] | None = None,
    endpoint: str | None = None,
    limits: Limits | None = None,
) -> list[str]:
    """Fetches; what was said on the way."""
    messages: list[str] = []
    with find_source(name, endpoint, environment or {}) as source:
        usual = Limits(LIMIT_S, 1 << 20, first_wait_s=0.01)
        fetch(source, out, sha256(DATA), limits or usual, lambda done, total: None, messages.append)
    return messages


@contextmanager
def in_time() -> Iterator[None]:
    """The limit is kept, by a sentence that says so, and the thread with its connection ends too."""
    started = time.monotonic()
    with pytest.raises(UserError, match=r"not fetched within 1 s, in "):
        yield
    taken = time.monotonic() - started
    assert taken <= LIMIT_S + MARGIN_S
    for thread in threading.enumerate():
        if thread.name == "transfer":
            # It may have megabytes before it that had come already.
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_server_that_never_finishes_holds_nobody_beyond_the_limit(
    conversation: tuple[bytes, bytes], out: Path
) -> None:
    with trickle(*conversation) as port, in_time():
        run(f"http://127.0.0.1:{port}/catsdogs.mar", out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["one early hint after another", "chunks of a byte"])
def test_nor_does_one_that_sends_as_fast_as_it_can(name: str, out: Path) -> None:
    prefix, repeated = CONVERSATIONS[name]
    limits = Limits(LIMIT_S, 1 << 30, first_wait_s=0.01)
    with trickle(prefix, repeated, pause_s=0) as port, in_time():
        run(f"http://127.0.0.1:{port}/catsdogs.mar", out, limits=limits)


@pytest.mark.parametrize(
    ("prefix", "repeated"), [(b"", b""), (b"\x16\x03\x03\x40\x00", b"\x02")], ids=["silence", "a record that trickles"]
)
def test_nor_does_a_handshake_of_tls(prefix: bytes, repeated: bytes, out: Path) -> None:
    with trickle(prefix, repeated) as port, in_time():
        run(f"https://127.0.0.1:{port}/catsdogs.mar", out)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("conversation", [(b"", b""), (OK + b"X: ", b"x")], ids=["silence", "a header without end"])
def test_nor_does_a_proxy(
    conversation: tuple[bytes, bytes], scheme: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trickle(*conversation) as port, in_time():
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://127.0.0.1:{port}")
        run(f"{scheme}://models.example/catsdogs.mar", out)


def test_nor_does_a_handshake_of_tls_behind_a_proxy(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with trickle(OK + b"\r\n\x16\x03\x03\x40\x00", b"\x02") as port, in_time():
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        run("https://models.example/catsdogs.mar", out)


def test_nor_does_a_machine_that_never_takes_the_connection(out: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        # Linux answers one connection more than it was told to hold, and is silent to the next.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        started = time.monotonic()
        with pytest.raises(UserError, match=r"not fetched within 1 s, in one try: no answer came"):
            run(f"http://127.0.0.1:{server.getsockname()[1]}/catsdogs.mar", out)
        assert time.monotonic() - started <= LIMIT_S + MARGIN_S


def test_nor_does_a_name_that_is_looked_up_for_ever(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def never(*arguments: object, **options: object) -> list[object]:
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    started = time.monotonic()
    try:
        with pytest.raises(UserError, match=r"not fetched within 1 s, in one try: no answer came"):
            run("http://models.example/catsdogs.mar", out)
        assert time.monotonic() - started <= LIMIT_S + MARGIN_S
    finally:
        over.set()
        for thread in threading.enumerate():
            if thread.name == "transfer":
                thread.join()


SLOW_NAMES = """
import socket, sys, time
socket.getaddrinfo = lambda *arguments, **options: time.sleep(600)
import catsdogs
sys.argv[0] = "catsdogs"
catsdogs.main()
"""


def test_the_command_ends_though_a_name_is_still_looked_up(out: Path) -> None:
    arguments = ["fetch", "http://models.example/x.mar", str(out), "--sha256", sha256(DATA), "--timeout", "1"]
    done = subprocess.run(
        [sys.executable, "-c", SLOW_NAMES, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (
        2,
        "catsdogs: http://models.example/x.mar was not fetched within 1 s, in one try: no answer came.\n",
    )


def test_what_brings_nothing_forward_is_tried_again(out: Path) -> None:
    limits = Limits(LIMIT_S, first_wait_s=0.01, idle_s=0.2)
    with (
        trickle(OK + b"X: ", b"x") as port,
        pytest.raises(UserError, match=r"in [3-5] tries: nothing came for 0\.2 s|no answer"),
    ):
        run(f"http://127.0.0.1:{port}/catsdogs.mar", out, limits=limits)


def test_a_body_that_trickles_is_kept_and_gone_on_with(out: Path) -> None:
    head = OK + b"Content-Length: %d\r\n\r\n" % len(DATA)
    with trickle(head + DATA[:100_000]) as port, in_time():
        run(f"http://127.0.0.1:{port}/catsdogs.mar", out)
    assert (out.parent / PART).read_bytes() == DATA[:100_000]
    with webs.serve(DATA) as web:
        assert run(web.url, out, limits=Limits(20)) == ["Resuming at 0.1 MB."]
        assert web.ranges == ["bytes=100000-"]
    assert left(out) == ["catsdogs.mar"]


def test_the_body_of_a_redirect_is_not_read(out: Path) -> None:
    with webs.serve(DATA) as web:
        redirect = f"HTTP/1.1 302 Found\r\nLocation: {web.url}\r\nTransfer-Encoding: chunked\r\n\r\n"
        with trickle(redirect.encode(), b"1\r\nx\r\n") as port:
            run(f"http://127.0.0.1:{port}/catsdogs.mar", out)
    assert out.read_bytes() == DATA


def test_eleven_redirects_are_too_many(out: Path) -> None:
    with webs.serve(DATA) as web:
        web.turns = [webs.redirect(f"/{number}") for number in range(11)]
        with pytest.raises(UserError, match="leads through more than 10 redirects"):
            run(web.url, out)
        assert len(web.requests) == 11
        web.turns = [webs.redirect(f"/{number}") for number in range(10)]
        run(web.url, out, limits=Limits(20))


def token_of(folder: Path) -> str:
    token = folder / "token"
    token.write_text("a.web.token")
    return str(token)


# Of chunks of a byte 64 KiB are read, and are no credentials: see the next test.
GIVERS = {name: conversation for name, conversation in CONVERSATIONS.items() if name != "chunks of a byte"}


@pytest.mark.parametrize("conversation", GIVERS.values(), ids=GIVERS)
def test_whoever_gives_credentials_holds_nobody_beyond_the_limit(
    conversation: tuple[bytes, bytes], out: Path, tmp_path: Path
) -> None:
    with trickle(*conversation) as port, in_time():
        environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/v1/credentials"}
        run("s3://models/x.mar", out, environment, "http://127.0.0.1:1")


@pytest.mark.parametrize("giver", ["STS", "agent"])
def test_of_whoever_gives_credentials_a_little_is_read(giver: str, out: Path, tmp_path: Path) -> None:
    with trickle(CHUNKED, b"1000\r\n" + b"x" * 0x1000 + b"\r\n", pause_s=0) as port:
        url = f"http://127.0.0.1:{port}/"
        environment = {
            "STS": {
                "AWS_WEB_IDENTITY_TOKEN_FILE": token_of(tmp_path),
                "AWS_ROLE_ARN": "r",
                "AWS_ENDPOINT_URL_STS": url,
            },
            "agent": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url},
        }[giver]
        with pytest.raises(UserError, match="does not answer with credentials"):
            run("s3://models/x.mar", out, environment, "http://127.0.0.1:1", limits=Limits(20))


def test_of_a_buckets_error_a_little_is_read(out: Path) -> None:
    error = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        trickle(error, b"1000\r\n" + b"x" * 0x1000 + b"\r\n", pause_s=0) as port,
        pytest.raises(UserError, match="the server answers 403 Forbidden"),
    ):
        run("s3://models/x.mar", out, {}, f"http://127.0.0.1:{port}", limits=Limits(20))


@pytest.mark.parametrize("secret", ["s3cr\u00e9t", "s3cret\r\nX: y", "s3 cret"])
def test_credentials_that_no_header_can_hold_are_refused_and_not_shown(secret: str, out: Path) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": secret}
    with pytest.raises(UserError, match="has credentials with characters that no header may have") as raised:
        run("s3://models/x.mar", out, environment, "http://127.0.0.1:1")
    assert "cr" not in str(raised.value).replace("credentials", "").replace("characters", "")


# A title for the terminal, red, a C1 control, and a mark that turns the direction; as the bytes of a header.
EVIL = b"\x1b]0;owned\x07 \x1b[31m \x9b31m \xc2\x9b31m \xe2\x80\xae"
WITHOUT_ESCAPE = b"\x9b31m \xc2\x9b31m \xe2\x80\xae"
ANSWERS = {
    "reason": b"HTTP/1.1 404 Not" + EVIL + b"\r\n\r\n",
    "reason of another kind": b"HTTP/1.1 404 Not " + WITHOUT_ESCAPE + b"\r\n\r\n",
    "header": b"HTTP/1.1 404 Not Found\r\nX: " + EVIL + b"\r\n\r\n",
    "Location": b"HTTP/1.1 302 Found\r\nLocation: http://" + EVIL + b"/\r\n\r\n",
    "Location of another kind": b"HTTP/1.1 302 Found\r\nLocation: ftp://x/" + WITHOUT_ESCAPE + b"\r\n\r\n",
    "scheme": b"HTTP/1.1 302 Found\r\nLocation: " + WITHOUT_ESCAPE + b"://x/\r\n\r\n",
    "region": b"HTTP/1.1 301 Moved\r\nx-amz-bucket-region: " + WITHOUT_ESCAPE + b"\r\nContent-Length: 0\r\n\r\n",
    "error": b"HTTP/1.1 403 No\r\nContent-Length: 70\r\n\r\n<Code>A" + EVIL + b"</Code>" + b"x" * 70,
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
    "cookie": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=" + WITHOUT_ESCAPE + b"\r\n\r\n",
    "after": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: " + b"9" * 5000 + b"\r\n\r\n",
    "garbage": EVIL + b"\r\n\r\n",
    "long": b"HTTP/1.1 404 " + b"x" * 50_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("kind", ["web", "bucket", "proxy"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_a_server_says_never_reaches_the_terminal_as_it_is(
    answer: bytes, kind: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trickle(answer) as port:
        name, endpoint = f"http://127.0.0.1:{port}/x.mar", None
        if kind == "bucket":
            name, endpoint = "s3://models/x.mar", f"http://127.0.0.1:{port}"
        if kind == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            name = "https://models.example/x.mar"
        messages: list[str] = []
        limits = Limits(LIMIT_S, first_wait_s=0.5)
        with find_source(name, endpoint, {}) as source, pytest.raises(UserError) as raised:
            fetch(source, out, sha256(DATA), limits, lambda done, total: None, messages.append)
    for line in [*messages, str(raised.value)]:
        assert line.isprintable()
        assert len(line) < 1000


def test_the_command_shows_no_control_characters(out: Path) -> None:
    with trickle(ANSWERS["region"]) as port:
        arguments = ["s3://models/x.mar", str(out), "--sha256", sha256(DATA)]
        done = subprocess.run(
            [sys.executable, "-m", "catsdogs", "fetch", *arguments, "--endpoint-url", f"http://127.0.0.1:{port}"],
            cwd=ROOT,
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.decode().rstrip("\n").isprintable()
    assert rb"\x9b31m" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("404 Not Found", "404 Not Found"),
        ("caf\u00e9 \u732b", "caf\u00e9 \u732b"),
        ("a\nb\tc\x1b[31m\x7f\x9b", r"a\nb\tc\x1b[31m\x7f\x9b"),
        ("\u202e\u2028\ufeff\ud800", r"\u202e\u2028\ufeff\ud800"),
    ],
)
def test_text_is_made_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_tag_that_no_header_can_hold_is_not_sent_back(out: Path) -> None:
    with webs.serve(DATA) as web:
        web.etag = '"\u00e9"'
        web.turns = [webs.cut(1000)]
        run(web.url, out, limits=Limits(20, first_wait_s=0.01))
        assert ["if-range" in headers for headers in web.requests] == [False, False]
    assert out.read_bytes() == DATA


def command(*options: str, out: Path, url: str) -> "subprocess.CompletedProcess[str]":
    arguments = ["fetch", url, str(out), "--sha256", sha256(DATA), *options]
    return subprocess.run(
        [sys.executable, "-m", "catsdogs", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_command_is_given_its_limits(out: Path) -> None:
    with trickle(b"") as port:
        done = command("--timeout", "1", out=out, url=f"http://127.0.0.1:{port}/x.mar")
    assert (done.returncode, done.stderr.count("was not fetched within 1 s")) == (2, 1)
    with webs.serve(DATA * 4) as web:
        done = command("--max-mib", "1", out=out, url=web.url)
    assert (done.returncode, done.stderr.count("where the limit is 1.0 MB")) == (2, 1)


def test_the_old_names_of_its_options_still_work_and_say_so(out: Path) -> None:
    with webs.serve(DATA) as web:
        done = command("--seconds", "30", "--mib", "1", out=out, url=web.url)
    assert done.returncode == 0
    assert done.stderr.splitlines()[:2] == [
        "--seconds is now named --timeout; the next version removes the old name.",
        "--mib is now named --max-mib; the next version removes the old name.",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", "fetch", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert "--timeout" in done.stdout
    assert "--seconds" not in done.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--seconds", "30", "--timeout", "30"], "--seconds is the old name of --timeout"),
        (["--timeout", "nan"], "--timeout must be a number of seconds"),
        (["--timeout", "inf"], "inf is not in the range"),
        (["--timeout", "0"], "0.0 is not in the range"),
        (["--max-mib", "0"], "0 is not in the range"),
    ],
)
def test_limits_that_limit_nothing_are_refused(options: list[str], sentence: str, out: Path) -> None:
    done = command(*options, out=out, url="http://127.0.0.1:1/x.mar")
    assert done.returncode == 2
    assert sentence in done.stderr
