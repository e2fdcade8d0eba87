"""Weights to start from: a release's last layer was divided by its temperature, and starting from it undoes that."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from handler.files import UserError
from tests.training.train_support import draw_manifest, history, tiny
from tests.zoo import ROOT
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint
from training.learning.model import build
from training.learning.train import train
from training.learning.weights import read_weights
from training.release.export import export

T = 0.1
STILL = ("train.epochs=1", "train.learning_rate=1e-9", "model.freeze_norms=true")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 6, "test": 4})


@pytest.fixture(scope="module")
def first(few: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a run."""
    return train(tiny("train.epochs=2"), few, tmp_path_factory.mktemp("run") / "first")


@pytest.fixture(scope="module")
def released(few: Manifest, first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its release, with a temperature far from 1."""
    folder = tmp_path_factory.mktemp("store") / "pets"
    figures = {"temperature": {"value": T}, "slices": {}, "manifest_sha256": few.sha256}
    export(load_checkpoint(first), few, folder, "1", figures)
    return folder


def first_loss(weights: Path, manifest: Manifest, run: Path) -> float:
    """The loss at the first validation of a run that learns nothing."""
    train(tiny(*STILL, f"model.weights={weights}"), manifest, run)
    return history(run)[0]["val_loss"]


@pytest.mark.parametrize("named", ["folder", "model.safetensors", "moved away", "before metadata"])
def test_a_run_from_a_release_begins_with_the_loss_of_its_checkpoint(
    few: Manifest, first: Path, released: Path, tmp_path: Path, named: str
) -> None:
    copy = shutil.copytree(released, tmp_path / "copy")
    start = copy if named == "folder" else copy / "model.safetensors"
    if named == "moved away":  # the file alone knows its temperature
        start = start.rename(tmp_path / "alone.safetensors")
    if named == "before metadata":  # release.json alone knows it
        safetensors.torch.save_file(safetensors.torch.load_file(start), start)
        values = json.loads((copy / "release.json").read_bytes())
        from handler.files import sha256_file

        values["files"]["model.safetensors"] = sha256_file(start)
        (copy / "release.json").write_text(json.dumps(values))
    wanted = first_loss(first, few, tmp_path / "from-checkpoint")
    assert first_loss(start, few, tmp_path / "from-release") == pytest.approx(wanted, abs=2e-3)


def test_without_undoing_it_the_loss_would_be_another_one(
    few: Manifest, first: Path, released: Path, tmp_path: Path
) -> None:
    torch.save(read_weights(released).state, tmp_path / "as-it-is.pt")
    wanted = first_loss(first, few, tmp_path / "from-checkpoint")
    assert abs(first_loss(tmp_path / "as-it-is.pt", few, tmp_path / "as-it-is") - wanted) > 0.02


def test_the_shipped_release_states_its_temperature_and_classes() -> None:
    weights = read_weights(ROOT / "model-store" / "catsdogs")
    fitted = json.loads((ROOT / "model-store" / "catsdogs" / "release.json").read_text())["calibration"]["value"]
    assert 0 < weights.temperature < 1
    assert weights.temperature == pytest.approx(fitted)
    assert weights.classes == ["cat", "dog"]


def test_weights_that_release_json_does_not_name_are_refused(released: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(released, tmp_path / "copy")
    safetensors.torch.save_file({"a": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(UserError, match="is corrupted: its sha256 is"):
        read_weights(copy)


@pytest.mark.parametrize(("labels", "kept"), [(["cat", "dog"], True), (["rose", "tulip"], False)])
def test_the_last_layer_is_kept_for_the_same_classes_alone(released: Path, labels: list[str], kept: bool) -> None:
    model = build("baseline", 2, released, labels=labels)
    stored = read_weights(released).state["head.linear.weight"].float()
    assert torch.allclose(model.backbone.head.linear.weight, stored * T) is kept  # type: ignore[union-attr,arg-type]
    kernel = model.backbone.blocks[0].weight  # type: ignore[union-attr,index]
    assert torch.equal(kernel.half(), read_weights(released).state["blocks.0.weight"])
