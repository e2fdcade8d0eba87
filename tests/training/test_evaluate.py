import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import UserError, sha256_file
from training import manifest as manifests
from training.evaluate import evaluate, slice_name
from training.manifest import Manifest, Picture
from training.model import load_checkpoint, save_checkpoint
from training.report import CAPTION, COLUMNS, TILE

Folders = Callable[..., Path]


def rows(evaluation: Path) -> list[dict[str, str]]:
    with (evaluation / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_says_what_was_measured(evaluation: Path, run: Path, manifest: Manifest) -> None:
    report = json.loads((evaluation / "report.json").read_bytes())
    assert report["split"] == "test"
    assert report["classes"] == ["cat", "dog"]
    assert report["manifest_sha256"] == manifest.sha256
    assert report["checkpoint_sha256"] == sha256_file(run / "best.pt")


def test_pictures_of_different_sources_are_reported_apart(evaluation: Path, manifest: Manifest) -> None:
    slices = json.loads((evaluation / "report.json").read_bytes())["slices"]
    tested = [picture.path.split("/")[0] for picture in manifest.split("test")]
    assert {name: figures["count"] for name, figures in slices.items()} == {
        "photos": tested.count("photos"),
        "web": tested.count("web"),
    }
    # Every photograph is for evaluation only, and takes its twin from the web with it.
    assert tested.count("photos") == 6
    assert tested.count("web") >= 4


def test_a_tree_of_class_folders_alone_is_one_slice() -> None:
    def picture(path: str) -> Picture:
        return Picture(path, "cat", "test", "", "", 1, 1)

    assert slice_name(picture("Cat/1.jpg"), ["cat", "dog"]) == "all"
    assert slice_name(picture("web/Cat/1.jpg"), ["cat", "dog"]) == "web"


def test_every_tested_picture_has_a_row_of_probabilities(evaluation: Path, manifest: Manifest) -> None:
    found = rows(evaluation)
    assert [(row["path"], row["label"]) for row in found] == [(p.path, p.label) for p in manifest.split("test")]
    for row in found:
        assert float(row["cat"]) + float(row["dog"]) == pytest.approx(1, abs=2e-6)


def test_the_reports_accuracy_follows_from_the_predictions(evaluation: Path) -> None:
    slices = json.loads((evaluation / "report.json").read_bytes())["slices"]
    for name, figures in slices.items():
        chosen = [row for row in rows(evaluation) if row["path"].startswith(f"{name}/")]
        right = sum(row["label"] == max(("cat", "dog"), key=lambda label: float(row[label])) for row in chosen)
        assert (figures["right"], figures["count"]) == (right, len(chosen))
        assert np.trace(figures["confusion"]) == right
        assert figures["low"] < figures["accuracy"] <= figures["high"]


@pytest.mark.parametrize("name", ["confusion-web.png", "confusion-photos.png", "mistakes.png"])
def test_its_pictures_can_be_opened(evaluation: Path, name: str) -> None:
    with Image.open(evaluation / name) as image:
        assert image.format == "PNG"
        image.load()
        assert min(image.size) >= 100


def test_a_checkpoint_that_may_have_seen_the_pictures_is_refused(
    run: Path, class_folders: Folders, tmp_path: Path
) -> None:
    manifests.write(manifests.prepare([class_folders(tmp_path / "a", 5)], ratios=(0, 0, 1)), tmp_path / "data")
    with pytest.raises(UserError, match="trained with another manifest"):
        evaluate(run / "best.pt", manifests.read(tmp_path / "data"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_split_is_named(run: Path, manifest: Manifest, tmp_path: Path) -> None:
    untested = dataclasses.replace(manifest, pictures=manifest.split("train"))
    with pytest.raises(UserError, match="has no picture in its test split"):
        evaluate(run / "best.pt", untested, tmp_path / "out")


def test_another_split_can_be_measured(run: Path, manifest: Manifest, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    report = evaluate(
        run / "best.pt", manifest, tmp_path / "out", "val", lambda done, total: progress.append((done, total))
    )
    count = len(manifest.split("val"))
    assert report["split"] == "val"
    assert sum(figures["count"] for figures in report["slices"].values()) == count
    assert progress[-1] == (count, count)


@pytest.fixture(scope="module")
def contrary(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that takes cats for dogs and dogs for cats."""
    checkpoint = load_checkpoint(run / "best.pt")
    for name in ("backbone.fc.weight", "backbone.fc.bias"):
        checkpoint.ema[name] = checkpoint.ema[name].flip(0)
    path = tmp_path_factory.mktemp("contrary") / "best.pt"
    save_checkpoint(checkpoint, path)
    return path


def test_the_sheet_shows_the_24_worst_mistakes_and_the_worst_first(
    contrary: Path, manifest: Manifest, tmp_path: Path
) -> None:
    evaluate(contrary, manifest, tmp_path, "train")
    wrong: dict[bytes, float] = {}
    for row in rows(tmp_path):
        if float(row[row["label"]]) < 0.5:
            with Image.open(manifest.root / row["path"]) as image:
                wrong[image.tobytes()] = 1 - float(row[row["label"]])
    assert len(wrong) > 24
    with Image.open(tmp_path / "mistakes.png") as sheet:
        assert sheet.size == (COLUMNS * TILE, 4 * (TILE + CAPTION))
        # The pictures have 64 x 48 pixels and lie in the middle of their tiles.
        corners = [
            ((TILE - 64) // 2 + column * TILE, (TILE - 48) // 2 + line * (TILE + CAPTION))
            for line in range(4)
            for column in range(COLUMNS)
        ]
        shown = [wrong[sheet.crop((x, y, x + 64, y + 48)).tobytes()] for x, y in corners]
    assert shown == sorted(wrong.values(), reverse=True)[:24]


def test_the_sheet_is_blank_unless_there_are_mistakes(evaluation: Path) -> None:
    wrong = [row for row in rows(evaluation) if float(row[row["label"]]) < 0.5]
    with Image.open(evaluation / "mistakes.png") as sheet:
        dark = np.asarray(sheet.convert("L")).min() < 255
    assert dark == bool(wrong)
