import hashlib
import importlib.metadata
import io
import json
import os
import resource
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.files import UserError, sha256_file
from handler.members import LIST, MANIFEST, MAX_BYTES, list_of, manifest_text
from handler.predictor import softmax
from serving.client.predict import predict_offline
from serving.server.archive import read_archive, unpack
from serving.server.mar import MAX_MEMBERS, MAX_TEXT
from tests import zoo
from tests.archives import read_members, with_list, write_archive, zip_of


@pytest.fixture(scope="module")
def members(archive: Path) -> dict[str, bytes]:
    """The members of the released archive but for its models, each with the right list: an archive that passes."""
    return with_list({name: data for name, data in read_members(archive).items() if not name.startswith("model.")})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.mar"


def refused(path: Path, sentence: str) -> None:
    """Both who looks at it and who unpacks it refuse, in one line, and nothing is unpacked."""
    folder = path.parent / "folder"
    folder.mkdir()
    for check in (read_archive, lambda file: unpack(file, folder)):
        with pytest.raises(UserError, match=sentence) as raised:
            check(path)
        assert str(raised.value).isprintable()
    assert list(folder.iterdir()) == []


def test_an_archive_says_its_name_version_and_classes(archive: Path) -> None:
    read = read_archive(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert read.name == "catsdogs"
    assert read.classes == ["cat", "dog"]
    assert read.version[0].isdigit()


def test_it_says_what_may_be_asked_about_the_model(archive: Path, unpacked: Path) -> None:
    release = json.loads((unpacked / "release.json").read_text())
    facts = read_archive(archive).facts()
    for precision, rows in facts.pop("golden").items():
        logits = release["golden_logits"] if precision == "fp32" else release["precisions"][precision]["golden_logits"]
        wanted = softmax(np.array(logits, dtype=np.float32))
        for row, shares in zip(rows, wanted, strict=True):
            assert row["label"] == release["classes"][shares.argmax()]
            assert row["probability"] == pytest.approx(shares.max(), abs=1e-5)
            assert list(row["probabilities"].values()) == pytest.approx(shares.tolist(), abs=1e-5)
    assert facts == {
        "name": "catsdogs",
        "version": release["version"],
        "classes": ["cat", "dog"],
        "names": {},
        "card": True,
        "unsure": {
            precision: threshold["threshold"] for precision, threshold in release["unsure"]["precisions"].items()
        },
        "size": release["input"]["size"],
        "sha256": release["files"]["model.safetensors"],
        "server": importlib.metadata.version("catsdogs"),
    }


def test_a_release_is_no_archive_and_the_way_to_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path} is a folder, .* by: catsdogs package {tmp_path}$"):
        read_archive(tmp_path)


def test_what_is_unpacked_is_what_was_checked(archive: Path, tmp_path: Path) -> None:
    assert unpack(archive, tmp_path, sha256_file(archive)) == read_archive(archive)
    unpacked = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    listed = list_of({name: sha256_file(path) for name, path in unpacked.items() if name != LIST})
    assert unpacked[LIST].read_bytes() == listed
    with zipfile.ZipFile(archive) as packed:
        assert sorted(unpacked) == packed.namelist()


