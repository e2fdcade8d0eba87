"""Robustness of a release: figures of each condition with intervals, and the card's table of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handler.files import UserError
from handler.preprocess import InputSpec, Pixels
from tests.zoo import ROOT
from training.data.manifest import Manifest
from training.evaluation.card import model_card
from training.evaluation.conditions import AS_IT_IS, CONDITIONS
from training.evaluation.robustness import ece_interval, figures, measure_robustness
from training.evaluation.robustness_section import judged, robustness_section, verdict
from training.release.add_robustness import add_robustness

RELEASE = ROOT / "model-store" / "catsdogs"


def bright_is_dog(pixels: Pixels) -> np.ndarray:
    """Logits of a network that calls bright pictures dogs, (n, 2)."""
    mean = pixels.reshape(len(pixels), -1).mean(axis=1, dtype=np.float32)
    return np.stack([np.zeros_like(mean), (mean - 110) / 10], axis=1)


def test_the_interval_holds_the_error_of_a_network_that_is_too_sure() -> None:
    random = np.random.default_rng(0)
    right = random.uniform(size=2000) < 0.8
    low, high = ece_interval(np.full(2000, 0.95), right)
    assert low < 0.15 < high
    assert high - low < 0.05
    assert ece_interval(np.full(2000, 0.95), right) == (low, high), "the same in each run"
    narrow, wide = ece_interval(np.full(200, 0.95), right[:200])
    assert wide - narrow > 2 * (high - low), "fewer pictures say less"


def test_the_figures_have_the_error_and_the_mean_probability() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    row = figures(labels, probabilities)
    assert (row["right"], row["count"], row["share"]) == (3, 4, 0.75)
    assert row["probability"] == pytest.approx(0.9)
    assert row["ece"] == pytest.approx(0.15)
    assert row["ece_low"] <= row["ece"] <= row["ece_high"]


def test_each_condition_is_measured_in_each_precision(manifest: Manifest) -> None:
    done: list[tuple[int, int]] = []
    networks = {"fp32": bright_is_dog, "int8": lambda pixels: -bright_is_dog(pixels)}
    spec = InputSpec(32)
    measured = measure_robustness(
        networks, manifest, spec, manifest.classes, progress=lambda *steps: done.append(steps)
    )
    count = len(manifest.split("test"))
    for precision in networks:
        for conditions in measured["precisions"][precision].values():
            assert list(conditions) == list(CONDITIONS)
    sources = measured["precisions"]["fp32"]
    assert sum(conditions[AS_IT_IS]["count"] for conditions in sources.values()) == count
    for source, conditions in sources.items():
        for name, row in conditions.items():
            other = measured["precisions"]["int8"][source][name]
            assert row["right"] + other["right"] == row["count"], "the other network says the opposite"
    assert done[-1] == (len(CONDITIONS) * count, len(CONDITIONS) * count)
    assert measured == measure_robustness(networks, manifest, spec, manifest.classes), "the same in each run"
    one = measure_robustness(networks, manifest, spec, manifest.classes, limit=1)
    assert {row["count"] for row in next(iter(one["precisions"]["fp32"].values())).values()} == {1}


def test_a_manifest_without_test_pictures_is_refused(manifest: Manifest) -> None:
    trained = Manifest(manifest.root, manifest.split("train"), manifest.sha256)
    with pytest.raises(UserError, match="The test split has no pictures"):
        measure_robustness({"fp32": bright_is_dog}, trained, InputSpec(32), trained.classes)


def test_a_condition_above_the_limit_is_named_in_the_card() -> None:
    good = figures(np.zeros(400, dtype=np.int64), np.tile([0.99, 0.01], (400, 1)))
    poor = figures(np.arange(400) % 2, np.tile([0.99, 0.01], (400, 1)))
    robustness = {
        "trusted_ece": 0.03,
        "limit": 400,
        "conditions": {"dark": "0.35 of the brightness", "noisy": "noise"},
        "precisions": {"fp32": {"photos": {"dark": good, "noisy": poor}}},
    }
    assert judged(robustness) == {"dark": "yes", "noisy": "no"}
    section = robustness_section(robustness)
    assert "on pictures that are: noisy. Shown to be within the limit: dark." in section
    assert "dark: 0.35 of the brightness; noisy: noise. At most 400 pictures of each source" in section
    (dark,) = (line for line in section.splitlines() if line.startswith("| photos | fp32 | dark |"))
    (noisy,) = (line for line in section.splitlines() if line.startswith("| photos | fp32 | noisy |"))
    assert dark.endswith("| yes |")
    assert noisy.endswith("| **no** |")
    assert robustness_section({}) == ""


def test_what_the_interval_does_not_show_is_not_claimed() -> None:
    assert verdict({"ece_low": 0.031, "ece_high": 0.05, "count": 100}, 0.03) == "no"
    assert verdict({"ece_low": 0.01, "ece_high": 0.03, "count": 100}, 0.03) == "yes"
    few = {"ece_low": 0.0, "ece_high": 0.01, "count": 99}
    assert verdict(few, 0.03) == "not shown", "few pictures without a mistake show nothing"
    assert verdict({"ece_low": 0.02, "ece_high": 0.04, "count": 100}, 0.03) == "not shown"
    unclear = {"dark": {"ece_low": 0.02, "ece_high": 0.04, "count": 100}}
    wrong = {"dark": {"ece_low": 0.1, "ece_high": 0.2, "count": 100}}
    precisions = {"fp32": {"photos": wrong}, "int8": {"photos": unclear}}
    assert judged({"trusted_ece": 0.03, "precisions": precisions}) == {"dark": "no"}, "the worst of them counts"


def test_it_is_written_into_the_release_and_its_card(tmp_path: Path, manifest: Manifest) -> None:
    release = Path(shutil.copytree(RELEASE, tmp_path / "release"))
    with pytest.raises(UserError, match="was trained on another manifest"):
        add_robustness(release, manifest)
    values = json.loads((release / "release.json").read_bytes()) | {"manifest_sha256": manifest.sha256}
    (release / "release.json").write_text(json.dumps(values))
    measured = add_robustness(release, manifest, limit=2)
    after = json.loads((release / "release.json").read_bytes())
    assert after == values | {"robustness": measured}
    assert set(measured["precisions"]) == {"fp32", "int8"}
    assert (release / "MODEL_CARD.md").read_text() == model_card(after)


def test_it_needs_no_torch() -> None:
    code = "import sys, training.release.add_robustness; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_shipped_release_says_where_it_is_not_to_be_trusted() -> None:
    values = json.loads((RELEASE / "release.json").read_bytes())
    assert set(values["robustness"]["conditions"]) == set(CONDITIONS)
    assert robustness_section(values["robustness"]) in (RELEASE / "MODEL_CARD.md").read_text()
