"""Versions: the same one never gets other weights unnoticed, and earlier releases stay for going back."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.files import UserError, sha256_file
from tests.training.export_support import assert_whole, untrained
from training.data.manifest import Manifest
from training.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.release.export import export
from training.release.naming import place
from training.release.package import package
from training.release.versions import forget, keep_current, prune, refuse_other_weights

Invoke = Callable[..., str]


@pytest.fixture
def small(run: Path) -> Checkpoint:
    """Return the checkpoint of the smallest network, which is quick to export."""
    return untrained("baseline", load_checkpoint(run / "best.pt"))


def stated(release: Path, folder: Path, version: str, weights: str) -> Path:
    """A folder with a release.json of this version and these weights, such as 0000..."""
    values = json.loads((release / "release.json").read_bytes())
    values["files"]["model.safetensors"], values["version"] = weights * 64, version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "release.json").write_text(json.dumps(values))
    return folder


def test_an_export_of_a_taken_version_is_refused_and_of_another_one_keeps_the_old(
    small: Checkpoint, manifest: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "pets"
    export(small, manifest, out, "1", None)
    before = (out / "release.json").read_bytes()
    state = {name: tensor.clone() for name, tensor in small.ema.items()}
    state["backbone.head.linear.weight"] += 0.125
    other = dataclasses.replace(small, ema=state)
    with pytest.raises(UserError, match=r"pets is version 1 with other weights\. Name another --version, or replace"):
        export(other, manifest, out, "1", None)
    assert (out / "release.json").read_bytes() == before
    export(other, manifest, out, "2", None)
    assert_whole(out, "2")
    assert_whole(tmp_path / "releases" / "pets-1", "1")


def test_a_version_is_taken_by_the_current_release_and_by_kept_ones(release: Path, tmp_path: Path) -> None:
    out = stated(release, tmp_path / "pets", "2", "a")
    stated(release, tmp_path / "releases" / "pets-1", "1", "b")
    refuse_other_weights(out, "2", "a" * 64)
    refuse_other_weights(out, "1", "b" * 64)
    refuse_other_weights(out, "3", "c" * 64)
    for version, weights in (("2", "b"), ("1", "a")):
        with pytest.raises(UserError, match=rf"is version {version} with other weights"):
            refuse_other_weights(out, version, weights * 64)


def test_going_back_leaves_each_version_in_one_place(release: Path, tmp_path: Path) -> None:
    out = stated(release, tmp_path / "pets", "1", "a")
    keep_current(out, "2")
    stated(release, out, "2", "b")
    forget(out, "2")
    keep_current(out, "1")
    stated(release, out, "1", "a")
    forget(out, "1")
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["pets-2"]


def test_the_last_releases_stay_and_those_of_other_names_too(tmp_path: Path) -> None:
    out, values = tmp_path / "pets", {"name": "pets", "version": "1"}
    for number, name in enumerate(["pets-1", "pets-2", "pets-3", "pets-large-1"]):
        folder = tmp_path / "releases" / name
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(json.dumps({**values, "version": name[-1]}))
        os.utime(folder / "release.json", (number, number))
    assert prune(out, 2) == ["1"]
    assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == ["pets-2", "pets-3", "pets-large-1"]


@pytest.mark.parametrize("content", ["{}", "xx", "[]", "null"])
def test_a_folder_that_is_no_release_is_left_alone(tmp_path: Path, content: str) -> None:
    foreign = tmp_path / "releases" / "mine-9"
    foreign.mkdir(parents=True)
    (foreign / "release.json").write_text(content)
    assert prune(tmp_path / "mine", 0) == []
    assert foreign.exists()


def test_a_release_that_cannot_be_linked_is_copied(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError

    out = tmp_path / "pets"
    out.mkdir()
    for path in release.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(os, "link", refuse)
    keep_current(out, "9")
    assert_whole(tmp_path / "releases" / "pets-1.2.3", "1.2.3")


def test_an_archive_of_the_same_version_with_other_weights_is_refused(release: Path, tmp_path: Path) -> None:
    first, second = (shutil.copytree(release, tmp_path / name) for name in ("first", "second"))
    weights = bytearray((second / "model.safetensors").read_bytes())
    weights[-4] ^= 1  # the last bit of a weight
    (second / "model.safetensors").write_bytes(weights)
    values = json.loads((second / "release.json").read_bytes())
    values["files"]["model.safetensors"] = sha256_file(second / "model.safetensors")
    (second / "release.json").write_text(json.dumps(values))
    archive = tmp_path / "pets.mar"
    digest = package(first, archive, "ort")
    with pytest.raises(UserError, match=r"pets\.mar is catsdogs 1\.2\.3 with other weights\. .*--replace"):
        package(second, archive, "ort")
    assert sha256_file(archive) == digest
    assert package(first, archive, "ort") == digest
    assert package(second, archive, "ort", replace=True) != digest


def test_a_file_that_is_no_archive_is_replaced(release: Path, tmp_path: Path) -> None:
    (tmp_path / "pets.mar").write_bytes(b"half an archive")
    package(release, tmp_path / "pets.mar", "ort")
    assert (tmp_path / "pets.mar").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("name", "out", "classes", "wanted"),
    [
        (None, None, ["cat", "dog"], ("catsdogs", Path("model-store/catsdogs"))),
        ("pets", None, ["rose", "tulip"], ("pets", Path("model-store/pets"))),
        (None, Path("store/flowers"), ["rose", "tulip"], ("flowers", Path("store/flowers"))),
        ("pets", Path("store/flowers"), ["cat", "dog"], ("pets", Path("store/flowers"))),
    ],
)
def test_name_and_folder_follow_from_each_other(
    name: str | None, out: Path | None, classes: list[str], wanted: tuple[str, Path]
) -> None:
    assert place(name, out, classes) == wanted


def test_other_classes_than_cats_and_dogs_ask_for_a_name() -> None:
    with pytest.raises(UserError, match=r"A model of daisy, rose, tulip, \.\.\. needs a name.*--name"):
        place(None, None, ["daisy", "rose", "tulip", "violet"])


def test_a_release_says_which_checkpoint_it_is_of_and_what_its_classes_are_called(
    small: Checkpoint, data: Path, invoke: Invoke, tmp_path: Path
) -> None:
    named = dataclasses.replace(small, names={"cat": "Felis catus"})
    save_checkpoint(named, tmp_path / "best.pt")
    arguments = ("--data", data, "--run", tmp_path, "--out", tmp_path / "pets", "--version", "1")
    invoke("export", *arguments, "--allow-poor")
    values = json.loads((tmp_path / "pets" / "release.json").read_bytes())
    assert values["name"] == "pets"
    assert values["names"] == {"cat": "Felis catus"}
    assert values["checkpoint_sha256"] == sha256_file(tmp_path / "best.pt")
    assert values["files"]["trained_on.bin"] == sha256_file(tmp_path / "pets" / "trained_on.bin")
