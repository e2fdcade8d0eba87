"""The mean of the weights of several models."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
import torch

import catsdogs
from handler.files import UserError, sha256_file
from tests.training.train_support import draw_manifest, tiny
from training.data.manifest import Manifest
from training.learning.average import average
from training.learning.checkpoint import load_checkpoint
from training.learning.model import build
from training.learning.train import train
from training.learning.weights import read_weights
from training.release.export import export

KERNEL = "backbone.blocks.0.weight"
COUNTER = "backbone.blocks.1.num_batches_tracked"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 6, "test": 12})


@pytest.fixture(scope="module")
def first(few: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny("train.epochs=2"), few, tmp_path_factory.mktemp("first") / "run")


@pytest.fixture(scope="module")
def released(few: Manifest, first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the first run, whose last layer was divided by a temperature."""
    folder = tmp_path_factory.mktemp("store") / "pets"
    figures = {"temperature": {"value": 0.1}, "slices": {}, "manifest_sha256": few.sha256}
    export(load_checkpoint(first), few, folder, "1.0.0", figures, name="pets", int8=False)
    return folder


@pytest.fixture(scope="module")
def second(few: Manifest, first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that goes on from the first."""
    config = tiny(f"model.weights={first}", "train.epochs=1", "train.seed=5")
    return train(config, few, tmp_path_factory.mktemp("second") / "run")


def test_each_weight_is_the_mean_and_the_rest_is_the_last_models(few: Manifest, first: Path, second: Path) -> None:
    mean, members = average([first, second], few)
    states = [load_checkpoint(path) for path in (first, second)]
    assert len(members) == 2
    assert not torch.equal(states[0].ema[KERNEL], states[1].ema[KERNEL])
    torch.testing.assert_close(mean.ema[KERNEL], (states[0].ema[KERNEL] + states[1].ema[KERNEL]) / 2)
    assert mean.ema[COUNTER] == states[1].ema[COUNTER] != states[0].ema[COUNTER]
    assert (mean.config, mean.epoch, mean.start) == (states[1].config, 1, states[1].start)
    assert mean.averaged is not None
    assert [each["sha256"] for each in mean.averaged] == [sha256_file(first), sha256_file(second)]


def test_the_temperature_of_a_release_is_undone_first(few: Manifest, first: Path, released: Path) -> None:
    mean, _ = average([first, released], few)
    trained, stored = load_checkpoint(first).ema, read_weights(released).state
    (head,) = (name for name in trained if "head" in name and name.endswith("weight"))
    assert stored[head.removeprefix("backbone.")].abs().max() > 5 * trained[head].abs().max()
    torch.testing.assert_close(mean.ema[head], trained[head].float(), rtol=1e-2, atol=1e-4)


def test_a_mean_is_evaluated_exported_and_gone_on_from_like_a_run(
    few: Manifest, released: Path, second: Path, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    data, run = few.folder, tmp_path / "mean"
    assert data is not None
    said = invoke("average", released, second.parent, "--data", data, "--run", run)
    assert len(re.findall(r"\d\d %", said)) == 1 + 3 * 3  # the heading; share and interval of each and of the mean
    assert f"next: catsdogs evaluate --data {data} --run {run} --size 32" in said
    invoke("evaluate", "--data", data, "--run", run, "--size", "48")
    out = tmp_path / "pets"
    invoke("export", "--data", data, "--run", run, "--out", out, "--version", "2.0.0", "--allow-poor", "--no-int8")
    release = json.loads((out / "release.json").read_bytes())
    assert release["input"]["size"] == 48
    assert [each.get("version") for each in release["averaged"]] == ["1.0.0", None]
    assert "the mean of the weights of pets 1.0.0 and a run of 1 epoch (git" in (out / "MODEL_CARD.md").read_text()
    train(tiny(f"model.weights={out}", "train.epochs=1"), few, tmp_path / "next")
    start = load_checkpoint(tmp_path / "next" / "best.pt").start
    assert start is not None
    assert start["averaged"] == release["averaged"]


def test_models_that_have_no_mean_are_refused(few: Manifest, first: Path, released: Path, tmp_path: Path) -> None:
    other = train(tiny("model.arch=mobilenet_v2", "train.epochs=1"), few, tmp_path / "other")
    foxes = draw_manifest(tmp_path, {"train": 2, "val": 2, "test": 2}, ("cat", "fox"))
    torch.save(build("baseline", 2).state_dict(), tmp_path / "weights.pt")
    for paths, manifest, why in (
        ([first], few, "takes two models or more"),
        ([first, other], few, "is a mobilenet_v2 and .* a baseline"),
        ([first, released], foxes, "tells cat, dog apart, and the manifest has cat, fox"),
        ([first, tmp_path / "weights.pt"], few, "neither a checkpoint nor a release"),
        ([first, tmp_path / "nowhere.pt"], few, "There is no weights file"),
    ):
        with pytest.raises(UserError, match=why):
            average(paths, manifest)


def test_a_folder_in_use_stays_as_it_is(few: Manifest, first: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    arguments = ["average", str(first), str(first), "--data", str(few.folder), "--run", str(tmp_path)]
    result = click.testing.CliRunner().invoke(catsdogs.cli, arguments)
    assert isinstance(result.exception, UserError)
    assert f"{tmp_path} is already there" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
