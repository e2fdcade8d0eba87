import csv
import dataclasses
import importlib.metadata
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import training.train
from handler.files import UserError
from handler.preprocess import InputSpec
from training import config as configs
from training import manifest as manifests
from training.config import Config
from training.data import EvalPictures, SeededSampler, eval_loader
from training.manifest import Manifest
from training.checkpoint import load_checkpoint, load_trained
from training.train import EpochLine, learning_rate, make_optimizer, picture_size, train, validate

Folders = Callable[..., Path]
FILES = ["best.pt", "config.yaml", "history.csv", "last.pt"]


def changed(config: Config, **values: object) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def only(manifest: Manifest, splits: dict[str, int | None]) -> Manifest:
    """The first pictures of each class in each split named."""
    kept = [
        picture
        for split, count in splits.items()
        for label in manifest.classes
        for picture in [p for p in manifest.split(split) if p.label == label][:count]
    ]
    return dataclasses.replace(manifest, pictures=sorted(kept, key=lambda picture: picture.path))


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def weights(run: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(run / name)
    return {f"{kind}/{key}": t for kind in ("model", "ema") for key, t in getattr(checkpoint, kind).items()}


def assert_equal_weights(ours: Path, others: Path) -> None:
    first, second = weights(ours), weights(others)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_two_classes_that_differ_in_colour_are_learned(run: Path) -> None:
    assert history(run)[-1]["val_accuracy"] > 0.9


def test_a_run_leaves_its_config_its_history_and_two_checkpoints(run: Path, small_config: Config) -> None:
    assert sorted(path.name for path in run.iterdir() if path.is_file()) == FILES
    assert yaml.safe_load((run / "config.yaml").read_text()) == small_config.model_dump(mode="json")
    assert configs.load(run / "config.yaml") == small_config


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
    assert best.best_accuracy == pytest.approx(max(accuracies), abs=1e-6)
    assert best.epoch == accuracies.index(max(accuracies)) + 1


def test_the_accuracy_in_the_history_is_that_of_the_averaged_weights(run: Path, manifest: Manifest) -> None:
    best = load_checkpoint(run / "best.pt")
    pictures = EvalPictures(manifest.root, manifest.split("val"), manifest.classes, InputSpec(32))
    loss, accuracy = validate(load_trained(best), eval_loader(pictures, 0), torch.device("cpu"))
    row = history(run)[best.epoch - 1]
    assert accuracy == pytest.approx(row["val_accuracy"], abs=1e-6)
    assert loss == pytest.approx(row["val_loss"], rel=1e-4)


def test_a_killed_run_that_is_resumed_ends_with_the_same_weights(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    def kill(epoch: int, step: int, steps: int, rate: float) -> None:
        if epoch == 1 and step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_config, manifest, tmp_path / "run", on_step=kill)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 1
    train(small_config, manifest, tmp_path / "run", resume=True)
    assert_equal_weights(tmp_path / "run", run)
    losses = [[row["train_loss"] for row in history(folder)] for folder in (tmp_path / "run", run)]
    assert losses[0] == losses[1]


def test_a_resumed_run_keeps_what_adamw_remembers(manifest: Manifest, small_config: Config, tmp_path: Path) -> None:
    def kill(epoch: int, step: int, steps: int, rate: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    few, config = only(manifest, {"train": 4, "val": 2}), changed(small_config, epochs=2, optimizer="adamw")
    train(config, few, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, few, tmp_path / "killed", on_step=kill)
    train(config, few, tmp_path / "killed", resume=True)
    assert_equal_weights(tmp_path / "killed", tmp_path / "whole")


def test_a_run_killed_in_its_first_epoch_leaves_nothing_that_is_in_the_way(
    manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    def kill(epoch: int, step: int, steps: int, rate: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_config, manifest, tmp_path / "run", on_step=kill)
    assert not (tmp_path / "run" / "last.pt").exists()
    few = only(manifest, {"train": 4, "val": 2})
    best = train(changed(small_config, epochs=1), few, tmp_path / "run")
    assert best == tmp_path / "run" / "best.pt"
    assert load_checkpoint(best).epoch == 1


def test_one_seed_gives_one_result_and_another_seed_another(
    manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    few, short = only(manifest, {"train": 8, "val": 2}), changed(small_config, epochs=1)
    train(short, few, tmp_path / "a")
    # `make first-model` always resumes, also where there is nothing yet.
    train(short, few, tmp_path / "b", resume=True)
    train(changed(short, seed=1), few, tmp_path / "c")
    assert_equal_weights(tmp_path / "a", tmp_path / "b")
    ours, others = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert not torch.equal(ours["model/backbone.conv1.weight"], others["model/backbone.conv1.weight"])


def test_the_callbacks_tell_each_step_and_each_epoch(manifest: Manifest, small_config: Config, tmp_path: Path) -> None:
    steps: list[tuple[int, int, int]] = []
    lines: list[EpochLine] = []
    few = only(manifest, {"train": 9, "val": 2})
    train(
        changed(small_config, epochs=2, max_size=48),
        few,
        tmp_path / "run",
        on_step=lambda epoch, step, count, rate: steps.append((epoch, step, count)),
        on_epoch=lines.append,
    )
    # 18 pictures in batches of 8: the rest of 2 waits for another epoch.
    assert steps == [(0, 1, 2), (0, 2, 2), (1, 1, 2), (1, 2, 2)]
    assert [(line.epoch, line.size) for line in lines] == [(1, 32), (2, 48)]


def test_each_epoch_has_an_order_and_crops_of_its_own(
    manifest: Manifest, small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[int], list[int]]] = []

    class Watched(SeededSampler):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            drawn.append((self.order.tolist(), self.seeds.tolist()))

    monkeypatch.setattr(training.train, "SeededSampler", Watched)
    train(changed(small_config, epochs=2), only(manifest, {"train": 4, "val": 2}), tmp_path / "run")
    (first_order, first_seeds), (second_order, second_seeds) = drawn
    assert first_order != second_order
    assert set(first_seeds).isdisjoint(second_seeds)


def test_a_finished_run_that_is_resumed_stays_as_it_is(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert train(small_config, manifest, copy, resume=True) == copy / "best.pt"
    assert {name: (copy / name).read_bytes() for name in FILES} == {name: (run / name).read_bytes() for name in FILES}


def test_a_run_is_not_overwritten(run: Path, manifest: Manifest, small_config: Config) -> None:
    with pytest.raises(UserError, match=r"already holds a run\. Go on with it by --resume, or choose another --run\."):
        train(small_config, manifest, run)


def test_a_run_does_not_go_on_with_other_pictures(
    run: Path, small_config: Config, class_folders: Folders, tmp_path: Path
) -> None:
    manifests.write(manifests.prepare([class_folders(tmp_path / "a", 40, first_seed=900)]), tmp_path / "data")
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="trained on another manifest"):
        train(small_config, manifests.read(tmp_path / "data"), run, resume=True)
    assert (run / "config.yaml").read_bytes() == before


def test_a_run_does_not_go_on_with_another_config(run: Path, manifest: Manifest, small_config: Config) -> None:
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="has another config; leave out --config and --set"):
        train(changed(small_config, epochs=9), manifest, run, resume=True)
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


def test_too_few_pictures_for_one_batch_are_refused(manifest: Manifest, small_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="6 pictures do not fill a batch of 8"):
        train(small_config, only(manifest, {"train": 3, "val": 1}), tmp_path / "run")
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
def test_pictures_grow_in_multiples_of_sixteen(smallest: int, largest: int, epochs: int) -> None:
    overrides = [f"train.min_size={smallest}", f"train.max_size={largest}", f"train.epochs={epochs}"]
    config = configs.load(overrides=overrides).train
    sizes = [picture_size(config, epoch) for epoch in range(epochs)]
    assert sizes == sorted(sizes)
    assert all(size % 16 == 0 for size in sizes)
    assert abs(sizes[0] - smallest) <= 8
    assert abs(sizes[-1] - largest) <= 8


def test_the_only_epoch_has_the_smallest_pictures() -> None:
    config = configs.load(overrides=["train.epochs=1", "train.min_size=64", "train.max_size=96"]).train
    assert picture_size(config, 0) == 64


def test_the_optimizer_is_the_one_that_the_config_names() -> None:
    model = torch.nn.Linear(2, 2)
    sgd = make_optimizer(model, configs.load(overrides=["train.optimizer=sgd"]).train)
    assert isinstance(sgd, torch.optim.SGD)
    assert {(group["momentum"], group["nesterov"]) for group in sgd.param_groups} == {(0.9, True)}
    assert isinstance(make_optimizer(model, configs.load(overrides=["train.optimizer=adamw"]).train), torch.optim.AdamW)


def test_training_starts_from_the_weights_that_the_config_names(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    trained = load_checkpoint(run / "best.pt").ema
    torch.save(trained, tmp_path / "start.pt")
    config = changed(small_config, epochs=1, learning_rate=1e-9)
    config = config.model_copy(update={"model": config.model.model_copy(update={"weights": tmp_path / "start.pt"})})
    train(config, only(manifest, {"train": 4, "val": 2}), tmp_path / "run")
    tuned = load_checkpoint(tmp_path / "run" / "last.pt").model
    torch.testing.assert_close(tuned["backbone.conv1.weight"], trained["backbone.conv1.weight"], rtol=0, atol=1e-6)