def test_an_archive_that_was_exchanged_after_its_check_is_not_unpacked(
    members: dict[str, bytes], out: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_archive(out, members)
    checked = read_archive(out)
    write_archive(out, members | {"sitecustomize.py": b""})
    with pytest.raises(UserError, match="was changed after it was checked"):
        checked.unpack(folder)
    assert list(folder.iterdir()) == []
    write_archive(out, members)
    checked.unpack(folder)
    assert (folder / "release.json").read_bytes() == members["release.json"]


def test_another_archive_than_was_asked_for_is_refused_and_not_unpacked(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UserError, match=f"its sha256 is {sha256_file(archive)}, not {'0' * 64}"):
        unpack(archive, folder, "0" * 64)
    assert list(folder.iterdir()) == []


def test_a_damaged_archive_whose_sha256_is_known_is_another_one(archive: Path, out: Path) -> None:
    out.write_bytes(archive.read_bytes()[:100_000])
    with pytest.raises(UserError, match="is not the archive that was asked for"):
        read_archive(out, sha256_file(archive))


def test_a_zip_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.mar"
    with zipfile.ZipFile(other, "w") as made:
        made.writestr("MAR-INF/MANIFEST.json", "{}")
    refused(other, "not an archive of catsdogs")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\5\6" + bytes(18), b"PK\5\6" + bytes(17), bytes(1000)])
def test_a_file_that_is_no_zip_is_refused(out: Path, data: bytes) -> None:
    out.write_bytes(data)
    refused(out, "corrupted")


@pytest.mark.parametrize(
    "name", ["catsdogs_handler.py", "handler/files.py", "model-config.yaml", "release.json", MANIFEST]
)
def test_a_changed_member_is_named(members: dict[str, bytes], out: Path, name: str) -> None:
    out.write_bytes(zip_of(members | {name: members[name] + b"\n"}))
    refused(out, f"{name} in it is not the one of its list of members")


@pytest.mark.parametrize("name", ["sitecustomize.py", "numpy/__init__.py", "usercustomize.py"])
def test_an_added_member_is_named(members: dict[str, bytes], out: Path, name: str) -> None:
    out.write_bytes(zip_of(members | {name: b"raise SystemExit"}))
    refused(out, f"{name} is in it, but not in its list of members")


def test_a_missing_member_is_named(members: dict[str, bytes], out: Path) -> None:
    out.write_bytes(zip_of({name: data for name, data in members.items() if name != "handler/files.py"}))
    refused(out, "'handler/files.py' is in its list of members, but not in it")


@pytest.mark.parametrize("name", ["catsdogs_handler.py", "model-config.yaml", "release.json", MANIFEST])
def test_an_archive_without_what_a_server_needs_is_refused(members: dict[str, bytes], out: Path, name: str) -> None:
    write_archive(out, {other: data for other, data in members.items() if other != name})
    refused(out, f"it has no {name}")


def test_an_archive_of_an_older_version_has_to_be_made_again(members: dict[str, bytes], out: Path) -> None:
    out.write_bytes(zip_of({name: data for name, data in members.items() if name != LIST}))
    refused(out, "Make it again by: catsdogs package")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + text.splitlines(keepends=True)[0],
        lambda text: b"\n".join(reversed(text.splitlines())) + b"\n",
        lambda text: text.upper(),
        lambda text: text.replace(b"  ", b" *"),
        lambda text: b"",
        lambda text: b"\xff\xfe" + text,
        lambda text: text + b"0" * 64 + b"  \x1b[31mred\n",
    ],
    ids=["a line twice", "another order", "capitals", "another sign", "empty", "no text", "a name with an escape"],
)
def test_a_list_of_another_form_is_refused(
    members: dict[str, bytes], out: Path, change: Callable[[bytes], bytes]
) -> None:
    out.write_bytes(zip_of(members | {LIST: change(members[LIST])}))
    refused(out, "list of members")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/profile.py",
        "../x.py",
        "handler/../../x.py",
        "./x.py",
        "handler\\x.py",
        "C:x.py",
        "x\ny.py",
        "x\x1b[31m.py",
        "x y.py",
        "handler//x.py",
        "folder/",
        ".hidden",
        "x\u00e9.py",
        "x\u202e.py",
        "-x.py",
        "x" * 201,
    ],
)
def test_a_name_that_leads_elsewhere_or_breaks_a_line_is_refused(
    members: dict[str, bytes], out: Path, name: str
) -> None:
    write_archive(out, members | {name: b""})
    refused(out, "a member is named '")


@pytest.mark.parametrize(
    ("written", "other", "sentence"),
    [
        ("handler/filez.py", "handler/files.py", "handler/files.py is in it twice"),
        ("handler/FILES.py", "handler/FILES.py", "handler/files.py is in it twice"),
        ("handler", "handler", "lies in a folder that is a file"),
    ],
)
def test_two_members_in_one_place_are_refused(
    members: dict[str, bytes], out: Path, written: str, other: str, sentence: str
) -> None:
    data = zip_of(with_list(members | {written: b"raise SystemExit"}))
    out.write_bytes(data.replace(written.encode(), other.encode()))
    refused(out, sentence)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO])
