"""Two models on the same pictures: figures, verdict and report."""

import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import catsdogs
from common.verdicts import Verdict
from handler.files import UserError
from tests.training.train_support import draw_manifest, tiny
from training.cli.compare import table
from training.data.manifest import Manifest
from training.evaluation.compare import by_domain, conclude, pair, pictures_needed
from training.evaluation.comparison import compare
from training.learning.checkpoint import load_checkpoint, save_checkpoint
from training.learning.train import train
from training.release.export import export
from training.release.package import package


def rights(only_old: int, only_new: int, both: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    old = [True] * only_old + [False] * only_new + [True] * both + [False] * neither
    new = [False] * only_old + [True] * only_new + [True] * both + [False] * neither
    return np.array(old), np.array(new)


@pytest.mark.parametrize(
    ("only_old", "only_new", "both", "verdict"),
    [
        (5, 40, 1000, "PASS"),  # better
        (0, 0, 1000, "PASS"),  # equal, and enough pictures to say so
        (0, 0, 20, "INCONCLUSIVE"),
        (0, 4, 3, "INCONCLUSIVE"),  # the interval alone would call it better
        (40, 5, 1000, "BREACH"),
        (20, 22, 1000, "INCONCLUSIVE"),
        (60, 30, 100_000, "PASS"),  # worse for sure, but by less than the margin
    ],
)
def test_the_verdict_follows_from_the_interval_and_the_margin(
    only_old: int, only_new: int, both: int, verdict: str
) -> None:
    conclusion = conclude(pair(*rights(only_old, only_new, both)), margin=0.5)
    assert conclusion.verdict == verdict
    assert conclusion.exit_code == {"PASS": 0, "BREACH": 10, "INCONCLUSIVE": 11}[verdict]


def test_so_many_pictures_as_an_inconclusive_verdict_asks_for_are_enough() -> None:
    few = pair(*rights(10, 10, 480))
    needed = pictures_needed(few, 0.5)
    assert needed is not None
    assert f"About {needed} test pictures" in conclude(few, 0.5).sentence
    share = round(needed * 10 / 500)
    assert conclude(pair(*rights(share, share, needed - 2 * share)), 0.6).verdict == "PASS"


def test_slices_without_a_picture_are_left_out() -> None:
    old, new = rights(1, 2, 3)
    rows = by_domain({"some": np.array([0, 1, 5]), "none": np.array([], dtype=np.int64)}, old, new)
    assert list(rows) == ["some"]
    assert (rows["some"]["only_old"], rows["some"]["only_new"], rows["some"]["count"]) == (1, 1, 3)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return draw_manifest(tmp_path_factory.mktemp("many"), {"train": 12, "val": 4, "test": 20})


@pytest.fixture(scope="module")
def models(many: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good.pt and bad.pt, which always answers the wrong class; a release and an archive of the good one."""
    folder = tmp_path_factory.mktemp("models")
    best = train(tiny("train.epochs=6"), many, folder / "run")
    good = load_checkpoint(best)
    save_checkpoint(good, folder / "good.pt")
    state = {name: -tensor if "head" in name else tensor for name, tensor in good.ema.items()}
    save_checkpoint(dataclasses.replace(good, ema=state), folder / "bad.pt")
    export(good, many, folder / "pets", "1", None)
    package(folder / "pets", folder / "pets.mar", "mnn")
    return folder


def test_a_checkpoint_its_release_and_its_archive_answer_alike(many: Manifest, models: Path, tmp_path: Path) -> None:
    for other in ("pets", "pets.mar"):
        report = compare(models / "good.pt", models / other, many, tmp_path, margin=20)
        assert report["verdict"] == "PASS"
        assert report["differences"] == []
        assert not (tmp_path / "differences.jpg").exists()
        assert report["all"]["count"] == len(many.split("test"))
    assert [report["models"][which]["kind"] for which in ("old", "new")] == ["checkpoint", "archive"]
    assert json.loads((tmp_path / "compare.json").read_bytes()) == report


def test_pictures_on_which_they_differ_are_listed_and_drawn(many: Manifest, models: Path, tmp_path: Path) -> None:
    report = compare(models / "good.pt", models / "bad.pt", many, tmp_path, margin=0.5)
    assert report["verdict"] == "BREACH"
    assert len(report["differences"]) == len(many.split("test"))
    assert {row["truth"] for row in report["differences"]} == {"cat", "dog"}
    assert set(report["by_class"]) == {"cat", "dog"}
    assert report["by_trait"].keys() == {"size", "brightness", "sharpness"}
    with Image.open(tmp_path / "differences.jpg") as sheet:
        assert sheet.width > 300


def test_pictures_that_one_was_trained_on_make_it_invalid_or_are_left_out(
    many: Manifest, models: Path, tmp_path: Path
) -> None:
    leaky = dataclasses.replace(
        many,
        pictures=[
            dataclasses.replace(picture, split="test") if picture.split == "train" else picture
            for picture in many.pictures
        ],
    )
    arguments = (models / "good.pt", models / "pets.mar", leaky, tmp_path, 20)
    report = compare(*arguments)
    assert (report["verdict"], report["exit_code"]) == ("INVALID", Verdict.INVALID.exit_code)
    assert "24 of the 64 test pictures were trained on, for example cat/train-0.png" in report["sentence"]
    assert "all" not in report
    report = compare(*arguments, unseen_only=True)
    assert (report["verdict"], report["left_out"], report["all"]["count"]) == ("PASS", 24, 40)


def test_models_of_other_classes_and_those_that_nobody_knows_are_invalid(
    many: Manifest, models: Path, tmp_path: Path
) -> None:
    good = load_checkpoint(models / "good.pt")
    save_checkpoint(dataclasses.replace(good, classes=["rose", "tulip"]), tmp_path / "flowers.pt")
    report = compare(models / "good.pt", tmp_path / "flowers.pt", many, tmp_path / "out", 1)
    assert report["sentence"] == "OLD knows cat, dog, and NEW rose, tulip: they cannot be compared."
    unknown = dataclasses.replace(good, trained_on=None, manifest_sha256="f" * 64)
    save_checkpoint(unknown, tmp_path / "unknown.pt")
    report = compare(tmp_path / "unknown.pt", models / "good.pt", many, tmp_path / "out", 1)
    assert (report["verdict"], report["sentence"][:47]) == (
        "INVALID",
        "OLD does not say on which pictures it was train",
    )


def test_classes_in_another_order_are_the_same_classes(many: Manifest, models: Path, tmp_path: Path) -> None:
    bad = load_checkpoint(models / "bad.pt")  # of two classes with the opposite scores
    save_checkpoint(dataclasses.replace(bad, classes=["dog", "cat"]), tmp_path / "turned.pt")
    report = compare(models / "good.pt", tmp_path / "turned.pt", many, tmp_path / "out", 20)
    assert report["differences"] == []


def test_a_damaged_archive_is_refused(many: Manifest, models: Path, tmp_path: Path) -> None:
    data = bytearray((models / "pets.mar").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "pets.mar").write_bytes(data)
    with pytest.raises(UserError, match=r"pets\.mar is not an archive of catsdogs, or is corrupted"):
        compare(models / "good.pt", tmp_path / "pets.mar", many, tmp_path, 1)


def test_the_folder_of_a_run_is_refused_with_the_verb_that_makes_a_release(
    many: Manifest, models: Path, tmp_path: Path
) -> None:
    run = models / "run"
    with pytest.raises(
        UserError, match=rf"is the folder of a run.*{run}/best\.pt, or make .* catsdogs export --run {run}$"
    ):
        compare(models / "pets", run, many, tmp_path, margin=20)


@pytest.mark.parametrize(("new", "status"), [("pets", 0), ("bad.pt", 10), ("no.pt", 2)])
def test_the_exit_status_is_the_verdict(
    many: Manifest,
    models: Path,
    tmp_path: Path,
    new: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        "compare",
        models / "good.pt",
        models / new,
        "--data",
        many.folder,
        "--out",
        tmp_path,
        "--margin",
        "20",
    ]
    monkeypatch.setattr(sys, "argv", ["catsdogs", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        catsdogs.main()
    assert stopped.value.code == status
    captured = capsys.readouterr()
    if status == 2:
        assert "There is no checkpoint" in captured.err
    else:
        assert captured.out.splitlines()[-2].startswith({0: "PASS: ", 10: "BREACH: "}[status])


def test_the_table_fits_into_80_columns_with_each_row_on_one_line() -> None:
    row: dict[str, Any] = {"count": 12345, "old": {"share": 1.0}, "new": {"share": 0.8765}, "p": 1.23e-12}
    row["difference"] = {"estimate": -0.1235, "low": -0.1517, "high": -0.1002}
    slices = {"slices": {"medium": row}}
    report = {"all": row, "by_source": {}, "by_class": {"dog": row}, "by_trait": {"brightness": slices}}
    printed = io.StringIO()
    Console(width=80, file=printed).print(table(report))
    lines = [line.split() for line in printed.getvalue().splitlines() if "12345" in line]
    cells = ["12345", "100.00", "87.65", "-12.35", "(-15.17", "to", "-10.02)", "1.2e-12"]
    assert lines == [["all", *cells], ["dog", *cells], ["brightness:", "medium", *cells]]
