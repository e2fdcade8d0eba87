import dataclasses
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torch.nn import functional

from handler.files import UserError
from handler.preprocess import InputSpec
from tests.training.train_support import (
    FEW_CORES,
    assert_equal_weights,
    changed,
    draw_manifest,
    history,
    tiny,
    weights,
)
from training import config as configs
from training.config import Config
from training.data.loaders import EvalPictures, eval_loader
from training.data.manifest import Manifest
from training.data.sampler import SeededSampler
from training.learning import train as train_module
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.freezing import freeze_norms
from training.learning.history import EpochLine
from training.learning.runtime import Group
from training.learning.train import train, validate

FILES = ["best.pt", "config.yaml", "curves.png", "history.csv", "last.pt"]
ALONE = Group(0, 1, torch.device("cpu"))


def test_two_classes_that_differ_in_colour_are_learned(run: Path) -> None:
    assert history(run)[-1]["val_accuracy"] > 0.9


def test_a_run_leaves_its_config_its_history_its_curves_and_two_checkpoints(run: Path, small_config: Config) -> None:
    assert sorted(path.name for path in run.iterdir() if path.is_file()) == FILES
    assert yaml.safe_load((run / "config.yaml").read_text()) == small_config.model_dump(mode="json")
    assert configs.load(run / "config.yaml") == small_config
    with Image.open(run / "curves.png") as curves:
        assert curves.format == "PNG"


