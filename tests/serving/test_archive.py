import hashlib
import importlib.metadata
import json
import zipfile
from pathlib import Path

import pytest

from handler.files import UserError
from serving.archive import read_archive


def test_an_archive_says_its_name_version_and_classes(archive: Path) -> None:
    read = read_archive(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert read.name == "catsdogs"
    assert read.classes == ["cat", "dog"]
    assert read.version[0].isdigit()


def test_it_says_what_may_be_asked_about_the_model(archive: Path, unpacked: Path) -> None:
    release = json.loads((unpacked / "release.json").read_text())
    assert read_archive(archive).facts() == {
        "name": "catsdogs",
        "version": release["version"],
        "classes": ["cat", "dog"],
        "size": release["input"]["size"],
        "sha256": release["files"]["model.safetensors"],
        "server": importlib.metadata.version("catsdogs"),
    }


def test_a_zip_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.mar"
    with zipfile.ZipFile(other, "w") as made:
        made.writestr("MAR-INF/MANIFEST.json", "{}")
    with pytest.raises(UserError, match="not an archive of catsdogs"):
        read_archive(other)


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mar").write_bytes(b"hello")
    with pytest.raises(UserError, match="corrupted"):
        read_archive(tmp_path / "x.mar")
