"""The reference for drift: what the worker measures of the val split, without what the preparation settled."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from handler.components import FILE, read_components
from handler.features import bins_of, edges_of, measure, parse_reference, upright_size
from handler.files import UserError, sha256_file
from handler.predictor import Predictor
from handler.preprocess import InputSpec, decode
from handler.release import read_release
from tests import zoo
from training.data.manifest import Manifest
from training.data.pictures import read_picture
from training.release import add_reference as adding
from training.release import reference as referencing
from training.release.inner_features import COMPONENTS, InnerFeatures, last_input, principal_components
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


def test_the_components_are_those_of_the_val_pictures_and_the_archive_has_them(
    copy: Path, data: Path, manifest: Manifest, invoke: Callable[..., str]
) -> None:
    invoke("reference", "--release", copy, "--data", data)
    facts = read_release(copy)
    assert facts.reference is not None
    assert facts.reference.tensor == "mean"
    assert facts.files[FILE] == sha256_file(copy / FILE)
    components = read_components(copy / FILE)
    network = InnerFeatures(copy / "model.onnx", "mean")
    for picture in manifest.split("val"):
        network.logits(decode(read_picture(manifest.root, picture), facts.input)[None])
    centred = network.collected() - network.collected().mean(axis=0)
    assert components.axes @ components.axes.T == pytest.approx(np.eye(COMPONENTS), abs=1e-4)
    # The variance along the axes is that of the largest singular values.
    singular = np.linalg.svd(centred, compute_uv=False)[:COMPONENTS]
    assert np.linalg.norm(centred @ components.axes.T, axis=0) == pytest.approx(singular, rel=1e-2)
    rows = list(csv.DictReader(io.StringIO((copy / SAMPLE).read_text())))
    first = components.project(network.collected())[0]
    assert {name: float(rows[0][name]) for name in components.names} == pytest.approx(first, abs=1e-3)
    package(copy, copy.with_suffix(".mar"), "ort")
    with zipfile.ZipFile(copy.with_suffix(".mar")) as archive:
        assert archive.read(FILE) == (copy / FILE).read_bytes()


def test_the_same_pictures_make_the_same_files(copy: Path, data: Path, invoke: Callable[..., str]) -> None:
    made = []
    for _ in range(2):
        invoke("reference", "--release", copy, "--data", data)
        made.append([(copy / name).read_bytes() for name in (FILE, SAMPLE, "release.json")])
    assert made[0] == made[1]


def test_a_network_without_a_linear_layer_at_its_end_has_no_components(
    copy: Path, data: Path, invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("reference", "--release", copy, "--data", data)
    monkeypatch.setattr(referencing, "find_inner", lambda network: None)
    invoke("reference", "--release", copy, "--data", data)
    values = json.loads((copy / "release.json").read_bytes())
    assert "components" not in values["reference"]
    assert FILE not in values["files"]
    assert not (copy / FILE).exists()
    assert "component_1" not in (copy / SAMPLE).read_text()


def node(kind: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return onnx.helper.make_node(kind, inputs, [output])


@pytest.mark.parametrize(
    ("nodes", "tensor"),
    [
        ([node("Relu", ["image"], "x"), node("Gemm", ["x", "w", "b"], "logits")], "x"),
        ([node("Relu", ["image"], "x"), node("MatMul", ["x", "w"], "logits")], "x"),
        ([node("Relu", ["image"], "x"), node("MatMul", ["x", "w"], "y"), node("Add", ["b", "y"], "logits")], "x"),
        ([node("Relu", ["image"], "logits")], None),
        ([node("Gemm", ["image", "w", "b"], "logits")], None),
        ([node("Relu", ["image"], "x"), node("Add", ["x", "b"], "logits")], None),
    ],
)
def test_the_tensor_is_what_the_layer_takes_that_makes_the_logits(nodes: list[onnx.NodeProto], tensor: str) -> None:
    assert last_input(onnx.GraphProto(node=nodes)) == tensor


def test_an_axis_points_where_its_largest_entry_is_positive() -> None:
    inner = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32)
    for axes in (principal_components(inner).axes, principal_components(inner[::-1]).axes):
        assert (axes[np.arange(COMPONENTS), np.abs(axes).argmax(axis=1)] > 0).all()


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
