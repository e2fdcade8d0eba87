"""A download: whole or not there, and taken up where it broke off."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handler.files import UserError
from training.data.download import fetch


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `body` at any path. Refuses the first `busy` requests, and ends `breaks` answers after `piece` bytes."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.breaks, self.piece = 0, 0
        self.busy = 0
        self.knows_ranges = True
        self.status = 200
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        if self.server.busy:
            self.server.busy -= 1
            self.send_error(503)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.knows_ranges else 0
        rest = self.server.body[start:]
        self.send_response(self.server.status if not start else 206)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.server.body) - 1}/{len(self.server.body)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: self.server.piece]
        self.wfile.write(rest)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    body = np.random.default_rng(0).bytes(3_000_000)
    with Server(body) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def download(server: Server, target: Path, **options: object) -> None:
    arguments = {"size": len(server.body), "sha256": sha256(server.body), **options}
    fetch(server.url, target, **arguments)  # type: ignore[arg-type]


def test_a_download_is_there_under_its_name_only_when_it_is_whole(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    target = tmp_path / "new" / "file.zip"
    download(server, target, progress=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == server.body
    assert [path.name for path in target.parent.iterdir()] == ["file.zip"]
    assert (seen[0], seen[-1]) == ((0, 3_000_000), (3_000_000, 3_000_000))
    assert seen == sorted(seen)


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks, server.piece = 2, 1_000_000
    download(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == server.body
    assert server.asked == [None, "bytes=1000000-", "bytes=2000000-"]


def test_what_an_earlier_command_downloaded_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(server.body[:2_500_000])
    download(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == server.body
    assert server.asked == ["bytes=2500000-"]


def test_a_server_without_ranges_is_asked_for_the_whole_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"something else")
    server.knows_ranges = False
    download(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == server.body


def test_a_server_that_gives_no_more_is_told_with_how_to_go_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(server.body[:1000])
    server.breaks, server.piece = 9, 0
    with pytest.raises(UserError, match=r"file\.zip cannot be downloaded: .*\. To resume, give the same command again"):
        download(server, tmp_path / "file.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["file.zip.part"]


def test_a_file_with_another_checksum_is_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not the file that it should be \(its sha256 is not 0{64}\), and was"):
        download(server, tmp_path / "file.zip", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_larger_than_it_should_be_is_not_read_to_its_end(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the file that it should be"):
        download(server, tmp_path / "file.zip", size=1000, sha256=sha256(server.body[:1000]))
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_busy_is_asked_once_more(server: Server, tmp_path: Path) -> None:
    server.busy = 1
    download(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == server.body


def test_what_the_server_refuses_is_told(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(UserError, match=r"file\.zip cannot be downloaded: the server answers 404\.$"):
        download(server, tmp_path / "file.zip")


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with Server(b"") as server:
        url = server.url
    with pytest.raises(UserError, match=r"cannot be downloaded: .*refused.*\. To resume, give the same command again"):
        fetch(url, tmp_path / "file.zip", 1000, "0" * 64)
