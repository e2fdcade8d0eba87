"""The reference for drift: what the worker measures of the val split, without what the preparation settled."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handler.features import bins_of, edges_of, measure, parse_reference, upright_size
from handler.files import UserError
from handler.predictor import Predictor
from handler.preprocess import InputSpec, decode
from handler.release import read_release
from tests import zoo
from training.data.manifest import Manifest
from training.data.pictures import read_picture
from training.release import add_reference as adding
from training.release import reference as referencing
from training.release.package import package
from training.release.reference import SAMPLE, Measured, deciles, describe, measure_pictures, settled_features

SPEC = InputSpec(32)
CLASSES = ["cat", "dog"]


def drawn(count: int, size: tuple[int, int] | None = None) -> list[Measured]:
    """Return statistics of pictures of many sizes, or of one."""
    rng = np.random.default_rng(0)
    names = ("brightness", "contrast", "sharpness", "saturation", "aspect_ratio", "megapixels", "uncertainty")
    sizes = [size] * count if size else [(int(side), 400) for side in rng.integers(300, 900, count)]
    return [
        Measured(dict(zip(names, rng.random(7).tolist(), strict=True)), *sizes[index], CLASSES[index % 4 == 0])
        for index in range(count)
    ]


def test_each_bin_has_its_share_of_the_pictures() -> None:
    measured = drawn(500)
    reference = parse_reference(json.loads(json.dumps(describe(measured, SPEC, CLASSES))), CLASSES)
    assert reference is not None
    for name, edges in reference.edges.items():
        bins = [bins_of({name: picture.features[name]}, edges_of(reference))[name] for picture in measured]
        assert np.bincount(bins, minlength=len(edges) + 1) / 500 == pytest.approx(reference.shares[name], abs=1e-5)
        assert reference.shares[name] == pytest.approx([0.1] * 10, abs=0.01)
    assert reference.classes == {"cat": 0.75, "dog": 0.25}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1.0] * 90 + [2.0] * 10, (1.0,), id="nearly all alike"),
        pytest.param([1.0] * 50 + [2.0] * 30 + [3.0] * 20, (1.0, 2.0), id="three values"),
        pytest.param([1.0] * 100, (), id="all alike"),
    ],
)
def test_values_that_many_pictures_share_make_no_empty_bin(values: list[float], expected: tuple[float, ...]) -> None:
    assert deciles(values) == expected


def test_what_the_preparation_settled_is_left_out() -> None:
    assert settled_features(drawn(100), SPEC) == set()
    assert settled_features(drawn(100, (160, 160)), SPEC) == {"aspect_ratio", "megapixels"}
    assert settled_features(drawn(100, (160, 160)), InputSpec(176)) == {"aspect_ratio", "megapixels", "sharpness"}
    assert settled_features(drawn(100), InputSpec(500)) == {"sharpness"}


def test_a_picture_is_measured_as_the_worker_does() -> None:
    data = zoo.CAT.read_bytes()
    logits = np.array([[2.0, 0.0]], dtype=np.float32)
    (measured,) = measure_pictures([data, b"no picture"], SPEC, lambda pixels: logits[: len(pixels)], CLASSES)
    expected = measure(decode(data, SPEC), *upright_size(data))
    assert measured.features == expected | {"uncertainty": pytest.approx(1 / (1 + np.exp(2)))}
    assert measured.label == "cat"


@pytest.fixture
def copy(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release, and a few pictures that are enough for a reference."""
    for module in (referencing, adding):
        monkeypatch.setattr(module, "LEAST_PICTURES", 5)
    return shutil.copytree(release, tmp_path / "catsdogs")


def test_a_reference_is_added_to_a_release(
    copy: Path, data: Path, manifest: Manifest, invoke: Callable[..., str]
) -> None:
    before = json.loads((copy / "release.json").read_bytes())
    assert before["reference"] is None
    printed = invoke("reference", "--release", copy, "--data", data)
    after, facts = json.loads((copy / "release.json").read_bytes()), read_release(copy)
    assert facts.reference is not None
    assert facts.reference.pictures == len(manifest.split("val"))
    assert "left out" in printed
    assert {name for name in after if after[name] != before[name]} == {"files", "reference"}
    Predictor(copy, "ort")
    answers = Predictor(copy, "ort").answers(
        np.stack([decode(read_picture(manifest.root, picture), facts.input) for picture in manifest.split("val")])
    )
    cats = np.mean([answer["label"] == "cat" for answer in answers])
    assert facts.reference.classes["cat"] == pytest.approx(cats, abs=1e-5)


def test_the_archive_has_the_reference_and_its_sample(copy: Path, data: Path, invoke: Callable[..., str]) -> None:
    invoke("reference", "--release", copy, "--data", data)
    package(copy, copy.with_suffix(".mar"), "ort")
    with zipfile.ZipFile(copy.with_suffix(".mar")) as archive:
        assert json.loads(archive.read("release.json"))["reference"]["pictures"] >= 5
        rows = list(csv.DictReader(io.StringIO(archive.read(SAMPLE).decode())))
    assert {row["label"] for row in rows} <= set(CLASSES)
    assert all(0 <= float(row["brightness"]) <= 1 for row in rows)


def test_users_own_pictures_may_be_the_reference(copy: Path, pictures: Path, invoke: Callable[..., str]) -> None:
    invoke("reference", "--release", copy, "--pictures", pictures / "photos")
    reference = read_release(copy).reference
    assert reference is not None
    assert reference.pictures == 6
    assert "sharpness" in reference.edges  # larger than the network's input


def test_another_manifest_than_the_trainings_is_refused(copy: Path, manifest: Manifest) -> None:
    other = Manifest(manifest.root, manifest.pictures, "0" * 64)
    with pytest.raises(UserError, match="trained on another manifest"):
        adding.add_reference(copy, other)


def test_too_few_pictures_are_refused(release: Path, manifest: Manifest) -> None:
    with pytest.raises(UserError, match="at least 200 pictures"):
        adding.add_reference(release, manifest)