def test_what_is_no_file_is_refused(members: dict[str, bytes], out: Path, kind: int) -> None:
    info = zipfile.ZipInfo("x.py")
    info.external_attr = (kind | 0o777) << 16
    buffer = io.BytesIO(zip_of(members))
    with zipfile.ZipFile(buffer, "a") as packed:
        packed.writestr(info, "/etc/passwd")
    out.write_bytes(buffer.getvalue())
    refused(out, "x.py is a link or a folder, not a file")


def directory_of(data: bytes) -> int:
    return int(struct.unpack("<L", data[-6:-2])[0])


def with_directory_at(data: bytes, start: int) -> bytes:
    return data[:-6] + struct.pack("<L", start) + data[-2:]


def hidden_from_python(data: bytes, members: dict[str, bytes]) -> bytes:
    """TorchServe's unzip goes by the headers before the members, and would find this one."""
    start = directory_of(data)
    extra = zip_of({"sitecustomize.py": b"raise SystemExit"})
    hidden = extra[: directory_of(extra)]
    return with_directory_at(data[:start] + hidden + data[start:], start + len(hidden))


def another_name_before_its_bytes(data: bytes, members: dict[str, bytes]) -> bytes:
    at = data.rindex(b"handler/tiff.py", 0, directory_of(data))
    return data[:at] + b"handler/gift.py" + data[at + 15 :]


def prepended(data: bytes, members: dict[str, bytes]) -> bytes:
    return b"#!/bin/sh\n" + data


def appended(data: bytes, members: dict[str, bytes]) -> bytes:
    return data + b"\n"


def with_a_comment(data: bytes, members: dict[str, bytes]) -> bytes:
    return data[:-2] + struct.pack("<H", 5) + b"hello"


def with_a_gap(data: bytes, members: dict[str, bytes]) -> bytes:
    start = directory_of(data)
    return with_directory_at(data[:start] + bytes(10) + data[start:], start + 10)


def of_two_disks(data: bytes, members: dict[str, bytes]) -> bytes:
    return data[:-18] + struct.pack("<H", 1) + data[-16:]


def overlapping(data: bytes, members: dict[str, bytes]) -> bytes:
    """The last member of the directory lies where the first one does."""
    at = data.rindex(b"PK\1\2")
    return data[: at + 42] + struct.pack("<L", 0) + data[at + 46 :]


def with_another_size(data: bytes, members: dict[str, bytes]) -> bytes:
    at = data.rindex(b"PK\1\2")
    return data[: at + 20] + struct.pack("<LL", 1 << 31, 1 << 31) + data[at + 28 :]


def encrypted(data: bytes, members: dict[str, bytes]) -> bytes:
    at = data.rindex(b"PK\1\2")
    return data[: at + 8] + struct.pack("<H", 1) + data[at + 10 :]


def compressed(data: bytes, members: dict[str, bytes]) -> bytes:
    return zip_of(members, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "change",
    [
        hidden_from_python,
        another_name_before_its_bytes,
        prepended,
        appended,
        with_a_comment,
        with_a_gap,
        of_two_disks,
        overlapping,
        with_another_size,
        encrypted,
        compressed,
    ],
)
def test_a_zip_that_two_programs_may_read_differently_is_refused(
    members: dict[str, bytes], out: Path, change: Callable[[bytes, dict[str, bytes]], bytes]
) -> None:
    out.write_bytes(change(zip_of(members), members))
    refused(out, "is not an archive of catsdogs, or is corrupted: ")


