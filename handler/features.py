"""Statistics of pictures, by which drift is noticed: measured on the network's input, and counted by reference bins.

A release may hold the reference under the key `reference` of its release.json:

    {"pictures": 3984,
     "features": {"brightness": {"edges": [0.31, 0.36], "shares": [0.3, 0.4, 0.3]}},
     "classes": {"cat": 0.5, "dog": 0.5},
     "components": {"file": "components.npy", "tensor": "mean"}}

Bin i holds values above edge i-1 and up to edge i, so there is one bin more than edges; `shares` is each bin's share of
the reference pictures, and `classes` each class's share of their predictions. `components`, which may be missing, is
for records alone (handler/components.py). The reference must be measured by `measure` on the same pixels.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from handler.components import parse_tensor
from handler.image_facts import facts_of
from handler.open_image import open_image
from handler.preprocess import Pixels

# Where a release has no reference: deciles of 1,200 training pictures, and usual forms and sizes of photos.
FIXED_EDGES: dict[str, tuple[float, ...]] = {
    "brightness": (0.327, 0.374, 0.409, 0.438, 0.459, 0.486, 0.517, 0.553, 0.613),
    "contrast": (0.152, 0.17, 0.187, 0.201, 0.214, 0.225, 0.241, 0.258, 0.282),
    "sharpness": (0.007, 0.0084, 0.0099, 0.011, 0.0124, 0.014, 0.0158, 0.0188, 0.0234),
    "saturation": (0.0443, 0.0603, 0.0731, 0.0854, 0.0969, 0.112, 0.132, 0.16, 0.199),
    "aspect_ratio": (0.5, 0.66, 0.74, 0.8, 0.99, 1.01, 1.3, 1.4, 1.6),
    "megapixels": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
    "uncertainty": (0.000521, 0.000948, 0.00166, 0.00251, 0.00372, 0.00522, 0.00756, 0.0126, 0.0267),
}
FEATURES = ("brightness", "contrast", "sharpness", "saturation", "aspect_ratio", "megapixels", "uncertainty")
MAX_EDGES = 49
# EXIF's orientations that exchange width and height.
SIDEWAYS = (5, 6, 7, 8)
# A worker measures at most so many pictures a second, and so many at once: on a GPU each would cost more than its share
# of the network.
RATE, BURST = 5.0, 100.0


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference distribution of a release."""

    pictures: int
    edges: Mapping[str, tuple[float, ...]]
    shares: Mapping[str, tuple[float, ...]]
    classes: Mapping[str, float]
    tensor: str | None = None
    """Name of the network's tensor whose principal components the release has."""


def measure(pixels: Pixels, width: int, height: int) -> dict[str, float]:
    """Return the features of one picture, but for its uncertainty. Every second row is looked at, which costs half.

    Args:
        pixels: uint8 (size, size, 3), the network's input.
        width: of the picture as it was sent, upright.

    Returns:
        brightness: mean of the luma, 0 to 1.
        contrast: standard deviation of the luma.
        sharpness: mean absolute difference between a pixel's luma and the mean of its two neighbours in the row.
        saturation: mean difference between a pixel's largest and smallest channel, 0 to 1.
        aspect_ratio: width divided by height.
        megapixels: millions of pixels as sent.
    """
    red, green, blue = (np.ascontiguousarray(pixels[::2, :, channel]) for channel in range(3))
    luma = red * np.uint16(77)
    luma += green * np.uint16(150)
    luma += blue * np.uint16(29)
    luma >>= 8
    row = luma.view(np.int16)
    bend = row[:, 1:-1] * np.int16(2)
    bend -= row[:, :-2]
    bend -= row[:, 2:]
    np.abs(bend, out=bend)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    values = luma.astype(np.float32).ravel()
    mean = float(values.mean())
    values -= mean
    return {
        "brightness": mean / 255,
        "contrast": math.sqrt(float(values @ values) / values.size) / 255,
        "sharpness": float(bend.sum(dtype=np.int64)) / bend.size / 2 / 255,
        "saturation": float(spread.sum(dtype=np.int64)) / spread.size / 255,
        "aspect_ratio": width / height,
        "megapixels": width * height / 1e6,
    }


def upright_size(data: bytes) -> tuple[int, int]:
    """Return width and height of an encoded picture as it is shown.

    Raises:
        Problem: as `open_image`.
    """
    image = open_image(data)
    return image.size[::-1] if facts_of(image).turn in SIDEWAYS else image.size


def bins_of(features: Mapping[str, float], edges: Mapping[str, tuple[float, ...]]) -> dict[str, int]:
    """Return the number of the bin that each feature of a picture is in."""
    return {name: bisect_left(edges[name], value) for name, value in features.items()}


def edges_of(reference: Reference | None) -> dict[str, tuple[float, ...]]:
    """Return the edges of every feature: the reference's, and fixed ones where it has none."""
    return {**FIXED_EDGES, **(reference.edges if reference else {})}


class Thinning:
    """Bounds how many pictures a second are taken."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, rate: float = RATE, burst: float = BURST) -> None:
        self.clock = clock
        self.rate, self.burst = rate, burst
        self.left = burst
        self.last = clock()

    def takes(self) -> bool:
        """Whether the next picture is taken."""
        now = self.clock()
        self.left, self.last = min(self.burst, self.left + (now - self.last) * self.rate), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def parse_reference(value: Any, classes: list[str]) -> Reference | None:
    """Parse `reference` of a release.json, which may be missing.

    Raises:
        ValueError: one sentence says what is wrong.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or type(value.get("pictures")) is not int or value["pictures"] < 1:
        raise ValueError("reference must be an object with its number of pictures.")
    features, by_class = value.get("features"), value.get("classes", {})
    if not isinstance(features, dict) or not features.keys() <= set(FEATURES):
        raise ValueError(f"reference.features may have {', '.join(FEATURES)}.")
    if (
        not isinstance(by_class, dict)
        or not by_class.keys() <= set(classes)
        or not _are_shares(list(by_class.values()))
    ):
        raise ValueError("reference.classes must give the share of each class, and the shares must add up to 1.")
    edges, shares = {}, {}
    for name, feature in features.items():
        if not isinstance(feature, dict) or not _are_edges(feature.get("edges")):
            raise ValueError(f"reference.features.{name}.edges must be 1 to {MAX_EDGES} numbers, each above the last.")
        edges[name] = tuple(float(edge) for edge in feature["edges"])
        if not _are_shares(feature.get("shares")) or len(feature["shares"]) != len(edges[name]) + 1:
            raise ValueError(f"reference.features.{name}.shares must be one more than its edges, and add up to 1.")
        shares[name] = tuple(float(share) for share in feature["shares"])
    by_name = {name: float(share) for name, share in by_class.items()}
    return Reference(value["pictures"], edges, shares, by_name, parse_tensor(value.get("components")))


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) in (int, float) and math.isfinite(item) for item in value)


def _are_edges(value: Any) -> bool:
    return _are_numbers(value) and 1 <= len(value) <= MAX_EDGES and all(low < high for low, high in pairwise(value))


def _are_shares(value: Any) -> bool:
    return _are_numbers(value) and (not value or (min(value) >= 0 and abs(sum(value) - 1) < 1e-3))
