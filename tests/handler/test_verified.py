"""A worker loads nothing but the archive that the launcher verified and named by the sha256 of its list."""

import shutil
from pathlib import Path

import pytest

from handler.files import UserError, sha256_file
from handler.members import LIST
from handler.verified import VARIABLE, check_handed_on
from tests.handler.test_catsdogs_handler import Context


@pytest.fixture
def folder(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unpacked archive without its models, as handed on."""
    copy = tmp_path / "model"
    shutil.copytree(unpacked, copy, ignore=shutil.ignore_patterns("model.*", "__pycache__"))
    monkeypatch.setenv(VARIABLE, sha256_file(copy / LIST))
    return copy


def test_what_was_verified_is_accepted(folder: Path) -> None:
    check_handed_on(folder)


def change_code(folder: Path) -> None:
    with (folder / "handler" / "payload.py").open("a") as file:
        file.write("\nimport os\n")


def remove_code(folder: Path) -> None:
    (folder / "handler" / "payload.py").unlink()


def change_release(folder: Path) -> None:
    """Another network's sha256 there would let that network through."""
    text = (folder / "release.json").read_text()
    (folder / "release.json").write_text(text.replace('"model.int8.onnx": "', '"model.int8.onnx": "f', 1))


def change_list(folder: Path) -> None:
    with (folder / LIST).open("a") as file:
        file.write("\n")


def remove_list(folder: Path) -> None:
    (folder / LIST).unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_code, r"handler/payload\.py is missing, or was changed after the archive was verified"),
        (remove_code, r"handler/payload\.py is missing, or was changed after the archive was verified"),
        (change_release, r"release\.json is missing, or was changed after the archive was verified"),
        (change_list, "is not the archive that was verified: its MAR-INF/SHA256SUMS has the sha256"),
        (remove_list, "is not the archive that was verified: it has no MAR-INF/SHA256SUMS"),
    ],
)
def test_what_was_changed_since_is_refused(folder: Path, change: object, sentence: str) -> None:
    assert callable(change)
    change(folder)
    with pytest.raises(UserError, match=sentence):
        check_handed_on(folder)


def test_where_nothing_is_handed_on_nothing_is_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    change_code(folder)
    check_handed_on(folder)


def test_a_worker_that_is_given_another_archive_ends(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from handler.catsdogs_handler import CatsDogsHandler

    monkeypatch.setenv(VARIABLE, "0" * 64)
    with pytest.raises(SystemExit) as ended:
        CatsDogsHandler().initialize(Context(unpacked, []))
    assert ended.value.code == 1
    assert "is not the archive that was verified" in capfd.readouterr().err
