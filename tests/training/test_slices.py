import numpy as np
import pytest

from training.evaluation import slices

NAMES = ("low", "middle", "high")


def test_brightness_is_the_mean_luma() -> None:
    pixels = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    for index in range(3):
        pixels[index, ..., index] = 255
    pixels[3] = 100
    assert slices.brightness(pixels) == pytest.approx([0.299 * 255, 0.587 * 255, 0.114 * 255, 100], abs=1e-3)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    pixels = np.zeros((3, 5, 5, 3), dtype=np.uint8)
    pixels[0] = 90  # flat
    pixels[1] = (10 * np.arange(5))[None, :, None]  # an even slope has no second difference
    pixels[2, 2, 2] = 10  # a point: -40 there, 10 at its four neighbours, 0 in four corners of the inner 3 x 3
    # Mean 0, so the variance is (40² + 4 * 10²) / 9.
    assert slices.sharpness(pixels) == pytest.approx([0, 0, 2000 / 9], abs=1e-3)


def test_thirds_are_of_equal_count_and_say_their_bounds() -> None:
    values = np.array([9.0, 1, 5, 2, 8, 3, 7, 4, 6])
    right = np.array([True, True, False, True, True, False, False, True, True])
    low, middle, high = slices.thirds(values, right, NAMES)
    assert [(row["name"], row["count"]) for row in (low, middle, high)] == [("low", 3), ("middle", 3), ("high", 3)]
    assert [(row["above"], row["up_to"]) for row in (low, middle, high)] == [(None, 3), (3, 6), (6, None)]
    # Right are 1, 2 of (1, 2, 3); 4, 6 of (4, 5, 6); 8, 9 of (7, 8, 9).
    assert [row["right"] for row in (low, middle, high)] == [2, 2, 2]
    assert all(row["low"] < row["share"] < row["high"] for row in (low, middle, high))


def test_pictures_of_one_size_are_one_slice() -> None:
    (row,) = slices.thirds(np.full(7, 160.0), np.ones(7, dtype=np.bool_), NAMES)
    assert (row["name"], row["count"], row["right"]) == ("all", 7, 7)


def test_equal_values_stay_together() -> None:
    values = np.array([160.0] * 8 + [500.0] * 2)
    rows = slices.thirds(values, np.ones(10, dtype=np.bool_), NAMES)
    assert [(row["name"], row["count"], row["up_to"]) for row in rows] == [("low", 8, 160), ("high", 2, None)]


def test_each_trait_has_its_unit_and_every_picture_once() -> None:
    rng = np.random.default_rng(0)
    sliced = slices.by_slice({name: rng.random(50) for name in slices.TRAITS}, rng.random(50) < 0.5)
    assert list(sliced) == ["size", "brightness", "sharpness"]
    for trait in sliced.values():
        assert trait["unit"]
        assert sum(row["count"] for row in trait["slices"]) == 50
