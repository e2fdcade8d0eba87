"""Pictures apart by what they look like: size, brightness, sharpness, each in thirds with its own interval."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.preprocess import Pixels
from training.evaluation.metrics import Bools, Floats, proportion

# Trait: what it is measured in, and the names of its thirds.
TRAITS = {
    "size": ("pixels of the original's shorter side", ("small", "medium", "large")),
    "brightness": ("mean luma of the network's input, 0 to 255", ("dark", "medium", "bright")),
    "sharpness": ("variance of the Laplacian of the network's input", ("blurred", "medium", "sharp")),
}


def luma(pixels: Pixels) -> npt.NDArray[np.float32]:
    """uint8 (n, size, size, 3) -> (n, size, size), 0 to 255, by ITU-R BT.601."""
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def brightness(pixels: Pixels) -> Floats:
    """Mean luma of each picture, 0 to 255, shape (n,)."""
    return np.asarray(luma(pixels).mean(axis=(1, 2), dtype=np.float64))


def sharpness(pixels: Pixels) -> Floats:
    """Variance of the Laplacian of each picture's luma, shape (n,) (Pech-Pacheco et al., ICPR 2000).

    The kernel is that of four neighbours; the outermost pixels, which lack some, are left out. Sizes are not to be
    compared: a picture scaled down is sharper.
    """
    y = luma(pixels)
    laplacian = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:] - 4 * y[:, 1:-1, 1:-1]
    return np.asarray(laplacian.var(axis=(1, 2), dtype=np.float64))


def thirds(values: Floats, right: Bools, names: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Accuracy in each third of `values`, whose bounds are `above` (exclusive) and `up_to` (inclusive).

    Equal values stay together, so a third can be empty and is then left out; where all are equal there is one slice.

    Args:
        values: (n,), n >= 1.
        right: (n,), whether the verdict was.
    """
    # Of the values themselves, so that equal ones cannot fall on two sides of a bound.
    bounds = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    index = np.searchsorted(bounds, values, side="left")
    edges = [None, *(float(bound) for bound in bounds), None]
    occupied = np.unique(index)
    return [
        {
            "name": names[number] if len(occupied) > 1 else "all",
            "above": edges[number],
            "up_to": edges[number + 1],
            **asdict(proportion(int(right[index == number].sum()), int((index == number).sum()))),
        }
        for number in occupied
    ]


def by_slice(traits: dict[str, Floats], right: Bools) -> dict[str, Any]:
    """Return the unit and the slices of each trait of TRAITS.

    Args:
        traits: (n,) by name.
        right: (n,), whether the verdict was.
    """
    return {
        name: {"unit": unit, "slices": thirds(traits[name], right, names)} for name, (unit, names) in TRAITS.items()
    }
