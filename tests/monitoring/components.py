"""Worth of the network's inner features for `catsdogs drift`, and why the release has four components:

    .venv-train/bin/python -m tests.monitoring.components DATA PHOTOS ANIMALS

DATA is the folder of the shipped release's manifest. Photographs, the same enlarged five times, and mixtures with a
fifth of other animals are compared with random val pictures and, half by half, with photographs themselves.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from common.psi import psi
from handler.components import Inner
from monitoring.drift.judgement import ALPHA
from monitoring.drift.two_samples import Floats, compare
from tests.monitoring.delays import upscaled
from tests.monitoring.measuring import CLASSES, SPEC
from tests.monitoring.replay import RELEASE
from tests.zoo import encode
from training.data import manifest
from training.data.even import evenly
from training.data.pictures import read_picture
from training.release.inner_features import InnerFeatures, principal_components
from training.release.reference import SAMPLE_PICTURES, Measured, measure_pictures

NAMES = ["brightness", "contrast", "saturation", "uncertainty"]
COUNTS, MOST, DRAWS, HALF, OTHERS = (0, 2, 4, 8), 8, 20, 250, 50


class Pictures:
    """Measured pictures, with the inner features of each."""

    def __init__(self, measured: Sequence[Measured], inner: Inner) -> None:
        self.measured, self.inner = list(measured), inner

    def __getitem__(self, chosen: Sequence[int]) -> "Pictures":
        return Pictures([self.measured[index] for index in chosen], self.inner[chosen])

    def __add__(self, other: "Pictures") -> "Pictures":
        return Pictures([*self.measured, *other.measured], np.vstack([self.inner, other.inner]))

    def drawn(self, rng: np.random.Generator, count: int) -> "Pictures":
        return self[rng.permutation(len(self.measured))[:count].tolist()]


def look(pictures: Sequence[bytes]) -> Pictures:
    network = InnerFeatures(RELEASE / "model.onnx", "mean")
    measured = measure_pictures(pictures, SPEC, network.logits, CLASSES)
    return Pictures(measured, network.collected())


def differs(reference: Pictures, basis: Pictures, records: Pictures, count: int) -> bool:
    """Return whether `catsdogs drift` sees drift, with so many components over the pictures of `basis`."""
    components = principal_components(basis.inner, count) if count else None
    tables = []
    for pictures in (reference, records):
        plain = np.array([[each.features[name] for name in NAMES] for each in pictures.measured])
        inner = (pictures.inner - components.mean) @ components.axes.T if components else plain[:, :0]
        tables.append(np.hstack([plain, inner]))
    names = [*NAMES, *(components.names if components else [])]
    labels = [each.label for each in reference.measured], [each.label for each in records.measured]
    return any(each.adjusted <= ALPHA for each in compare(tables[0], tables[1], labels, names).values())


def index(reference: Floats, values: Floats) -> float:
    """Return the PSI of many such values, by the reference's deciles."""
    counts = np.bincount(np.searchsorted(np.quantile(reference, np.arange(1, 10) / 10), values), minlength=10)
    return psi((counts / counts.sum() * 1e5).tolist(), [0.1] * 10)


def main(data: Path, photos: Path, animals: Path) -> None:
    listed = manifest.read(data)
    val = look([read_picture(listed.root, picture) for picture in listed.split("val")])
    files = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))]
    usual = look(files)
    enlarged = look(
        [encode(upscaled(Image.open(io.BytesIO(each)).convert("RGB")), "JPEG", quality=90) for each in files]
    )
    others = look([path.read_bytes() for path in sorted(animals.glob("*.webp"))])
    shipped = val[evenly(range(len(val.measured)), SAMPLE_PICTURES)]
    for count in COUNTS:
        rng = np.random.default_rng(0)
        seen = [differs(shipped, val, pictures, count) for pictures in (usual, enlarged)]
        print(f"{count} components, shipped reference: photographs differ {seen[0]}, enlarged ones {seen[1]}")
        by_val, by_half = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
        for _ in range(DRAWS):
            reference = val.drawn(rng, SAMPLE_PICTURES)
            mixture = others + usual.drawn(rng, 4 * len(others.measured))
            by_val += [differs(reference, val, pictures, count) for pictures in (usual, enlarged, mixture)]
            order = rng.permutation(len(usual.measured)).tolist()
            first, second = order[:HALF], order[HALF : 2 * HALF]
            mixture = others.drawn(rng, OTHERS) + usual[second[OTHERS:]]
            records = usual[second], enlarged[second], mixture
            by_half += [differs(usual[first], usual[first], pictures, count) for pictures in records]
        for name, drifts in (("val pictures", by_val), ("photographs", by_half)):
            print(
                f"{count} components, reference of random {name}, drift of {DRAWS}: photographs {drifts[0]}, "
                f"enlarged {drifts[1]}, a fifth of other animals {drifts[2]}"
            )
    components, rng = principal_components(val.inner, MOST), np.random.default_rng(0)
    in_val, photographs, strange = ((each.inner - components.mean) @ components.axes.T for each in (val, usual, others))
    for number in range(MOST):
        fifth = np.concatenate([rng.choice(strange[:, number], 800), rng.choice(photographs[:, number], 3200)])
        indexes = index(in_val[:, number], photographs[:, number]), index(in_val[:, number], fifth)
        print(f"component {number + 1}: PSI {indexes[0]:.3f} of photographs, {indexes[1]:.3f} with a fifth of others")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
