import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from handler.files import UserError
from handler.predictor import Predictor, softmax
from handler.release import golden_pixels
from tests import zoo
from tests.runtimes import CHOICES, INT8_CHOICES


@pytest.fixture
def copy(unpacked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unpacked, tmp_path / "copy"))


def change_release(folder: Path, **values: object) -> None:
    path = folder / "release.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_it_tells_most_of_the_sample_cats_from_the_sample_dogs(unpacked: Path) -> None:
    predictor = Predictor(unpacked)
    paths = sorted(zoo.SAMPLES.glob("*/*.jpg"))
    answers = predictor.answers(np.stack([predictor.decode(path.read_bytes()) for path in paths]))
    right = sum(answer["label"] == path.parent.name for answer, path in zip(answers, paths, strict=True))
    # A coin gets there twice in a thousand times.
    assert right >= 14, f"{right} of {len(paths)}"


def test_an_answer_has_the_designs_shape(unpacked: Path) -> None:
    predictor = Predictor(unpacked)
    (answer,) = predictor.answers(predictor.decode(zoo.CAT.read_bytes())[None])
    assert list(answer) == ["label", "probability", "probabilities", "model"]
    assert answer["probabilities"][answer["label"]] == answer["probability"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=2e-6)
    assert answer["model"] == {
        "name": "catsdogs",
        "version": predictor.release.version,
        "precision": predictor.precision,
        "sha256": json.loads((unpacked / "release.json").read_text())["files"]["model.safetensors"],
    }


@pytest.mark.parametrize(("runtime", "precision"), CHOICES)
def test_a_pictures_answer_does_not_depend_on_its_neighbours(unpacked: Path, runtime: str, precision: str) -> None:
    predictor = Predictor(unpacked, runtime, precision)
    cat, dog = (predictor.decode(path.read_bytes()) for path in (zoo.CAT, zoo.DOG))
    alone = predictor.network.logits(cat[None])[0]
    for count in range(1, 9):
        together = predictor.network.logits(np.stack([cat, *[dog] * (count - 1)]))
        assert np.abs(together[0] - alone).max() < 0.01


@pytest.mark.parametrize("name", ["model.mnn", "model.onnx", "model.int8.onnx"])
def test_a_changed_model_file_is_refused(copy: Path, name: str) -> None:
    with (copy / name).open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(UserError, match="corrupted"):
        Predictor(copy)


def test_a_model_that_answers_otherwise_than_its_release_is_refused(copy: Path) -> None:
    change_release(copy, golden_logits=[[3.0, -3.0]] * 4)
    with pytest.raises(UserError, match="answers wrongly"):
        Predictor(copy, precision="fp32")


@pytest.mark.parametrize(("runtime", "precision"), INT8_CHOICES)
def test_int8_is_held_against_its_own_golden_answers(copy: Path, runtime: str, precision: str) -> None:
    facts = json.loads((copy / "release.json").read_bytes())["precisions"]
    facts[precision]["golden_logits"][0].reverse()
    change_release(copy, precisions=facts)
    assert Predictor(copy, precision="fp32").precision == "fp32"
    with pytest.raises(UserError, match="answers wrongly"):
        Predictor(copy, runtime, precision)


def test_a_folder_without_a_model_file_is_refused(copy: Path) -> None:
    (copy / "model.mnn").unlink()
    (copy / "model.onnx").unlink()
    (copy / "model.int8.onnx").unlink()
    with pytest.raises(UserError, match="Nothing can run"):
        Predictor(copy)


def test_golden_pixels_are_the_same_for_ever() -> None:
    pixels = golden_pixels(128)
    assert pixels.shape == (4, 128, 128, 3)
    assert [int(picture.sum(dtype=np.int64)) for picture in pixels] == [7116416, 4384226, 6261248, 4422840]


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1000, 0], [0, 0]], dtype=np.float32)).tolist() == [[1, 0], [0.5, 0.5]]


@pytest.mark.parametrize(("by_size", "sizes"), [(True, [1, 2, 3, 4]), (False, [4])])
def test_it_is_warmed_up_by_each_size_only_where_that_makes_a_difference(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch, by_size: bool, sizes: list[int]
) -> None:
    predictor, seen = Predictor(unpacked), list[int]()
    monkeypatch.setattr(predictor, "runtime", dataclasses.replace(predictor.runtime, chooses_by_size=by_size))
    monkeypatch.setattr(predictor.network, "logits", lambda pixels: seen.append(len(pixels)))
    predictor.warm_up(4)
    assert seen == sizes
