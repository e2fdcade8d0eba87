"""Any zip of class folders: unpacked whole, within limits, and nothing outside its folder."""

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from handler.files import UserError
from training.data import manifest, sources, zips
from training.data.prepare import prepare

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]
Members = dict[str, bytes]


@pytest.fixture
def members(photo: Photo) -> Members:
    """A dataset as sites give them out, in a folder of its own and with its split."""
    contents = {}
    for number, folder in enumerate(("train/rose", "train/tulip", "test/rose", "test/tulip")):
        for seed in range(3):
            buffer = io.BytesIO()
            photo(100 * number + seed).save(buffer, "JPEG")
            contents[f"flowers/{folder}/{seed}.jpg"] = buffer.getvalue()
    return contents


def pack(path: Path, members: Members, entry: zipfile.ZipInfo | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
        if entry:
            packed.writestr(entry, "elsewhere")
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_zip_of_class_folders_is_prepared(members: Members, tmp_path: Path, invoke: Invoke) -> None:
    archive = pack(tmp_path / "flowers.zip", members)
    arguments = (
        "prepare",
        archive,
        "--download-to",
        tmp_path / "downloads",
        "--out",
        tmp_path / "data",
        "--no-contact",
    )
    invoke(*arguments)
    first = manifest.read(tmp_path / "data")
    assert first.classes == ["rose", "tulip"]
    assert {Path(row.path).parts[1] for row in first.pictures if row.split == "test"} == {"test"}
    assert "0 of 12 files had to be decoded" in invoke(*arguments)


def test_what_is_no_part_of_the_data_is_left_out(members: Members, tmp_path: Path) -> None:
    junk = {"__MACOSX/flowers/train/rose/._0.jpg": b"attributes", "flowers/.DS_Store": b"x", "flowers/readme.txt": b"R"}
    (folder,) = sources.find([pack(tmp_path / "flowers.zip", {**members, **junk})], tmp_path / "downloads")
    assert files(folder) == sorted([*members, "flowers/readme.txt"])


def test_names_that_macos_and_windows_wrote_are_read(members: Members, tmp_path: Path) -> None:
    names = {"rose": "Löw", "tulip": "Bärr"}  # as many bytes in UTF-8
    archive = pack(tmp_path / "animals.zip", {name.replace("/", "\\"): data for name, data in members.items()})
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("flowers\\train\\", b"")
    data = archive.read_bytes()
    for name, other in names.items():  # macOS writes UTF-8 without the flag that says so
        data = data.replace(f"\\{name}\\".encode(), f"\\{other}\\".encode())
    archive.write_bytes(data)
    (folder,) = sources.find([archive], tmp_path / "downloads")
    assert prepare([folder]).classes == ["bärr", "löw"]


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "flowers/../../outside.jpg", "/outside.jpg", "..\\outside.jpg", "C:/x.jpg"]
)
def test_an_entry_that_leads_outside_refuses_the_zip(members: Members, tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "flowers.zip", {**members, name: b"outside"})
    with pytest.raises(UserError, match=r"flowers\.zip was not unpacked: its entry .* leads out of the folder"):
        sources.find([archive], tmp_path / "downloads")
    assert files(tmp_path) == ["flowers.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_refuses_the_zip(members: Members, tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("flowers/train/rose/9.jpg")
    entry.external_attr = (kind | 0o777) << 16
    with pytest.raises(UserError, match=r"its entry flowers/train/rose/9\.jpg is a link or device"):
        sources.find([pack(tmp_path / "flowers.zip", members, entry)], tmp_path / "downloads")
    assert files(tmp_path) == ["flowers.zip"]


@pytest.mark.parametrize(
    ("limit", "sentence"), [("MAX_MEMBERS", "more than 5 files"), ("MAX_UNPACKED_BYTES", "more than 0 GB")]
)
def test_a_zip_that_unpacks_to_too_much_is_refused(
    members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, sentence: str
) -> None:
    monkeypatch.setattr(zips, limit, 5)
    with pytest.raises(UserError, match=rf"flowers\.zip unpacks to {sentence}\. Unpack it yourself"):
        sources.find([pack(tmp_path / "flowers.zip", members)], tmp_path / "downloads")
    assert files(tmp_path) == ["flowers.zip"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-50], "is neither a folder nor a whole zip file"),
        (lambda data: data[:200] + b"\0\0\0" + data[203:], "is damaged: Bad CRC-32"),
    ],
)
def test_a_damaged_zip_is_told_and_leaves_nothing(
    members: Members, tmp_path: Path, change: Callable[[bytes], bytes], sentence: str
) -> None:
    archive = pack(tmp_path / "flowers.zip", members)
    archive.write_bytes(change(archive.read_bytes()))
    with pytest.raises(UserError, match=rf"flowers\.zip {sentence}"):
        sources.find([archive], tmp_path / "downloads")
    assert files(tmp_path) == ["flowers.zip"]


def test_an_empty_or_encrypted_zip_is_told(members: Members, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no files"):
        sources.find([pack(tmp_path / "empty.zip", {})], tmp_path / "downloads")
    archive = pack(tmp_path / "flowers.zip", members)
    data = bytearray(archive.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"flowers\.zip is encrypted"):
        sources.find([archive], tmp_path / "downloads")


def test_a_zip_that_holds_pictures_and_a_file_of_labels_beside_it(photo: Photo, tmp_path: Path) -> None:
    contents = {}
    for number in range(4):
        buffer = io.BytesIO()
        photo(number).save(buffer, "PNG")
        contents[f"{number}.png"] = buffer.getvalue()
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4)))
    (folder,) = sources.find([pack(tmp_path / "pictures.zip", contents)], tmp_path / "downloads")
    prepared = prepare([folder], labels=tmp_path / "labels.csv")
    assert prepared.counts().total() == 4
