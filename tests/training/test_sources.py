"""Named datasets. Nothing is downloaded from the web: a server here, and small stand-ins in the layout of the real
archives, whose checksums are put in the place of the real ones; how each is read, checked and unpacked is real.
"""

import hashlib
import http.server
import io
import re
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import UserError
from training.data import manifest, sources, zips

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]


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


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def members(photo: Photo) -> dict[str, bytes]:
    """Make a small zip like Microsoft's: pictures, a broken one, and files that are no pictures."""
    pictures = {
        f"PetImages/{label}/{number}.jpg": jpeg(photo(2 * number + offset, label))
        for offset, label in enumerate(("Cat", "Dog"))
        for number in range(3)
    }
    return {
        **pictures,
        "PetImages/Cat/666.jpg": b"",
        "PetImages/Dog/Thumbs.db": b"thumbnails",
        "readme[1].txt": b"Read me.",
        "../../PetImages/Cat/7.jpg": b"outside",
        "/PetImages/Cat/8.jpg": b"outside",
        "PetImages/Cat/../../9.jpg": b"outside",
    }


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
        link = zipfile.ZipInfo("PetImages/Cat/10.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kagglecatsanddogs_small.zip"
    path.write_bytes(zipped(members))
    monkeypatch.setattr(sources, "MICROSOFT_ZIPS", {sha256(path.read_bytes()): "kagglecatsanddogs_small"})
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_the_checksums_are_those_of_the_lists_that_are_named() -> None:
    assert sources.MICROSOFT_ZIPS[sources.MICROSOFT_SHA256] == Path(sources.MICROSOFT_URL).stem
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sources.MICROSOFT_ZIPS)


def test_microsofts_zip_is_unpacked_its_pictures_only_and_nothing_outside(archive: Path, tmp_path: Path) -> None:
    (folder,) = sources.find([archive], tmp_path / "downloads")
    assert folder == tmp_path / "downloads" / "kagglecatsanddogs_small" / "PetImages"
    wanted = [f"Cat/{number}.jpg" for number in (0, 1, 2, 666)] + [f"Dog/{number}.jpg" for number in range(3)]
    assert files(folder) == wanted
    assert files(tmp_path) == sorted(
        [archive.name, *(f"downloads/kagglecatsanddogs_small/PetImages/{name}" for name in wanted)]
    )


def test_a_zip_can_be_prepared_twice(archive: Path, tmp_path: Path, invoke: Invoke) -> None:
    arguments = ("prepare", archive, "--download-to", tmp_path / "downloads", "--out", tmp_path / "data")
    invoke(*arguments)
    first = (tmp_path / "data" / "manifest.csv").read_bytes()
    assert "0 of 7 files had to be decoded" in invoke(*arguments)
    assert (tmp_path / "data" / "manifest.csv").read_bytes() == first
    assert len(manifest.read(tmp_path / "data").pictures) == 6
    assert "Cat/666.jpg,no_image: the file is empty" in (tmp_path / "data" / "quarantine.csv").read_text()


def test_what_a_killed_unpacking_left_is_made_anew(archive: Path, tmp_path: Path) -> None:
    left = tmp_path / "downloads" / ".kagglecatsanddogs_small.part" / "PetImages" / "Cat"
    left.mkdir(parents=True)
    (left / "12345.jpg").write_bytes(b"half")
    (folder,) = sources.find([archive], tmp_path / "downloads")
    assert len(files(folder)) == 7
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["kagglecatsanddogs_small"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-100], "is neither a folder nor a whole zip file"),
        (lambda data: b"", "is neither a folder nor a whole zip file"),
        (lambda data: data[:300] + b"\0\0\0" + data[303:], "is damaged or was changed: its sha256 is"),
    ],
)
def test_a_damaged_zip_is_told_and_leaves_nothing(
    archive: Path, tmp_path: Path, change: Callable[[bytes], bytes], sentence: str
) -> None:
    archive.write_bytes(change(archive.read_bytes()))
    with pytest.raises(UserError, match=rf"small\.zip {sentence}.*Download it again"):
        sources.find([archive], tmp_path / "downloads")
    assert files(tmp_path) == [archive.name]


def test_damage_that_no_checksum_showed_leaves_nothing_either(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[:300] + b"\0\0\0" + data[303:])
    monkeypatch.setattr(sources, "MICROSOFT_ZIPS", {sha256(archive.read_bytes()): "kagglecatsanddogs_small"})
    with pytest.raises(UserError, match=r"small\.zip is damaged: Bad CRC-32"):
        sources.find([archive], tmp_path / "downloads")
    assert files(tmp_path) == [archive.name]


def test_microsofts_zip_without_its_pictures_is_told(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(zipped({"PetImages/Cat/1.jpg": b"1", "cats/2.jpg": b"2"}))
    with pytest.raises(UserError, match=r"small\.zip is not Microsoft's cats-vs-dogs"):
        sources.find([archive], tmp_path / "downloads")


@pytest.mark.parametrize("limit", ["MAX_MEMBERS", "MAX_UNPACKED_BYTES"])
def test_a_zip_that_unpacks_to_too_much_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(zips, limit, 5)
    with pytest.raises(UserError, match=r"small\.zip unpacks to more than"):
        sources.find([archive], tmp_path / "downloads")
    assert files(tmp_path) == [archive.name]


def test_microsofts_set_is_downloaded_by_its_name_and_only_once(
    server: Server, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = archive.read_bytes()
    server.breaks, server.piece = 1, 1000
    for name, value in (("URL", server.url), ("SIZE", len(server.body)), ("SHA256", sha256(server.body))):
        monkeypatch.setattr(sources, f"MICROSOFT_{name}", value)
    for _ in range(2):
        (folder,) = sources.find([Path("microsoft-cats-vs-dogs")], tmp_path / "downloads")
        assert len(files(folder)) == 7
    assert server.asked == [None, "bytes=1000-"]


def test_a_folder_of_a_datasets_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cifar10").mkdir()
    assert sources.find([Path("cifar10")], tmp_path / "downloads") == [Path("cifar10")]


def test_what_is_neither_folder_nor_dataset_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cifar is not a folder\..* microsoft-cats-vs-dogs, oxford-iiit-pet, cifar10\."
    ):
        sources.find([Path("cifar")], tmp_path / "downloads")
