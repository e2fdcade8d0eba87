"""Quantisation and its gate, on real networks and on answers of known mathematics."""

import dataclasses
import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.paired import loss_bounds
from handler.files import UserError, sha256_file
from handler.predictor import Predictor, softmax
from handler.release import golden_pixels, read_release
from handler.runtimes.openvino_runtime import RUNTIME as OPENVINO
from training.data.manifest import Manifest, Picture
from training.evaluation.card import model_card
from training.learning.checkpoint import load_checkpoint
from training.release.export import export
from training.release.int8 import add
from training.release.int8.gate import MIN_PICTURES, judge, too_few
from training.release.package import package
from training.release.parity import margins
from training.release.requantise import requantise

COUNT = 800


def answers(right: list[bool], confidence: float = 0.9) -> Any:
    """Return labels and probabilities of pictures of which these are answered right."""
    labels = np.arange(len(right)) % 2
    chosen = np.where(right, labels, 1 - labels)
    probabilities = np.full((len(right), 2), 1 - confidence, dtype=np.float32)
    probabilities[np.arange(len(right)), chosen] = confidence
    return labels, probabilities


def verdict(lost: int, won: int, count: int = 3400, confidence: float = 0.9) -> str:
    wrong = count // 10
    reference = [index >= wrong for index in range(count)]
    candidate = list(reference)
    for index in range(lost):
        candidate[wrong + index] = False
    for index in range(won):
        candidate[index] = True
    labels, by_fp32 = answers(reference)
    return str(judge(labels, by_fp32, answers(candidate, confidence)[1])["verdict"])


@pytest.mark.parametrize(
    ("lost", "won", "wanted"),
    [(0, 0, "PASS"), (5, 1, "PASS"), (30, 28, "INCONCLUSIVE"), (24, 9, "INCONCLUSIVE"), (120, 0, "BREACH")],
)
def test_int8_passes_where_the_upper_bound_of_its_loss_is_at_most_half_a_point(
    lost: int, won: int, wanted: str
) -> None:
    assert verdict(lost, won) == wanted


def test_int8_that_is_less_calibrated_is_refused() -> None:
    assert verdict(0, 0, confidence=0.904) == "PASS"
    assert verdict(0, 0, confidence=0.91) == "BREACH"