def test_every_byte_counts(members: dict[str, bytes], out: Path) -> None:
    """A changed bit anywhere in what surrounds the members is refused, or changes nothing that anybody reads."""
    data = zip_of(members)
    out.write_bytes(data)
    start, right = directory_of(data), read_archive(out)
    passed = 0
    for at in [*range(60), *range(start, len(data))]:
        changed = bytearray(data)
        changed[at] ^= 0x41
        out.write_bytes(changed)
        try:
            assert read_archive(out) == right
            passed += 1
        except UserError:
            pass
    # Who made the zip, its modes and an attribute: of the directory alone.
    assert passed <= 7 * len(members)


def test_more_members_than_an_archive_may_have_are_refused(members: dict[str, bytes], out: Path) -> None:
    write_archive(out, members | {f"x{number}.py": b"" for number in range(MAX_MEMBERS)})
    refused(out, f"the limit is {MAX_MEMBERS}")


def test_a_directory_that_fills_the_memory_is_refused(out: Path) -> None:
    data = bytes(200 << 20)
    out.write_bytes(data + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 60_000, 60_000, len(data), 0, 0))
    refused(out, f"the limit is {MAX_MEMBERS}")


@pytest.mark.parametrize("name", [LIST, MANIFEST, "release.json"])
def test_a_text_that_fills_the_memory_is_refused(members: dict[str, bytes], out: Path, name: str) -> None:
    out.write_bytes(zip_of(members | {name: bytes(MAX_TEXT + 1)}))
    refused(out, f"{name} has {MAX_TEXT + 1} bytes; the limit is {MAX_TEXT}")


def test_a_file_larger_than_an_archive_may_be_is_refused_unread(out: Path) -> None:
    with out.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    refused(out, f"the limit is {MAX_BYTES}")


MEASURED = """
import resource, sys
from pathlib import Path
from serving.server.archive import read_archive

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read_archive(Path(sys.argv[1])).name)
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def cost_of(path: Path) -> tuple[str, int]:
    """Read an archive in a process of its own; return its output, and by how many MiB it grew."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True, cwd=zoo.ROOT
    )
    outcome, grew = done.stdout.splitlines()
    return outcome, int(grew)


def test_an_archive_of_much_weight_is_read_in_little_memory(members: dict[str, bytes], out: Path) -> None:
    size = 256 << 20
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(bytes(1 << 20))
    listed = {name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != LIST}
    listed["weights.bin"] = digest.hexdigest()
    data = zip_of({**members, LIST: list_of(listed)})
    # Last in the order, so that nothing but the directory lies behind its bytes, which the disk need not hold.
    info = zipfile.ZipInfo("weights.bin")
    info.CRC, info.file_size, info.compress_size = 0, size, size
    with out.open("wb") as file:
        start = directory_of(data)
        file.write(data[:start] + info.FileHeader())
        file.truncate(file.tell() + size)
        file.seek(0, os.SEEK_END)
        at = file.tell()
        entry = struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0, size, size, len(info.filename), 0, 0, 0, 0, 0, start
        )
        directory = data[start:-22] + entry + info.filename.encode()
        count = len(members) + 1
        file.write(directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), at, 0))
    outcome, grew = cost_of(out)
    assert outcome == "catsdogs"
    assert grew < 64


def test_a_small_archive_with_much_inside_is_refused_in_little_memory(members: dict[str, bytes], out: Path) -> None:
    out.write_bytes(zip_of(with_list(members | {"weights.bin": bytes(300 << 20)}), zipfile.ZIP_DEFLATED))
    assert out.stat().st_size < 1 << 20
    outcome, grew = cost_of(out)
    assert "is compressed, which catsdogs package never does" in outcome
    assert grew < 64


