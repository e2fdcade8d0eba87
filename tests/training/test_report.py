from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.evaluation import metrics, report

HISTORY = [
    {"epoch": epoch, "size": 64 + 16 * (epoch // 2), "train_loss": 0.7 / epoch, "val_loss": 0.8 / epoch}
    | {"val_accuracy": 1 - 0.4 / epoch, "pictures_per_s": 50.0, "seconds": 9.0, "learning_rate": 0.1}
    for epoch in (1, 2, 3, 4)
]


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def answers(classes: int, count: int = 300) -> tuple[metrics.Ints, metrics.Floats]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes - 1, count)  # the last class does not occur
    logits = rng.normal(size=(count, classes)) + 2 * np.eye(classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [1, 4])
def test_curves_of_any_number_of_epochs(rows: int, tmp_path: Path) -> None:
    report.draw_curves(HISTORY[:rows], tmp_path / "curves.png")
    height, width, _ = pixels(tmp_path / "curves.png").shape
    assert width > 2 * height
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


@pytest.mark.parametrize("key", ["train_loss", "val_loss", "val_accuracy", "size"])
def test_curves_show_what_they_say(key: str, tmp_path: Path) -> None:
    changed: list[dict[str, float]] = [dict(row) for row in HISTORY]
    changed[1][key] *= 1.2
    report.draw_curves(HISTORY, tmp_path / "curves.png")
    report.draw_curves(changed, tmp_path / "changed.png")
    assert not np.array_equal(pixels(tmp_path / "curves.png"), pixels(tmp_path / "changed.png"))


def test_a_confusion_of_many_classes_has_room_for_their_names_and_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda axes, x, y, text, **style: numbers.append(text))
    for classes in (report.MANY, 37):
        counts = (5 * np.eye(classes, dtype=int)).tolist()
        names = [f"a breed of number {index}" for index in range(classes)]
        report.draw_confusion(counts, names, "breeds", tmp_path / f"{classes}.png")
    assert len(numbers) == report.MANY**2
    # Of each class at least 25 pixels.
    assert 37 * 25 < min(pixels(tmp_path / "37.png").shape[:2]) < 2000


@pytest.mark.parametrize("classes", [2, 3, 37])
def test_precision_and_recall_of_a_class_that_does_not_occur_are_left_out(classes: int, tmp_path: Path) -> None:
    labels, probabilities = answers(classes)
    scores = metrics.by_class(labels, probabilities, [f"class {index}" for index in range(classes)])
    report.draw_precision_recall(labels, probabilities, scores, "breeds", tmp_path / "pr.png")
    assert pixels(tmp_path / "pr.png").std() > 0


def test_reliability_before_and_after_are_two_curves(tmp_path: Path) -> None:
    labels, probabilities = answers(4)
    before, after = metrics.reliability(labels, probabilities), metrics.reliability(labels, probabilities**2)
    for name, bins in (("same.png", before), ("two.png", after)):
        report.draw_reliability(before, bins, ("as it is", "scaled"), "breeds", tmp_path / name)
    assert not np.array_equal(pixels(tmp_path / "same.png"), pixels(tmp_path / "two.png"))


def test_a_share_of_all_or_nothing_has_its_interval_too(tmp_path: Path) -> None:
    def row(right: int) -> dict[str, Any]:
        proportion = metrics.proportion(right, 9)
        return {
            "name": f"{right}",
            "share": proportion.share,
            "low": proportion.low,
            "high": proportion.high,
            "count": 9,
        }

    traits = {"size": {"slices": [row(0), row(4), row(9)]}}
    report.draw_slices(traits, 0.5, "photos", tmp_path / "slices.png")
    assert pixels(tmp_path / "slices.png").std() > 0


def test_the_knee_is_marked(tmp_path: Path) -> None:
    proportion = metrics.proportion(90, 100)
    share = {"share": proportion.share, "low": proportion.low, "high": proportion.high}
    rows = [{"size": size, "accuracy": share, "milliseconds": size / 10} for size in (112, 128, 160)]
    for knee in (112, 128):
        report.draw_sizes({"": {"sizes": rows, "knee": knee}}, "val", tmp_path / f"{knee}.png")
    both = {"fp32": {"sizes": rows, "knee": 112}, "int8": {"sizes": rows[:2], "knee": 112}}
    report.draw_sizes(both, "val", tmp_path / "both.png")
    assert not np.array_equal(pixels(tmp_path / "both.png"), pixels(tmp_path / "112.png"))
    assert not np.array_equal(pixels(tmp_path / "112.png"), pixels(tmp_path / "128.png"))


def test_a_mistake_is_shown_upright(tmp_path: Path) -> None:
    # Red above, blue below, stored lying on its side, as cameras do.
    lying = Image.new("RGB", (100, 60), "red")
    lying.paste("blue", (50, 0, 100, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.jpg", exif=exif, quality=95)
    mistake = report.Mistake(tmp_path / "lying.jpg", "cat", "dog", 0.9)
    report.draw_mistakes([mistake], ["cat", "dog"], tmp_path / "mistakes.png")
    sheet = pixels(tmp_path / "mistakes.png")
    upper, lower = sheet[report.TILE // 2 - 30, report.TILE // 2], sheet[report.TILE // 2 + 30, report.TILE // 2]
    assert upper[0] > 200 > 100 > upper[2]
    assert lower[2] > 200 > 100 > lower[0]
