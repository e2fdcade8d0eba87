import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import numpy as np
import pytest
import torch
from PIL import Image

import catsdogs
from handler.files import UserError, sha256_file
from training.data import manifest as manifests
from training.data.manifest import Manifest, Picture
from training.data.prepare import prepare
from training.evaluation.evaluate import evaluate
from training.evaluation.report import CAPTION, COLUMNS, TILE
from training.learning.checkpoint import load_checkpoint, save_checkpoint
from training.learning.model import build

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


def test_every_tested_picture_has_a_row_of_probabilities(evaluation: Path, manifest: Manifest) -> None:
    listed = rows(evaluation)
    assert [(row["path"], row["label"]) for row in listed] == [(p.path, p.label) for p in manifest.split("test")]
    for row in listed:
        assert float(row["cat"]) + float(row["dog"]) == pytest.approx(1, abs=2e-6)


def test_the_reports_accuracy_follows_from_the_predictions(evaluation: Path) -> None:
    slices = json.loads((evaluation / "report.json").read_bytes())["slices"]
    for name, figures in slices.items():
        chosen = [row for row in rows(evaluation) if row["path"].startswith(f"{name}/")]
        right = sum(row["label"] == max(("cat", "dog"), key=lambda label: float(row[label])) for row in chosen)
        assert (figures["right"], figures["count"]) == (right, len(chosen))
        assert np.trace(figures["confusion"]) == right
        assert figures["low"] < figures["accuracy"] <= figures["high"]


def test_its_pictures_are_named_and_can_be_opened(evaluation: Path) -> None:
    names = json.loads((evaluation / "report.json").read_bytes())["pictures"]
    kinds = ("confusion", "pr", "reliability", "slices")
    assert sorted(names) == sorted(
        ["mistakes.png", *(f"{kind}-{name}.png" for kind in kinds for name in ("web", "photos"))]
    )
    for name in names:
        with Image.open(evaluation / name) as image:
            assert image.format == "PNG"
            image.load()
            assert min(image.size) >= 100


def test_every_figure_of_a_class_follows_from_the_predictions(evaluation: Path) -> None:
    figures = json.loads((evaluation / "report.json").read_bytes())["slices"]["web"]
    chosen = [row for row in rows(evaluation) if row["path"].startswith("web/")]
    verdicts = [max(("cat", "dog"), key=lambda label: float(row[label])) for row in chosen]
    recalls = []
    for label in ("cat", "dog"):
        scores = figures["per_class"][label]
        right = sum(row["label"] == verdict == label for row, verdict in zip(chosen, verdicts, strict=True))
        true = sum(row["label"] == label for row in chosen)
        assert (scores["recall"]["right"], scores["recall"]["count"]) == (right, true)
        assert (scores["precision"] or {"count": 0})["count"] == verdicts.count(label)
        recalls.append(right / true)
    assert figures["balanced_accuracy"] == pytest.approx(sum(recalls) / 2)


def test_each_slice_of_a_trait_has_its_interval_and_all_have_every_picture(evaluation: Path) -> None:
    for figures in json.loads((evaluation / "report.json").read_bytes())["slices"].values():
        assert list(figures["by_slice"]) == ["size", "brightness", "sharpness"]
        for trait in figures["by_slice"].values():
            assert sum(row["count"] for row in trait["slices"]) == figures["count"]
            assert sum(row["right"] for row in trait["slices"]) == figures["right"]
            assert all(row["low"] <= row["share"] <= row["high"] for row in trait["slices"])


def test_size_is_that_of_the_original(evaluation: Path) -> None:
    slices = json.loads((evaluation / "report.json").read_bytes())["slices"]
    by_source = {name: figures["by_slice"]["size"]["slices"] for name, figures in slices.items()}
    # All of one source have one size, of which 48 and 240 are the shorter sides.
    assert [(row["name"], row["up_to"]) for row in by_source["web"]] == [("all", 48)]
    assert [(row["name"], row["up_to"]) for row in by_source["photos"]] == [("all", 240)]


def test_the_temperature_is_fitted_on_val_and_never_on_the_split_under_test(
    evaluation: Path, run: Path, manifest: Manifest, tmp_path: Path
) -> None:
    tested = json.loads((evaluation / "report.json").read_bytes())
    fitted = evaluate(run / "best.pt", manifest, tmp_path, "val")
    assert tested["temperature"] == {
        "value": fitted["temperature"]["value"],
        "unshrunk": fitted["temperature"]["unshrunk"],
        "fitted_on": "val",
        "count": len(manifest.split("val")),
        "fitted_on_the_split_under_test": False,
    }
    assert fitted["temperature"]["fitted_on_the_split_under_test"] is True
    assert {row["temperature"] for row in tested["slices"].values()} == {tested["temperature"]["value"]}


def test_a_checkpoint_that_has_seen_the_pictures_is_refused(run: Path, class_folders: Folders, tmp_path: Path) -> None:
    manifests.write(prepare([class_folders(tmp_path / "a", 5)], ratios=(0, 0, 1)), tmp_path / "data")
    with pytest.raises(UserError, match=r"was trained on \d of the 10 test pictures"):
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


