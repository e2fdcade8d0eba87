import dataclasses
import importlib.metadata
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torch.nn import functional

from handler.files import UserError, sha256_file
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
from training.data import manifest as manifests
from training.data.loaders import EvalPictures, eval_loader
from training.data.manifest import Manifest
from training.data.prepare import prepare
from training.data.sampler import SeededSampler
from training.learning import train as train_module
from training.learning.checkpoint import load_checkpoint, load_trained, save_checkpoint
from training.learning.history import EpochLine, gone_stale
from training.learning.loss import label_loss, loss_of, mix
from training.learning.model import build
from training.learning.optimizer import learning_rate, make_optimizer, picture_size, running_mean
from training.learning.runtime import Group
from training.learning.tasks.balance import class_weights
from training.learning.train import freeze_norms, train, validate

Folders = Callable[..., Path]
FILES = ["best.pt", "config.yaml", "curves.png", "history.csv", "last.pt"]
ALONE = Group(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Sixteen pictures to train on and six to validate by."""
    return draw_manifest(tmp_path_factory.mktemp("few"), {"train": 8, "val": 3})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves and waiting for the disk take longer than an epoch of few pictures."""
    monkeypatch.setattr("training.learning.run_folder.draw_curves", lambda history, path: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Kill(BaseException):
    """At the place where it is raised, a run ends as by a signal."""


def kill_in(epoch: int, step: int = 1) -> Callable[[int, int, int, float], None]:
    def on_step(now: int, done: int, steps: int, rate: float) -> None:
        if (now, done) == (epoch, step):
            raise Kill

    return on_step


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
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("train.optimizer=adamw",),
        ("train.optimizer=adam", "train.mixup=0.4", "train.erasing=0.5"),
        ("model.freeze_backbone=true",),
        ("model.arch=mobilenet_v2",),  # draws random numbers of its own, for dropout
        # Scales its gradients, and is slow on a processor.
        pytest.param(("train.amp=fp16",), marks=pytest.mark.slow),
        pytest.param(("model.arch=resnet18",), marks=pytest.mark.slow),
        ("train.decoded_side=32",),
    ],
)
def test_a_killed_run_that_is_resumed_ends_with_the_same_weights_and_history(
    few: Manifest, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    config, whole, killed = tiny(*overrides), tmp_path / "whole", tmp_path / "killed"
    train(config, few, whole)
    for epoch in (1, 2):
        with pytest.raises(Kill):
            train(config, few, killed, resume=True, on_step=kill_in(epoch, step=3))
        assert load_checkpoint(killed / "last.pt").epoch == epoch
    train(config, few, killed, resume=True)
    assert_equal_weights(killed, whole)
    assert_equal_weights(killed, whole, "best.pt")
    columns = ("epoch", "size", "train_loss", "val_loss", "val_accuracy")
    ours, others = ([[row[name] for name in columns] for row in history(folder)] for folder in (killed, whole))
    assert ours == others


@pytest.mark.usefixtures("quick")
def test_a_later_epoch_that_is_as_good_is_not_better_after_a_resume_either(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A third, in decimals, is smaller than it is.
    monkeypatch.setattr(train_module, "validate", lambda *arguments: (0.5, 1 / 3))
    with pytest.raises(Kill):
        train(tiny(), few, tmp_path / "run", on_step=kill_in(1))
    train(tiny(), few, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3
    assert load_checkpoint(tmp_path / "run" / "best.pt").epoch == 1


@pytest.mark.usefixtures("quick")
def test_a_run_killed_in_its_first_epoch_leaves_nothing_that_is_in_the_way(few: Manifest, tmp_path: Path) -> None:
    with pytest.raises(Kill):
        train(tiny(), few, tmp_path / "run", on_step=kill_in(0))
    assert not (tmp_path / "run" / "last.pt").exists()
    best = train(tiny("train.epochs=1"), few, tmp_path / "run")
    assert best == tmp_path / "run" / "best.pt"
    assert load_checkpoint(best).epoch == 1


@pytest.mark.usefixtures("quick")
def test_a_run_that_is_stopped_before_its_first_step_has_its_config_already(few: Manifest, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise Kill

    config = tiny("model.freeze_backbone=true")
    with pytest.raises(Kill):
        train(config, few, tmp_path / "run", on_work=stop)
    assert configs.load(tmp_path / "run" / "config.yaml") == config


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


def test_a_finished_run_that_is_resumed_stays_as_it_is(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert train(small_config, manifest, copy, resume=True) == copy / "best.pt"
    assert {name: (copy / name).read_bytes() for name in FILES} == {name: (run / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_run_without_its_whole_history_is_refused_in_one_sentence(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path, damage: str
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    lines = (copy / "history.csv").read_text().splitlines()
    (copy / "history.csv").write_text({"cut": "\n".join(lines[:2]), "empty": "", "missing": ""}[damage])
    if damage == "missing":
        (copy / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history\.csv"):
        train(small_config, manifest, copy, resume=True)


def test_a_broken_checkpoint_is_not_gone_on_from(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "last.pt").write_bytes((copy / "last.pt").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last\.pt is not a checkpoint of catsdogs"):
        train(small_config, manifest, copy, resume=True)


def test_a_run_is_not_overwritten(run: Path, manifest: Manifest, small_config: Config) -> None:
    with pytest.raises(UserError, match=r"already holds a run\. Go on with it by --resume, or choose another --run\."):
        train(small_config, manifest, run)


def test_a_run_does_not_go_on_with_other_pictures(
    run: Path, small_config: Config, class_folders: Folders, tmp_path: Path
) -> None:
    manifests.write(prepare([class_folders(tmp_path / "a", 40, first_seed=900)]), tmp_path / "data")
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="trained on another manifest"):
        train(small_config, manifests.read(tmp_path / "data"), run, resume=True)
    assert (run / "config.yaml").read_bytes() == before


def test_a_run_does_not_go_on_with_another_config(run: Path, manifest: Manifest, small_config: Config) -> None:
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="has another config; leave out --config and --set"):
        train(changed(small_config, epochs=9), manifest, run, resume=True)
    other = configs.load(run / "config.yaml", ["model.arch=mobilenet_v2"])
    with pytest.raises(UserError, match="has another config"):
        train(other, manifest, run, resume=True)
    assert (run / "config.yaml").read_bytes() == before


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


def test_the_learning_rate_rises_over_one_epoch_and_falls_to_zero() -> None:
    config = configs.load().train
    rates = [learning_rate(config, step, 150) for step in range(config.epochs * 150)]
    assert max(rates) == rates[149] == rates[150] == config.learning_rate
    assert rates[:150] == sorted(rates[:150])
    assert rates[150:] == sorted(rates[150:], reverse=True)
    assert 0 < rates[-1] < 1e-5 * config.learning_rate
    # The cosine is at half of its height in its middle.
    assert rates[150 + 13 * 75] == pytest.approx(config.learning_rate / 2)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 3), (1, 100), (2, 1), (3, 7)])
def test_the_shortest_runs_have_a_learning_rate_too(epochs: int, steps: int) -> None:
    config = configs.load(overrides=[f"train.epochs={epochs}"]).train
    rates = [learning_rate(config, step, steps) for step in range(epochs * steps)]
    assert max(rates) == config.learning_rate
    assert all(rate > 0 and math.isfinite(rate) for rate in rates)


@pytest.mark.parametrize(("smallest", "largest", "epochs"), [(64, 96, 14), (32, 224, 5), (40, 100, 9), (128, 128, 3)])
def test_pictures_grow_in_multiples_of_sixteen_within_the_sizes_that_are_named(
    smallest: int, largest: int, epochs: int
) -> None:
    overrides = [f"train.min_size={smallest}", f"train.max_size={largest}", f"train.epochs={epochs}"]
    config = configs.load(overrides=overrides).train
    sizes = [picture_size(config, epoch) for epoch in range(epochs)]
    assert sizes == sorted(sizes)
    assert all(size % 16 == 0 or size in (smallest, largest) for size in sizes)
    assert sizes[0] == smallest
    assert largest - 8 <= sizes[-1] <= largest


def test_the_only_epoch_has_the_smallest_pictures() -> None:
    config = configs.load(overrides=["train.epochs=1", "train.min_size=64", "train.max_size=96"]).train
    assert picture_size(config, 0) == 64


def test_the_optimizer_is_the_one_that_the_config_names() -> None:
    model = torch.nn.Linear(2, 2)
    sgd = make_optimizer(model, configs.load(overrides=["train.optimizer=sgd"]).train)
    assert isinstance(sgd, torch.optim.SGD)
    assert {(group["momentum"], group["nesterov"]) for group in sgd.param_groups} == {(0.9, True)}
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        assert type(make_optimizer(model, configs.load(overrides=[f"train.optimizer={name}"]).train)) is kind


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_pulls_at_kernels_and_not_at_norms_and_biases(name: str) -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(kernel, torch.nn.BatchNorm1d(4))
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    config = configs.load(overrides=[f"train.optimizer={name}", "train.weight_decay=0.5"]).train
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(model, config).step()
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert moved == {"0.weight"}
    assert kernel.weight.norm() < before["0.weight"].norm()


@pytest.mark.usefixtures("quick")
def test_training_starts_from_the_weights_that_the_config_names(few: Manifest, tmp_path: Path) -> None:
    train(tiny("train.epochs=1"), few, tmp_path / "first")
    trained = load_checkpoint(tmp_path / "first" / "best.pt").ema
    torch.save(trained, tmp_path / "start.pt")
    train(
        tiny("train.epochs=1", "train.learning_rate=1e-9", f"model.weights={tmp_path / 'start.pt'}", "train.seed=7"),
        few,
        tmp_path / "run",
    )
    tuned = load_checkpoint(tmp_path / "run" / "last.pt").ema
    kernel = "backbone.blocks.0.weight"
    torch.testing.assert_close(tuned[kernel], trained[kernel], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("quick")
def test_a_run_goes_on_from_another_ones_averaged_weights_and_says_so(few: Manifest, tmp_path: Path) -> None:
    first = tmp_path / "first" / "best.pt"
    train(tiny("train.epochs=1"), few, first.parent)
    still = ("train.epochs=1", "train.learning_rate=1e-9", "train.seed=7", f"model.weights={first}")
    train(tiny(*still), few, tmp_path / "run")
    start, tuned = load_checkpoint(first), load_checkpoint(tmp_path / "run" / "last.pt")
    kernel = "backbone.blocks.0.weight"
    torch.testing.assert_close(tuned.ema[kernel], start.ema[kernel], rtol=0, atol=1e-6)
    assert tuned.start == {
        "sha256": sha256_file(first),
        "manifest_sha256": few.sha256,
        "epochs": 1,
        "config": start.config,
        "git_sha": start.git_sha,
        "teacher": None,
        "start": None,
    }


@pytest.mark.usefixtures("quick")
def test_what_was_learnt_of_a_teacher_comes_along(few: Manifest, tmp_path: Path) -> None:
    torch.save(build("baseline", 5).backbone.state_dict(), tmp_path / "teacher.pt")
    taught = ("train.epochs=1", "distill.teacher=baseline", f"distill.teacher_weights={tmp_path / 'teacher.pt'}")
    first = tmp_path / "first" / "best.pt"
    train(tiny(*taught), few, first.parent)
    still = (*taught, "train.learning_rate=1e-9", "train.seed=7", f"model.weights={first}")
    train(tiny(*still), few, tmp_path / "run")
    start, tuned = load_checkpoint(first), load_checkpoint(tmp_path / "run" / "last.pt")
    torch.testing.assert_close(tuned.model["second.weight"], start.model["second.weight"], rtol=0, atol=1e-6)
    train(tiny("train.epochs=1", f"model.weights={first}"), few, tmp_path / "alone")
    assert "second.weight" not in load_checkpoint(tmp_path / "alone" / "last.pt").model


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


@pytest.mark.parametrize(("count", "decay"), [(1, 2 / 11), (80, 81 / 90), (100_000, 0.995)])
def test_the_first_steps_weights_are_forgotten_sooner(count: int, decay: float) -> None:
    means, counters = [torch.zeros(3)], [torch.tensor(1)]
    running_mean(0.995)(means, [torch.ones(3)], count)
    running_mean(0.995)(counters, [torch.tensor(7)], count)
    torch.testing.assert_close(means[0], torch.full((3,), 1 - decay))
    assert counters[0] == 7


def test_mixup_mixes_each_picture_with_its_neighbour() -> None:
    pixels = torch.tensor([[0, 100], [200, 50], [40, 40]], dtype=torch.uint8)
    assert mix(pixels, 0.75).tolist() == [[10, 85], [150, 62], [80, 42]]
    assert mix(pixels, 0.75).dtype == torch.uint8
    assert torch.equal(mix(pixels, 1.0), pixels)
    features = torch.tensor([[0.0], [1.0]])
    assert mix(features, 0.75).tolist() == [[0.25], [0.75]]


class Fixed(torch.nn.Module):
    """Logits that are its inputs, whatever they are mixed of."""

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return inputs.float(), None


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_cross_entropy_of_mixed_and_smoothed_labels(share: float, smoothing: float) -> None:
    torch.manual_seed(0)
    inputs, labels, none = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.zeros(6, dtype=torch.int64)
    recipe = configs.load(overrides=[f"train.label_smoothing={smoothing}"]).train
    task: Any = SimpleNamespace(class_weights=None)  # asked for more only where there is something to match
    loss = loss_of((inputs, labels, none, none), Fixed(), task, recipe, share, ALONE.device, None)
    own = functional.one_hot(labels, 3).float()
    targets = share * own + (1 - share) * own.roll(1, 0)
    targets = targets * (1 - smoothing) + smoothing / 3
    wanted = -(targets * mix(inputs, share).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, wanted)


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


@pytest.mark.parametrize(
    ("accuracies", "patience", "stale"),
    [
        ((), 2, False),
        ((0.5, 0.6, 0.6), 2, False),
        ((0.5, 0.6, 0.6, 0.6), 2, True),
        ((0.6, 0.5, 0.4), 2, True),
        ((0.6, 0.5, 0.7), 2, False),
        ((0.6, 0.5, 0.4, 0.3), 0, False),
    ],
)
def test_a_run_is_stale_when_its_best_epoch_is_so_old(
    accuracies: tuple[float, ...], patience: int, stale: bool
) -> None:
    assert gone_stale(rows(*accuracies), patience) is stale


@pytest.mark.usefixtures("quick")
def test_a_run_without_patience_left_ends_early_and_does_not_go_on_when_it_is_resumed(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A third, in decimals, is smaller than it is.
    monkeypatch.setattr(train_module, "validate", lambda *arguments: (0.5, 1 / 3))
    config = tiny("train.epochs=9", "train.patience=2")
    for resume in (False, True):
        best = train(config, few, tmp_path / "run", resume=resume)
        assert load_checkpoint(best).epoch == 1
        assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3


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
def test_auto_becomes_numbers_in_what_a_run_writes_down_and_the_same_command_goes_on(
    few: Manifest, tmp_path: Path
) -> None:
    config = tiny("train.batch_size=auto", "train.learning_rate=0.16")
    with pytest.raises(Kill):
        train(config, few, tmp_path / "run", on_step=kill_in(1))
    own = configs.load(tmp_path / "run" / "config.yaml")
    assert (own.train.batch_size, own.train.learning_rate) == (8, 0.01)
    assert load_checkpoint(tmp_path / "run" / "last.pt").config == own.model_dump(mode="json")
    train(config, few, tmp_path / "run", resume=True)
    train(own, few, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3


@pytest.mark.usefixtures("quick")
def test_a_run_from_before_a_key_was_there_goes_on(few: Manifest, tmp_path: Path) -> None:
    with pytest.raises(Kill):
        train(tiny(), few, tmp_path / "run", on_step=kill_in(1))
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    del checkpoint.config["train"]["sampler"], checkpoint.config["train"]["class_weights"]
    save_checkpoint(checkpoint, tmp_path / "run" / "last.pt")
    train(tiny(), few, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3


@pytest.mark.usefixtures("quick")
def test_a_run_that_has_diverged_ends_with_a_sentence_and_so_does_its_resumption(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "validate", lambda *arguments: (3e6, 0.5))
    for _ in range(2):
        with pytest.raises(UserError, match=r"^The run has diverged: .* 3e\+06 after 5 of 9 epochs"):
            train(tiny("train.epochs=9"), few, tmp_path / "run", resume=True)
        assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 5


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_weights_make_each_class_weigh_the_same(smoothing: float) -> None:
    recipe = tiny("train.class_weights=balanced", f"train.label_smoothing={smoothing}").train
    targets = torch.tensor([0] * 6 + [1] * 2)
    weights_of = class_weights(targets.tolist(), 2, recipe)
    assert weights_of is not None
    assert weights_of.tolist() == pytest.approx([8 / 12, 2.0])
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    losses = [
        functional.cross_entropy(logits[targets == label], targets[targets == label], label_smoothing=smoothing)
        for label in (0, 1)
    ]
    loss = label_loss(logits, targets, recipe, weights_of)
    torch.testing.assert_close(loss, (losses[0] + losses[1]) / 2)


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