def with_model(**fields: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda manifest: manifest_text(manifest | {"model": manifest["model"] | fields})


def with_fields(**fields: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda manifest: manifest_text(manifest | fields)


WORDS = {
    "a line's end": "catsdogs\nload_models=all",
    "a line's end at its end": "catsdogs\n",
    "a quote": 'cats"dogs',
    "a path": "../../catsdogs",
    "a folder": "cats/dogs",
    "nothing": "",
    "a dollar": "${HOME}",
    "a brace": "cats{dogs}",
    "a space": "cats dogs",
    "too long": "c" * 101,
    "a number": 7,
    "a list": ["catsdogs"],
    "null": None,
}


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("field", ["modelName", "modelVersion"])
def test_a_name_that_no_settings_file_should_get_is_refused(
    members: dict[str, bytes], out: Path, field: str, word: object
) -> None:
    changed = with_model(**{field: word})(json.loads(members[MANIFEST]))
    write_archive(out, members | {MANIFEST: changed})
    refused(out, "is not an archive of catsdogs, or is corrupted: ")


MANIFESTS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "another handler": with_model(handler="other.py"),
    "a handler of TorchServe's": with_model(handler="image_classifier"),
    "a handler's function": with_model(handler="catsdogs_handler.py:main"),
    "a handler elsewhere": with_model(handler="/tmp/catsdogs_handler.py"),
    "other settings": with_model(configFile="../model-config.yaml"),
    "weights that are unpickled": with_model(serializedFile="model.pt"),
    "a model's code": with_model(modelFile="model.py"),
    "packages to install": with_model(requirementsFile="requirements.txt"),
    "an envelope": with_model(envelope="json"),
    "no version": lambda manifest: manifest_text(manifest | {"model": {"modelName": "catsdogs"}}),
    "another runtime": with_fields(runtime="LSP"),
    "a field more": with_fields(workflow={}),
    "an archiver that is no version": with_fields(archiverVersion="0.12\n"),
    "a name twice": lambda manifest: manifest_text(manifest).replace(
        b'"model": {', b'"model": {"handler": "other.py"}, "model": {'
    ),
    "another spelling": lambda manifest: json.dumps(manifest).encode(),
    "another encoding": lambda manifest: manifest_text(manifest).decode().encode("utf-16"),
    "no JSON": lambda manifest: b"{",
    "a list": lambda manifest: b"[]",
    "nothing": lambda manifest: b"null",
    "deep nesting": lambda manifest: b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_package_would_not_write_is_refused(
    members: dict[str, bytes], out: Path, change: Callable[[dict[str, Any]], bytes]
) -> None:
    write_archive(out, members | {MANIFEST: change(json.loads(members[MANIFEST]))})
    refused(out, "is not an archive of catsdogs, or is corrupted: ")


RELEASES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "another name": lambda release: json.dumps(release | {"name": "other"}).encode(),
    "another version": lambda release: json.dumps(release | {"version": "9.9.9"}).encode(),
    "no files": lambda release: json.dumps(release | {"files": {}}).encode(),
    "no JSON": lambda release: b"{",
    "a list": lambda release: b"[]",
    "deep nesting": lambda release: b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("change", RELEASES.values(), ids=RELEASES)
def test_a_release_that_does_not_go_with_the_rest_is_refused(
    members: dict[str, bytes], out: Path, change: Callable[[dict[str, Any]], bytes]
) -> None:
    write_archive(out, members | {"release.json": change(json.loads(members["release.json"]))})
    refused(out, "is not an archive of catsdogs, or is corrupted: ")


def test_a_model_that_is_not_the_releases_is_refused_though_the_list_says_so(
    members: dict[str, bytes], out: Path
) -> None:
    write_archive(out, members | {"model.mnn": b"another network"})
    refused(out, "model.mnn in it is not the one of its release.json")


def test_an_archive_that_may_not_be_read_is_one_sentence(members: dict[str, bytes], out: Path) -> None:
    out.write_bytes(zip_of(members))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Root may read every file; nobody may open one more than the limit.
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(UserError, match=r"cannot be read: Too many open files\."):
            read_archive(out)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_predict_does_not_unpack_what_was_not_checked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with zipfile.ZipFile(archive) as packed:
        names = {name: packed.read(name) for name in packed.namelist()}
    (tmp_path / "added.mar").write_bytes(zip_of(names | {"sitecustomize.py": b""}))
    with pytest.raises(UserError, match=r"sitecustomize\.py is in it, but not in its list"):
        next(predict_offline([zoo.CAT], tmp_path / "added.mar"))
    assert [path.name for path in tmp_path.iterdir()] == ["added.mar"]
