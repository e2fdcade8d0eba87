"""More pictures in the same data folder: what was trained before goes on, and what it has seen is never tested."""

import dataclasses
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.files import UserError
from tests.training.train_support import TINY, draw_manifest, settings, tiny
from training.data import manifest as manifests
from training.data import trained_on
from training.data.manifest import Manifest, Picture, Prepared
from training.evaluation.evaluate import evaluate
from training.evaluation.trained import unseen_by
from training.learning.checkpoint import load_checkpoint, save_checkpoint
from training.learning.resume import manifest_of
from training.learning.train import train
from training.release.export import export

Invoke = Callable[..., str]


def picture(digit: str, split: str, group: str | None = None) -> Picture:
    sha256 = digit * 64
    return Picture(f"cat/{digit}.jpg", "cat", split, sha256, (group or digit) * 16, 9, 9)


def grow(folder: Path) -> tuple[Manifest, Manifest]:
    """A manifest, and the one of twice as many pictures that takes its place in the same folder."""
    whole = draw_manifest(folder, {"train": 12, "val": 6, "test": 6})
    few = [picture for picture in whole.pictures if int(picture.path.split("-")[1].split(".")[0]) % 2 == 0]
    manifests.write(Prepared(whole.root, few, []), folder / "data")
    before = manifests.read(folder / "data")
    manifests.write(Prepared(whole.root, whole.pictures, []), folder / "data")
    return before, manifests.read(folder / "data")


def swapped(manifest: Manifest) -> Manifest:
    """The manifest with one picture of the train split under test."""
    chosen = manifest.split("train")[0]
    pictures = [
        dataclasses.replace(picture, split="test") if picture is chosen else picture for picture in manifest.pictures
    ]
    return dataclasses.replace(manifest, pictures=pictures, sha256="f" * 64)


def test_a_record_holds_eight_bytes_of_each_picture_once() -> None:
    record = trained_on.record(["ab" * 32, "00" * 32, "ab" * 32])
    assert record == bytes(8) + bytes([0xAB] * 8)
    assert trained_on.union(record, trained_on.record(["cd" * 32])) == record + bytes([0xCD] * 8)
    assert trained_on.union(b"", b"") == b""


def test_a_picture_counts_as_seen_where_a_near_duplicate_was_even_one_that_is_gone() -> None:
    tested = [picture("1", "test"), picture("2", "test", "3"), picture("4", "test", "5"), picture("6", "test")]
    manifest = Manifest(Path(), [*tested, picture("7", "test", "5")], "")
    record = trained_on.record(["1" * 64, "3" * 64, "7" * 64])
    assert [picture.path for picture in trained_on.seen(manifest, tested, record)] == [
        "cat/1.jpg",
        "cat/2.jpg",
        "cat/4.jpg",
    ]


def test_a_grown_manifest_neither_refuses_evaluation_nor_export(tmp_path: Path) -> None:
    before, after = grow(tmp_path)
    best = train(tiny("train.epochs=1"), before, tmp_path / "run")
    report = evaluate(best, after, tmp_path / "evaluation")
    assert report["manifest_sha256"] == after.sha256
    assert sum(row["count"] for row in report["slices"].values()) == len(after.split("test"))
    release = export(load_checkpoint(best), after, tmp_path / "pets", "1", report)
    assert release["manifest_sha256"] == before.sha256
    assert release["evaluated_manifest_sha256"] == after.sha256