def test_so_few_pictures_cannot_show_it() -> None:
    assert verdict(0, 0, MIN_PICTURES) == "PASS"
    assert verdict(0, 0, MIN_PICTURES - 1) == "INCONCLUSIVE"
    assert too_few(10)["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(("p_lost", "p_won"), [(0.005, 0.0), (0.02, 0.01)])
def test_the_bounds_of_the_loss_hold_as_often_as_promised(p_lost: float, p_won: float) -> None:
    count, loss, missed_high, missed_low = 400, p_lost - p_won, 0.0, 0.0
    for lost in range(30):
        for won in range(30):
            rest = count - lost - won
            log = math.lgamma(count + 1) - math.lgamma(lost + 1) - math.lgamma(won + 1) - math.lgamma(rest + 1)
            log += lost * math.log(p_lost) + rest * math.log(1 - p_lost - p_won)
            if p_won == 0:
                if won:
                    continue
            else:
                log += won * math.log(p_won)
            low, high = loss_bounds(lost, won, count, 0.95)
            missed_high += math.exp(log) * (high < loss)
            missed_low += math.exp(log) * (low > max(loss, 0))
    assert missed_high <= 0.05
    assert missed_low <= 0.05


@pytest.fixture(scope="module")
def released(run: Path, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a release of the trained network without int8."""
    release = tmp_path_factory.mktemp("int8") / "release"
    export(load_checkpoint(run / "best.pt"), manifest, release, "1", None)
    return release


@pytest.fixture(scope="module")
def many(
    released: Path, manifest: Manifest, photo: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Manifest:
    """Return a manifest of 20 pictures to calibrate by, and COUNT to judge by that this hasty network is sure of."""
    folder, predictor = tmp_path_factory.mktemp("many"), Predictor(released, "ort")
    pictures: list[Picture] = []
    for seed in itertools.count():
        label, split = ("Cat", "Dog")[seed % 2], "train" if len(pictures) < 20 else "test"
        path = folder / label / f"{seed}.png"
        path.parent.mkdir(exist_ok=True)
        photo(seed, label, (32, 32)).save(path)
        if margins(predictor.probabilities(predictor.decode(path.read_bytes())[None]))[0] > 0.1:
            pictures.append(Picture(f"{label}/{seed}.png", label.lower(), split, sha256_file(path), str(seed), 32, 32))
        if len(pictures) == 20 + COUNT:
            return dataclasses.replace(manifest, root=folder, pictures=pictures)
    raise AssertionError


@pytest.fixture
def made(released: Path, many: Manifest, tmp_path: Path) -> Path:
    """Return the release, as if it was made with the manifest `many`."""
    made = Path(shutil.copytree(released, tmp_path / "release"))
    values = json.loads((made / "release.json").read_bytes())
    changed = {"manifest_sha256": many.sha256, "robustness": {"trusted_ece": 0.03, "precisions": {}}}
    (made / "release.json").write_text(json.dumps(values | changed))
    return made


def test_an_int8_network_is_made_judged_packed_and_served(made: Path, many: Manifest, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    facts = requantise(made, many, lambda done, total: progress.append((done, total)))
    assert facts["verdict"] == "PASS", facts["sentence"]
    assert facts["gate"]["pictures"] == COUNT
    assert progress[-1] == (COUNT, COUNT)
    assert facts["calibration"] == {"split": "train", "pictures": 20, "manifest_sha256": many.sha256}
    assert facts["metrics"]["all"]["count"] == COUNT
    release = read_release(made)
    assert release.precision == "int8"
    by_openvino = OPENVINO.load(made / "model.int8.onnx", "int8", 1, None).logits(golden_pixels(release.input.size))
    np.testing.assert_allclose(by_openvino, release.golden_logits["int8"], atol=1e-4)
    assert "robustness" not in json.loads((made / "release.json").read_bytes()), "of another int8 network"
    assert "x86-64 CPUs serve int8" in (made / "MODEL_CARD.md").read_text()

    package(made, tmp_path / "one.mar")
    package(made, tmp_path / "two.mar")
    assert (tmp_path / "one.mar").read_bytes() == (tmp_path / "two.mar").read_bytes()


def test_a_release_is_quantised_to_the_same_bytes_again(made: Path, many: Manifest) -> None:
    requantise(made, many)
    first = (made / "model.int8.onnx").read_bytes()
    requantise(made, many)
    assert (made / "model.int8.onnx").read_bytes() == first


def test_a_bad_int8_network_is_refused_and_the_release_stays_fp32(made: Path, many: Manifest) -> None:
    # Ranges measured on black pictures cut off what photographs need.
    black = many.root / "black.png"
    Image.new("RGB", (32, 32)).save(black)
    sha256 = sha256_file(black)
    dark = [
        dataclasses.replace(picture, path="black.png", sha256=sha256) if picture.split == "train" else picture
        for picture in many.pictures
    ]
    facts = requantise(made, dataclasses.replace(many, pictures=dark))
    assert facts["verdict"] == "BREACH", facts["sentence"]
    release = read_release(made)
    assert (release.precision, "model.int8.onnx" in release.files) == ("fp32", False)
    assert not (made / "model.int8.onnx").exists()
    assert Predictor(made, "ort").precision == "fp32"
    card = model_card(json.loads((made / "release.json").read_bytes()))
    assert "CPUs serve fp32" in card
    assert "Verdict on int8: BREACH" in card


def test_another_manifest_is_refused_and_changes_nothing(made: Path, many: Manifest) -> None:
    before = (made / "release.json").read_bytes()
    with pytest.raises(UserError, match="was made with the manifest"):
        requantise(made, dataclasses.replace(many, sha256="0" * 64))
    assert (made / "release.json").read_bytes() == before


def test_too_few_test_pictures_leave_the_release_fp32(made: Path, many: Manifest) -> None:
    facts = requantise(made, dataclasses.replace(many, pictures=many.pictures[:100]))
    assert (facts["verdict"], read_release(made).precision) == ("INCONCLUSIVE", "fp32")


def test_the_int8_network_answers_nearly_as_fp32(made: Path, many: Manifest) -> None:
    requantise(made, many)
    pixels = golden_pixels(32)
    full, quantised = (
        OPENVINO.load(made / name, precision, 1, None).logits(pixels)
        for name, precision in (("model.onnx", "fp32"), ("model.int8.onnx", "int8"))
    )
    assert 0 < np.abs(softmax(full) - softmax(quantised)).max() < 0.2


def test_no_runtime_of_int8_is_one_sentence(made: Path, many: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (made / "release.json").read_bytes()
    monkeypatch.setattr(add, "is_installed", lambda package: False)
    with pytest.raises(UserError, match="No runtime that computes in int8 is installed here"):
        requantise(made, many)
    assert (made / "release.json").read_bytes() == before
