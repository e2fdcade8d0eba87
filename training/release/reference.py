"""The reference for drift: how the statistics of a release's pictures are distributed, measured as the worker measures.

It is made of the val split, whose pictures the network was not trained on. A feature that the preparation of the
pictures has settled is left out, since every picture of a user would differ from it:

- aspect_ratio and megapixels, where nearly all pictures have one size;
- sharpness, where most pictures are smaller than the network's input: enlarged pictures are blurred.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handler.components import FILE as COMPONENTS_FILE
from handler.features import FEATURES, bins_of, measure, upright_size
from handler.files import write_atomic
from handler.predictor import softmax
from handler.preprocess import InputSpec, Pixels, decode
from handler.problem import Problem
from handler.runtimes.ort_runtime import OrtNetwork
from handler.runtimes.runtime import FP32, Logits
from training.data.even import evenly
from training.data.manifest import Manifest
from training.data.pictures import read_picture
from training.release.inner_features import find_inner, principal_components
from training.release.network_file import NETWORK

# Single pictures of the reference, with which `catsdogs drift` compares: listed in release.json's `files`.
SAMPLE = "reference.csv"
SAMPLE_PICTURES = 500
# With fewer pictures only a very large drift could be told from chance.
LEAST_PICTURES = 200
MAX_PICTURES = 4000
DECILES = np.arange(1, 10) / 10
# Share of the pictures from which on a size says more of the preparation than of the pictures.
ONE_SIZE, ENLARGED = 0.9, 0.5
BATCH = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """The statistics of one picture, its size as sent, and the class that is predicted."""

    features: dict[str, float]
    width: int
    height: int
    label: str


def make_reference(
    made: Path, manifest: Manifest, spec: InputSpec, classes: Sequence[str], on_stage: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return release.json's `reference` and write its files to `made`; None where the val split is too small.

    Args:
        made: folder with the release's network.
    """
    pictures = evenly(manifest.split("val"), MAX_PICTURES)
    if len(pictures) < LEAST_PICTURES:
        return None
    on_stage(f"measuring {len(pictures)} val pictures, the reference for drift")
    return write_reference(made, (read_picture(manifest.root, picture) for picture in pictures), spec, classes)


def write_reference(made: Path, pictures: Iterable[bytes], spec: InputSpec, classes: Sequence[str]) -> dict[str, Any]:
    """Return the reference of encoded pictures, by the network in `made`, and write its sample there.

    Where the network ends in a linear layer, the principal components of what that layer takes are written too.
    """
    inner = find_inner(made / NETWORK)
    logits = inner.logits if inner else OrtNetwork(made / NETWORK, FP32, 1).logits
    measured = measure_pictures(pictures, spec, logits, classes)
    reference = describe(measured, spec, classes)
    names = list(reference["features"])
    if inner:
        components = principal_components(inner.collected())
        for picture, values in zip(measured, components.project(inner.collected()), strict=True):
            picture.features.update(values)
        names += components.names
        reference["components"] = {"file": COMPONENTS_FILE, "tensor": inner.tensor}
        write_atomic(made / COMPONENTS_FILE, components.to_bytes())
    write_atomic(made / SAMPLE, sample(measured, names))
    return reference


def measure_pictures(
    pictures: Iterable[bytes], spec: InputSpec, logits: Callable[[Pixels], Logits], classes: Sequence[str]
) -> list[Measured]:
    """Return the statistics of encoded pictures, in their order. Those that the server would refuse are skipped."""
    measured: list[Measured] = []
    batch: list[tuple[Pixels, tuple[int, int]]] = []

    def answer() -> None:
        rows = softmax(logits(np.stack([pixels for pixels, _ in batch])))
        for (pixels, size), row in zip(batch, rows, strict=True):
            features = {**measure(pixels, *size), "uncertainty": max(0.0, 1.0 - float(row.max()))}
            measured.append(Measured(features, *size, classes[int(row.argmax())]))
        batch.clear()

    for data in pictures:
        with suppress(Problem):
            batch.append((decode(data, spec), upright_size(data)))
        if len(batch) == BATCH:
            answer()
    if batch:
        answer()
    return measured


def describe(measured: Sequence[Measured], spec: InputSpec, classes: Sequence[str]) -> dict[str, Any]:
    """Return the reference as release.json holds it: each feature's deciles, and the share of each bin."""
    features = {}
    left_out = settled_features(measured, spec)
    for name in FEATURES:
        values = [picture.features[name] for picture in measured]
        if name not in left_out and (edges := deciles(values)):
            bins = Counter(bins_of({name: value}, {name: edges})[name] for value in values)
            shares = [round(bins[index] / len(values), 6) for index in range(len(edges) + 1)]
            features[name] = {"edges": list(edges), "shares": shares}
    labels = Counter(picture.label for picture in measured)
    return {
        "pictures": len(measured),
        "features": features,
        "classes": {label: round(labels[label] / len(measured), 6) for label in classes},
    }


def settled_features(measured: Sequence[Measured], spec: InputSpec) -> set[str]:
    """Return the features that the preparation of the pictures has settled."""
    sizes = Counter((picture.width, picture.height) for picture in measured)
    enlarged = sum(count for size, count in sizes.items() if min(size) < spec.size)
    left_out = {"aspect_ratio", "megapixels"} if max(sizes.values()) >= ONE_SIZE * len(measured) else set()
    return left_out | ({"sharpness"} if enlarged >= ENLARGED * len(measured) else set())


def deciles(values: Sequence[float]) -> tuple[float, ...]:
    """Return the deciles as edges of bins, none of which is empty: values that many pictures share are one edge."""
    rounded = {float(f"{edge:.6g}") for edge in np.quantile(values, DECILES)}
    edges = sorted(edge for edge in rounded if edge < max(values))
    kept = [edge for low, edge in zip([-np.inf, *edges], edges, strict=False) if any(low < v <= edge for v in values)]
    return tuple(kept)


def sample(measured: Sequence[Measured], names: Sequence[str]) -> bytes:
    """Return some of the pictures as CSV: features and predicted class, and nothing that tells which pictures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "label"])
    for picture in evenly(measured, SAMPLE_PICTURES):
        writer.writerow([*(f"{picture.features[name]:.6g}" for name in names), picture.label])
    return text.getvalue().encode()