def test_another_input_than_the_runs_can_be_measured(
    evaluation: Path, run: Path, manifest: Manifest, tmp_path: Path
) -> None:
    assert json.loads((evaluation / "report.json").read_bytes())["input"] == {"size": 32, "resize": "squeeze"}
    report = evaluate(run / "best.pt", manifest, tmp_path, size=48, resize="crop")
    assert report["input"] == {"size": 48, "resize": "crop"}
    # Of the middle of a larger picture the answers are others.
    assert (tmp_path / "predictions.csv").read_bytes() != (evaluation / "predictions.csv").read_bytes()


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


def drawn(root: Path, classes: int, absent: int | None = None) -> Manifest:
    """One square picture per class in val and in test; the test split lacks class `absent`."""
    root.mkdir()
    pictures = []
    for index in range(classes):
        for split in ("val", "test"):
            if split == "test" and index == absent:
                continue
            path = f"breeds/class-{index:02}/{split}.png"
            pixels = np.random.default_rng([index, len(split)]).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / path)
            pictures.append(Picture(path, f"class-{index:02}", split, sha256_file(root / path), "", 40, 40))
    return Manifest(root, pictures, "of these pictures")


def untrained(path: Path, manifest: Manifest, run: Path) -> Path:
    """A checkpoint of a small network with random weights."""
    torch.manual_seed(0)
    checkpoint = load_checkpoint(run / "best.pt")
    checkpoint.config["model"]["arch"] = "baseline"
    checkpoint.ema = build("baseline", len(manifest.classes)).state_dict()
    checkpoint.classes, checkpoint.manifest_sha256 = manifest.classes, manifest.sha256
    save_checkpoint(checkpoint, path)
    return path


@pytest.mark.parametrize(("classes", "depths"), [(3, []), (37, ["3", "5"])])
def test_many_classes_of_which_one_does_not_occur(classes: int, depths: list[str], run: Path, tmp_path: Path) -> None:
    manifest = drawn(tmp_path / "pictures", classes, absent=1)
    evaluate(untrained(tmp_path / "best.pt", manifest, run), manifest, tmp_path / "out")
    # Read back strictly: NaN is not JSON.
    figures = json.loads((tmp_path / "out" / "report.json").read_bytes(), parse_constant=pytest.fail)["slices"][
        "breeds"
    ]
    assert figures["count"] == classes - 1
    assert figures["per_class"]["class-01"]["recall"] is None
    assert figures["per_class"]["class-01"]["average_precision"] is None
    # One picture per class, so most are never the verdict of a network that knows nothing.
    assert any(row["precision"] is None for row in figures["per_class"].values())
    assert list(figures["top_k"]) == depths
    wrong = figures["count"] - figures["right"]
    assert [pair["of"] for pair in figures["worst_pairs"]] == [1] * min(10, wrong)


def test_a_network_that_answers_with_nan_is_named(run: Path, tmp_path: Path) -> None:
    manifest = drawn(tmp_path / "pictures", 2)
    path = untrained(tmp_path / "best.pt", manifest, run)
    checkpoint = load_checkpoint(path)
    checkpoint.ema["backbone.head.linear.weight"].fill_(float("nan"))
    save_checkpoint(checkpoint, path)
    with pytest.raises(UserError, match="not finite: its training went wrong"):
        evaluate(path, manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_named(run: Path, tmp_path: Path) -> None:
    manifest = drawn(tmp_path / "pictures", 2)
    path = untrained(tmp_path / "best.pt", manifest, run)
    checkpoint = load_checkpoint(path)
    checkpoint.config["model"]["arch"] = "resnet18"
    save_checkpoint(checkpoint, path)
    with pytest.raises(UserError, match=r"weights are not those of a resnet18\.$"):
        evaluate(path, manifest, tmp_path / "out")


def test_the_command_prints_what_is_chosen(data: Path, run: Path, invoke: Callable[..., str], tmp_path: Path) -> None:
    options = ("--data", data, "--run", run, "--out", tmp_path, "--limit", "4")
    output = invoke("evaluate", *options, "--compare-rules", "--sizes", "32,48")
    rules, sizes = (json.loads((tmp_path / name).read_bytes()) for name in ("rules.json", "sizes.json"))
    assert (rules["pictures"], sizes["pictures"]) == (4, 4)
    lines = output.splitlines()
    assert lines[-5:] == [
        rules["sentence"],
        f"{tmp_path}/rules.json",
        sizes["sentence"],
        f"{tmp_path}/sizes.json and sizes.png",
        f"next: catsdogs evaluate --size {sizes['knee']}, whose size export then takes",
    ]
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--sizes", "small"), "whole numbers, for example 112,128,160"),
        (("--sizes", "8,128"), "from 32 to 1024 pixels"),
        (("--limit", "5"), "a report is of all pictures"),
        (("--size", "64", "--sizes", "64"), "--compare-rules and --sizes measure several"),
        (("--compare-rules", "--limit", "0"), "0 is not in the range x>=1"),
    ],
)
def test_an_option_that_makes_no_sense_exits_2(options: tuple[str, ...], sentence: str) -> None:
    result = click.testing.CliRunner().invoke(catsdogs.cli, ["evaluate", "--data", "nowhere", *options])
    assert result.exit_code == 2
    assert sentence in result.stderr