def test_pictures_that_were_trained_on_are_counted_named_and_can_be_left_out(tmp_path: Path) -> None:
    before, after = grow(tmp_path)
    best = train(tiny("train.epochs=1"), before, tmp_path / "run")
    leaky = swapped(after)
    with pytest.raises(UserError, match=r"was trained on 1 of the 13 test pictures, .* example cat/train-0\.png"):
        evaluate(best, leaky, tmp_path / "evaluation")
    evaluate(best, unseen_by(best, leaky), tmp_path / "evaluation")
    config = tiny("train.epochs=1", f"model.weights={best}")
    with pytest.raises(UserError, match=r"was trained on 1 of the 13 test pictures.*--previous FOLDER"):
        train(config, leaky, tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_a_run_inherits_what_its_start_was_trained_on(tmp_path: Path) -> None:
    before, after = grow(tmp_path)
    first = train(tiny("train.epochs=1"), before, tmp_path / "first")
    export(load_checkpoint(first), before, tmp_path / "pets", "1", None)
    for start in (first, tmp_path / "pets"):
        rest = [picture for picture in after.pictures if picture not in before.split("train")]
        run = tmp_path / f"from-{start.name}"
        second = train(tiny("train.epochs=1", f"model.weights={start}"), dataclasses.replace(after, pictures=rest), run)
        record = load_checkpoint(second).trained_on
        assert record == trained_on.record(picture.sha256 for picture in after.split("train"))


def test_a_release_tells_which_release_it_started_from(tmp_path: Path) -> None:
    manifest = draw_manifest(tmp_path, {"train": 6, "val": 3, "test": 3})
    first = train(tiny("train.epochs=1"), manifest, tmp_path / "first")
    old = export(load_checkpoint(first), manifest, tmp_path / "store" / "pets", "1", None)
    second = train(tiny("train.epochs=1", f"model.weights={tmp_path / 'store/pets'}"), manifest, tmp_path / "second")
    new = export(load_checkpoint(second), manifest, tmp_path / "store" / "pets", "2", None)
    assert new["start"]["sha256"] == old["files"]["model.safetensors"]
    assert new["start"]["version"] == "1"


def test_an_old_checkpoint_is_judged_by_the_kept_manifest_or_refused(tmp_path: Path) -> None:
    before, after = grow(tmp_path)
    best = train(tiny("train.epochs=1"), before, tmp_path / "run")
    old = dataclasses.replace(load_checkpoint(best), trained_on=None)
    save_checkpoint(old, tmp_path / "old.pt")
    evaluate(tmp_path / "old.pt", after, tmp_path / "evaluation")
    kept = after.folder / manifests.earlier_name(before.sha256) if after.folder else Path()
    kept.unlink()
    with pytest.raises(UserError, match=rf"does not say on which pictures.*Put that manifest into .* as {kept.name}"):
        evaluate(tmp_path / "old.pt", after, tmp_path / "evaluation")


class Stop(BaseException):
    """A run ends here, as by a kill."""


def test_an_unfinished_run_is_finished_on_the_pictures_it_was_begun_with(tmp_path: Path, invoke: Invoke) -> None:
    before, after = grow(tmp_path)

    def stop(line: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(tiny(), before, tmp_path / "run", on_epoch=stop)
    output = invoke("train", "--data", tmp_path / "data", "--run", tmp_path / "run", "--resume")
    assert f"goes on with the {len(before.pictures)} pictures that it was begun with" in output
    train(tiny(), before, tmp_path / "whole")
    ours, whole = (load_checkpoint(tmp_path / name / "last.pt") for name in ("run", "whole"))
    assert (ours.epoch, ours.manifest_sha256) == (3, before.sha256)
    assert all((ours.ema[name] == whole.ema[name]).all() for name in whole.ema)
    assert after.sha256 != before.sha256


def test_a_finished_run_names_the_command_that_goes_on_and_it_works(tmp_path: Path, invoke: Invoke) -> None:
    before, after = grow(tmp_path)
    train(tiny("train.epochs=1"), before, tmp_path / "run")
    with pytest.raises(UserError, match="is finished, and the manifest has changed since") as refused:
        invoke("train", "--data", tmp_path / "data", "--run", tmp_path / "run", "--resume")
    (command,) = re.findall("catsdogs (train .*)", str(refused.value))
    invoke(*shlex.split(command))
    assert load_checkpoint(tmp_path / "run-2" / "best.pt").manifest_sha256 == after.sha256


def test_a_run_from_old_weights_has_the_config_that_they_were_trained_by(tmp_path: Path, invoke: Invoke) -> None:
    before, _ = grow(tmp_path)
    train(tiny("train.epochs=1"), before, tmp_path / "run")
    weights = f"model.weights={tmp_path / 'run' / 'best.pt'}"
    invoke("train", "--data", tmp_path / "data", "--run", tmp_path / "second", "--set", weights)
    ours, first = (load_checkpoint(tmp_path / name / "best.pt").config for name in ("second", "run"))
    assert ours["model"]["arch"] == "baseline"
    assert ours["train"] == first["train"]


def test_an_unfinished_run_whose_manifest_is_gone_is_refused_with_that_command(tmp_path: Path) -> None:
    before, after = grow(tmp_path)
    train(tiny("train.epochs=1"), before, tmp_path / "run")
    assert after.folder is not None
    (after.folder / manifests.earlier_name(before.sha256)).unlink()
    with pytest.raises(UserError, match=r"can only be finished with that: there is no manifest-.*model\.weights="):
        manifest_of(tmp_path / "run", after, tiny("train.epochs=2"))


def test_a_class_that_a_checkpoint_does_not_know_is_named(tmp_path: Path) -> None:
    two = draw_manifest(tmp_path / "two", {"train": 6, "val": 3, "test": 3})
    three = draw_manifest(tmp_path / "three", {"train": 2, "val": 1, "test": 1}, ("cat", "dog", "fox"))
    best = train(tiny("train.epochs=1"), two, tmp_path / "run")
    with pytest.raises(UserError, match="does not know fox: it tells cat, dog apart"):
        evaluate(best, three, tmp_path / "evaluation")
    with pytest.raises(UserError, match="has a class that the checkpoint does not know: fox"):
        export(load_checkpoint(best), three, tmp_path / "pets", "1", None)


def test_the_pipeline_keeps_the_manifest_that_it_replaces(
    tmp_path: Path, class_folders: Callable[..., Path], invoke: Invoke
) -> None:
    pictures = class_folders(tmp_path / "pictures", 20)
    arguments = [
        "pipeline",
        pictures,
        "--data",
        tmp_path / "data",
        "--store",
        tmp_path / "store",
        "--split",
        "1/1/2",
        "--allow-poor",
        *settings(TINY),
    ]
    invoke(*arguments, "--runtime", "ort", "--run", tmp_path / "runs" / "one", "--version", "1")
    first = (tmp_path / "data" / "manifest.csv").read_bytes()
    assert len(manifests.read(tmp_path / "data").split("test")) >= 16  # of 40: three quarters of its part, or more
    class_folders(pictures, 30)
    with pytest.raises(UserError, match=r"is finished, and the manifest has changed since\."):
        invoke(*arguments, "--runtime", "ort", "--run", tmp_path / "runs" / "one", "--version", "2")
    with pytest.raises(UserError, match=r"is version 1 already, and of another run than"):
        invoke(
            *arguments, "--runtime", "ort", "--run", tmp_path / "runs" / "two", "--version", "1", "--name", "catsdogs"
        )
    assert first in [path.read_bytes() for path in (tmp_path / "data").glob("manifest-*.csv")]
    invoke(*arguments, "--runtime", "ort", "--run", tmp_path / "runs" / "two", "--version", "2")
    assert (tmp_path / "store" / "releases" / "catsdogs-1" / "release.json").is_file()