def test_the_history_has_a_row_for_each_epoch(run: Path) -> None:
    rows = history(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert list(rows[0]) == [field.name for field in dataclasses.fields(EpochLine)]
    assert {row["size"] for row in rows} == {32}
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_the_last_checkpoint_says_what_it_was_made_of(run: Path, manifest: Manifest, small_config: Config) -> None:
    checkpoint = load_checkpoint(run / "last.pt")
    assert checkpoint.epoch == 4
    assert checkpoint.classes == ["cat", "dog"]
    assert checkpoint.manifest_sha256 == manifest.sha256
    assert checkpoint.config == small_config.model_dump(mode="json")
    assert checkpoint.versions["torch"] == importlib.metadata.version("torch")


def test_the_best_checkpoint_is_the_first_with_the_best_accuracy_of_the_history(run: Path) -> None:
    best, accuracies = load_checkpoint(run / "best.pt"), [row["val_accuracy"] for row in history(run)]
    assert best.epoch == accuracies.index(max(accuracies)) + 1


def test_the_accuracy_in_the_history_is_that_of_the_averaged_weights(run: Path, manifest: Manifest) -> None:
    best = load_checkpoint(run / "best.pt")
    pictures = EvalPictures(manifest.root, manifest.split("val"), manifest.classes, InputSpec(32))
    loss, accuracy = validate(load_trained(best), iter(eval_loader(pictures, 0)), ALONE)
    row = history(run)[best.epoch - 1]
    assert accuracy == pytest.approx(row["val_accuracy"], abs=1e-6)
    assert loss == pytest.approx(row["val_loss"], rel=1e-4)


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings(FEW_CORES)
def test_any_number_of_workers_gives_the_same_weights(few: Manifest, tmp_path: Path) -> None:
    for workers in (0, 1, 2):
        train(tiny("train.epochs=2", f"train.workers={workers}"), few, tmp_path / str(workers))
    for workers in (1, 2):
        assert_equal_weights(tmp_path / str(workers), tmp_path / "0")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("arch", ["baseline", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_one_seed_gives_one_result_and_another_seed_another(few: Manifest, tmp_path: Path, arch: str) -> None:
    config = tiny("train.epochs=1", f"model.arch={arch}")
    train(config, few, tmp_path / "a")
    # `make model` always resumes, also where there is nothing yet.
    train(config, few, tmp_path / "b", resume=True)
    train(changed(config, seed=1), few, tmp_path / "c")
    assert_equal_weights(tmp_path / "a", tmp_path / "b")
    ours, others = weights(tmp_path / "a"), weights(tmp_path / "c")
    kernel = {"baseline": "blocks.0.weight", "resnet18": "conv1.weight"}[arch]
    assert not torch.equal(ours[f"ema/backbone.{kernel}"], others[f"ema/backbone.{kernel}"])


@pytest.mark.usefixtures("quick")
def test_the_callbacks_tell_each_step_and_each_epoch(few: Manifest, tmp_path: Path) -> None:
    steps: list[tuple[int, int, int]] = []
    lines: list[EpochLine] = []
    train(
        tiny("train.epochs=2", "train.max_size=48", "train.batch_size=6"),
        few,
        tmp_path / "run",
        on_step=lambda epoch, step, count, rate: steps.append((epoch, step, count)),
        on_epoch=lines.append,
    )
    # 16 pictures in batches of 6 at most: 6, 5 and 5.
    assert steps == [(epoch, step, 3) for epoch in (0, 1) for step in (1, 2, 3)]
    assert [(line.epoch, line.size) for line in lines] == [(1, 32), (2, 48)]


@pytest.mark.usefixtures("quick")
def test_each_epoch_has_an_order_and_crops_of_its_own(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[int], list[int]]] = []

    class Watched(SeededSampler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            drawn.append((self.order.tolist(), self.seeds.tolist()))

    monkeypatch.setattr("training.learning.tasks.balance.SeededSampler", Watched)
    train(tiny("train.epochs=2"), few, tmp_path / "run")
    (first_order, first_seeds), (second_order, second_seeds) = drawn
    assert first_order != second_order
    assert set(first_seeds).isdisjoint(second_seeds)


def test_one_class_is_nothing_to_tell_apart(manifest: Manifest, small_config: Config, tmp_path: Path) -> None:
    cats = dataclasses.replace(manifest, pictures=[p for p in manifest.pictures if p.label == "cat"])
    with pytest.raises(UserError, match="needs two classes; the manifest has 1: cat"):
        train(small_config, cats, tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_named(manifest: Manifest, small_config: Config, tmp_path: Path, split: str) -> None:
    rest = dataclasses.replace(manifest, pictures=[p for p in manifest.pictures if p.split != split])
    with pytest.raises(UserError, match=f"has no picture in its {split} split"):
        train(small_config, rest, tmp_path / "run")


def test_a_class_without_a_picture_to_train_on_is_named(
    manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    lacking = [p for p in manifest.pictures if (p.label, p.split) != ("dog", "train")]
    with pytest.raises(UserError, match=r"^There is no picture to train on of dog: prepare more pictures\.$"):
        train(small_config, dataclasses.replace(manifest, pictures=lacking), tmp_path / "run")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("steps", ["batch_size=4", "batch_size=16"])
def test_a_loss_that_is_no_longer_a_number_ends_the_run_and_writes_no_checkpoint(
    few: Manifest, tmp_path: Path, steps: str
) -> None:
    # With one step per epoch, only the validation sees what it did.
    config = tiny("train.learning_rate=1e38", f"train.{steps}")
    with pytest.raises(UserError, match=r"^The loss is no longer a number in epoch 1: lower train\.learning_rate and"):
        train(config, few, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.pt"))


def test_a_batch_that_processes_cannot_share_evenly_is_refused_before_anything_is_written(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def two() -> Iterator[Group]:
        yield Group(0, 2, torch.device("cpu"))

    monkeypatch.setattr(train_module, "process_group", two)
    with pytest.raises(UserError, match=r"^2 processes cannot share a batch of 5 evenly\.$"):
        train(tiny("train.batch_size=5"), few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("quick")
def test_three_classes_are_learned_as_two_are(tmp_path: Path) -> None:
    three = draw_manifest(tmp_path, {"train": 8, "val": 4}, ("cat", "dog", "fox"))
    train(tiny("train.epochs=6", "train.ema_decay=0.1"), three, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "best.pt").classes == ["cat", "dog", "fox"]
    assert max(row["val_accuracy"] for row in history(tmp_path / "run")) > 0.9


@pytest.mark.usefixtures("quick")
def test_the_averaged_weights_are_the_running_mean_of_the_trained_ones(few: Manifest, tmp_path: Path) -> None:
    # One step per epoch: last.pt is seen after each step.
    trained: list[torch.Tensor] = []
    averaged: list[torch.Tensor] = []

    def look(line: EpochLine) -> None:
        checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
        trained.append(checkpoint.model["classifier.backbone.blocks.0.weight"])
        averaged.append(checkpoint.ema["backbone.blocks.0.weight"])

    train(tiny("train.batch_size=16", "train.ema_decay=0.2"), few, tmp_path / "run", on_epoch=look)
    assert torch.equal(averaged[0], trained[0])
    for step, decay in ((1, 2 / 11), (2, 0.2)):
        torch.testing.assert_close(averaged[step], decay * averaged[step - 1] + (1 - decay) * trained[step])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "override",
    ["train.mixup=0.4", "train.erasing=0.9", "train.color=0.9", "train.label_smoothing=0.3", "train.flip=false"],
)
def test_each_part_of_the_recipe_takes_part_and_follows_from_the_seed(
    few: Manifest, tmp_path: Path, override: str
) -> None:
    short = ("train.epochs=1", "train.color=0", "train.label_smoothing=0")
    train(tiny(*short), few, tmp_path / "without")
    for name in ("a", "b"):
        train(tiny(*short, override), few, tmp_path / name)
    assert_equal_weights(tmp_path / "a", tmp_path / "b")
    assert history(tmp_path / "a")[0]["train_loss"] != history(tmp_path / "without")[0]["train_loss"]


@pytest.mark.usefixtures("quick")
def test_frozen_norms_keep_their_statistics_and_train_their_factors(few: Manifest, tmp_path: Path) -> None:
    train(tiny("train.epochs=1", "model.freeze_norms=true"), few, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run" / "last.pt").ema
    assert torch.equal(state["backbone.blocks.1.running_mean"], torch.zeros(32))
    assert torch.equal(state["backbone.blocks.1.running_var"], torch.ones(32))
    assert not torch.equal(state["backbone.blocks.1.weight"], torch.ones(32))


def test_freezing_norms_leaves_the_rest_in_training() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm2d(3)).train()
    freeze_norms(model)
    assert [module.training for module in model] == [True, False]


def rows(*accuracies: float) -> list[EpochLine]:
    return [EpochLine(epoch + 1, 32, 1, 1, accuracy, 1, 1) for epoch, accuracy in enumerate(accuracies)]


@pytest.mark.usefixtures("quick")
def test_half_precision_is_used_where_it_is_asked_for_and_the_weights_stay_whole(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    before = functional.conv2d

    def watched(x: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        answer: torch.Tensor = before(x, *others, **named)
        seen.append(answer.dtype)
        return answer

    monkeypatch.setattr("torch.nn.modules.conv.F.conv2d", watched)
    products: list[object] = []
    monkeypatch.setattr("training.learning.learner.use_products", products.append)
    for amp, dtype in (("off", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        seen.clear()
        products.clear()
        train(tiny("train.epochs=1", f"train.amp={amp}"), few, tmp_path / amp)
        assert set(seen) == {dtype}
        # The product is of bfloat16 matrices and of nothing else.
        assert bool(products) is (amp == "bf16")
        state = load_checkpoint(tmp_path / amp / "last.pt").model
        assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("frozen", ["false", "true"])
@pytest.mark.parametrize("way", ["class_weights", "sampler"])
def test_either_way_of_balancing_changes_what_an_imbalanced_set_teaches(
    few: Manifest, tmp_path: Path, way: str, frozen: str
) -> None:
    dogs = [picture for picture in few.split("train") if picture.label == "dog"]
    imbalanced = dataclasses.replace(few, pictures=[picture for picture in few.pictures if picture not in dogs[2:]])
    plain = tiny("train.epochs=1", f"model.freeze_backbone={frozen}")
    train(plain, imbalanced, tmp_path / "plain")
    train(changed(plain, **{way: "balanced"}), imbalanced, tmp_path / "balanced")
    name = "ema/backbone.head.linear.bias"
    # More dogs than the network saw otherwise: the score of a dog, its only output, is higher.
    assert weights(tmp_path / "balanced")[name] > weights(tmp_path / "plain")[name]
