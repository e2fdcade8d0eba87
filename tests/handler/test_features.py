"""Statistics of pictures, and the reference that a release may hold."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from handler.features import (
    BURST,
    FEATURES,
    FIXED_EDGES,
    RATE,
    Thinning,
    bins_of,
    edges_of,
    measure,
    parse_reference,
    upright_size,
)
from handler.preprocess import InputSpec, Pixels, decode
from tests import zoo

SPEC = InputSpec(176)


def features(image: Image.Image) -> dict[str, float]:
    return measure(np.asarray(image), 400, 300)


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return Image.fromarray(decode(zoo.CAT.read_bytes(), SPEC))


def test_each_feature_is_what_it_says() -> None:
    pixels: Pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, 4:, 0] = 255
    seen = measure(pixels, 400, 300)
    assert seen["brightness"] == pytest.approx(0.5 * 0.299, abs=0.003)
    assert seen["contrast"] == pytest.approx(0.5 * 0.299, abs=0.003)
    assert seen["saturation"] == 0.5
    # Two of the six inner columns lie at the edge, and have one neighbour that is as they are.
    assert seen["sharpness"] == pytest.approx(0.299 / 6, abs=0.003)
    assert seen["aspect_ratio"] == pytest.approx(4 / 3)
    assert seen["megapixels"] == 0.12


def test_a_change_of_the_pictures_moves_its_feature(cat: Image.Image) -> None:
    plain = features(cat)
    assert features(ImageEnhance.Brightness(cat).enhance(0.5))["brightness"] < 0.6 * plain["brightness"]
    assert features(ImageEnhance.Contrast(cat).enhance(0.5))["contrast"] < 0.6 * plain["contrast"]
    assert features(ImageEnhance.Color(cat).enhance(0.5))["saturation"] < 0.6 * plain["saturation"]
    assert features(cat.filter(ImageFilter.GaussianBlur(2)))["sharpness"] < 0.5 * plain["sharpness"]


def test_the_size_is_that_of_the_picture_as_it_is_shown() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG", exif=exif)
    assert upright_size(file.getvalue()) == (30, 40)


def test_a_value_on_an_edge_belongs_to_the_bin_below() -> None:
    edges = {"brightness": (0.1, 0.2)}
    bins = [bins_of({"brightness": value}, edges)["brightness"] for value in (0.0, 0.1, 0.15, 0.2, 0.9)]
    assert bins == [0, 0, 1, 1, 2]


def test_every_feature_has_fixed_edges_that_grow() -> None:
    assert tuple(FIXED_EDGES) == FEATURES
    assert all(list(edges) == sorted(set(edges)) for edges in FIXED_EDGES.values())


def test_a_worker_measures_so_many_at_once_and_then_so_many_a_second() -> None:
    now = [0.0]
    thinning = Thinning(lambda: now[0])
    assert sum(thinning.takes() for _ in range(1000)) == BURST
    now[0] = 2.0
    assert sum(thinning.takes() for _ in range(1000)) == 2 * RATE


GOOD: dict[str, Any] = {
    "pictures": 100,
    "features": {"brightness": {"edges": [0.25, 0.5], "shares": [0.25, 0.5, 0.25]}},
    "classes": {"cat": 0.5, "dog": 0.5},
}


def test_the_releases_edges_come_before_the_fixed_ones() -> None:
    reference = parse_reference(json.loads(json.dumps(GOOD)), ["cat", "dog"])
    assert reference is not None
    edges = edges_of(reference)
    assert edges["brightness"] == (0.25, 0.5)
    assert edges["sharpness"] == FIXED_EDGES["sharpness"]
    assert parse_reference(None, ["cat", "dog"]) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pictures": 0}, "number of pictures"),
        ({"features": {"smell": {}}}, "may have brightness"),
        ({"features": {"brightness": {"edges": [0.5, 0.25], "shares": [0.25, 0.5, 0.25]}}}, "each above the last"),
        ({"features": {"brightness": {"edges": [0.5, float("nan")], "shares": [0.25, 0.5, 0.25]}}}, "numbers"),
        ({"features": {"brightness": {"edges": [0.5], "shares": [0.25, 0.5, 0.25]}}}, "one more than its edges"),
        ({"features": {"brightness": {"edges": [0.5], "shares": [0.5, 0.4]}}}, "add up to 1"),
        ({"classes": {"horse": 1.0}}, "each class"),
        ({"classes": {"cat": 0.2, "dog": 0.2}}, "add up to 1"),
    ],
)
def test_a_reference_that_is_wrong_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_reference({**GOOD, **change}, ["cat", "dog"])


def test_a_picture_that_cannot_be_measured_is_answered_all_the_same(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handler import counting
    from handler.catsdogs_handler import CatsDogsHandler
    from tests.handler.test_catsdogs_handler import REST, Context

    made = CatsDogsHandler()
    made.initialize(Context(unpacked, []))

    def fail(*arguments: object) -> None:
        raise ArithmeticError

    rows = [{"body": zoo.CAT.read_bytes()}]
    monkeypatch.setattr(counting, "measure", fail)
    assert json.loads(made.handle(rows, Context(unpacked, [REST]))[0])["label"] == "cat"
    monkeypatch.setattr(made.counting.counts, "count_prediction", fail)
    assert json.loads(made.handle(rows, Context(unpacked, [REST]))[0])["label"] == "cat"
    assert sum(made.counting.counts.bins["brightness"]) == 0
    assert made.counting.counts.predictions["user"] == {"cat": 1}
