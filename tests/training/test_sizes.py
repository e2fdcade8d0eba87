"""`catsdogs sizes`: accuracy and time of a release at several input sizes, in each precision."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from handler.files import UserError
from handler.preprocess import InputSpec, decode
from handler.release import read_release
from handler.runtimes.onnx_files import FP32_FILE
from tests.zoo import ROOT
from training.data.even import evenly
from training.data.manifest import Manifest
from training.data.pictures import read_picture
from training.evaluation.card import model_card
from training.release.add_sizes import add_sizes, at_size
from training.release.network_file import read_network

RELEASE = ROOT / "model-store" / "catsdogs"
LIMIT = 6


@pytest.fixture
def known(tmp_path: Path, manifest: Manifest) -> Path:
    """A copy of the shipped release, as if it had been trained on this manifest."""
    release = Path(shutil.copytree(RELEASE, tmp_path / "release"))
    values = json.loads((release / "release.json").read_bytes()) | {"manifest_sha256": manifest.sha256}
    (release / "release.json").write_text(json.dumps(values))
    return release


def right_by_onnx_runtime(release: Path, manifest: Manifest, size: int) -> int:
    """Return how many of LIMIT val pictures the released weights are right on at a size."""
    facts = read_release(release)
    session = onnxruntime.InferenceSession(at_size(read_network(release, facts), size))
    pictures = evenly(manifest.split("val"), LIMIT)
    pixels = np.stack([decode(read_picture(manifest.root, p), InputSpec(size, facts.input.resize)) for p in pictures])
    (logits,) = session.run(None, {"image": pixels})
    labels = [facts.classes.index(picture.label) for picture in pictures]
    return int((logits.argmax(axis=1) == labels).sum())


def test_each_precision_is_measured_at_each_size_and_told_in_the_card(
    known: Path, manifest: Manifest, tmp_path: Path
) -> None:
    before = json.loads((known / "release.json").read_bytes())
    done: list[tuple[int, int]] = []
    measured = add_sizes(
        known, manifest, [64, 32, 64], LIMIT, tmp_path / "made" / "sizes.png", lambda *steps: done.append(steps)
    )
    after = json.loads((known / "release.json").read_bytes())
    assert after == before | {"sizes": measured}
    assert (known / "MODEL_CARD.md").read_text() == model_card(after)
    assert (tmp_path / "made" / "sizes.png").read_bytes().startswith(b"\x89PNG")
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for precision in ("fp32", "int8"):
        rows = measured["precisions"][precision]["sizes"]
        assert [row["size"] for row in rows] == [32, 64]
        assert all(row["accuracy"]["count"] == LIMIT for row in rows)
        assert rows[0]["milliseconds"] < rows[1]["milliseconds"]
        assert f"| {precision} | " in (known / "MODEL_CARD.md").read_text().partition("by precision")[2]
    fp32 = measured["precisions"]["fp32"]["sizes"]
    assert [row["accuracy"]["right"] for row in fp32] == [
        right_by_onnx_runtime(known, manifest, size) for size in (32, 64)
    ]


def test_the_networks_of_the_release_stay_as_they_are(known: Path, manifest: Manifest) -> None:
    before = {path.name: path.read_bytes() for path in known.iterdir() if path.suffix != ".md"}
    del before["release.json"]
    add_sizes(known, manifest, [32], 2)
    assert {name: (known / name).read_bytes() for name in before} == before
    assert (known / FP32_FILE).exists()


def test_a_release_of_another_manifest_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    release = Path(shutil.copytree(RELEASE, tmp_path / "release"))
    with pytest.raises(UserError, match="was trained on another manifest"):
        add_sizes(release, manifest, [32])


def test_the_verb_prints_a_table_of_each_precision(known: Path, data: Path, invoke: Callable[..., str]) -> None:
    values = json.loads((known / "release.json").read_bytes())
    printed = invoke("sizes", "--release", known, "--data", data, "--sizes", "32,48", "--limit", "2")
    assert values["precision"] == "int8"
    for precision in ("fp32", "int8"):
        assert f"{precision}, val split" in printed
        assert f"{precision}: " in printed
    assert f"next: catsdogs package {known}" in printed


def test_the_card_of_the_shipped_release_has_the_sizes_of_both_precisions() -> None:
    values = json.loads((RELEASE / "release.json").read_bytes())
    assert set(values["sizes"]["precisions"]) == {"fp32", "int8"}
    assert (RELEASE / "MODEL_CARD.md").read_text() == model_card(values)
