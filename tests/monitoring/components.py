"""Worth of the network's inner features for telling other animals, in tests of records and in the PSI:

    .venv-train/bin/python -m tests.monitoring.components PETIMAGES PHOTOS ANIMALS

The last layer's principal components are taken of 300 small val pictures, and mixtures of photographs and other animals
are compared with them, by what `catsdogs drift` looks at, without the components and with them.
"""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from common.psi import psi
from handler.features import measure
from handler.predictor import softmax
from handler.preprocess import InputSpec, decode
from monitoring.drift.two_samples import Floats, compare
from tests.monitoring.replay import RELEASE
from training.data.split import choose_split

SPEC, CLASSES, RATIOS = InputSpec(176), ["cat", "dog"], (80, 10, 10)
NAMES = ["brightness", "contrast", "saturation", "uncertainty"]
VAL, PHOTOS, OTHERS, USUAL = 300, 250, 60, 190
COMPONENTS, BATCH = 8, 16
# The input of the last layer.
POOLED = "mean"


class Network:
    """The shipped network, which also gives the input of its last layer."""

    def __init__(self) -> None:
        proto = onnx.load(RELEASE / "model.onnx")
        proto.graph.output.append(onnx.helper.make_tensor_value_info(POOLED, onnx.TensorProto.FLOAT, None))
        self.session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])

    def look(self, pictures: list[bytes]) -> tuple[Floats, Floats, list[str]]:
        """Return the pictures' features, embeddings and predicted classes."""
        features, embeddings, labels = [], [], []
        for first in range(0, len(pictures), BATCH):
            pixels = [decode(data, SPEC) for data in pictures[first : first + BATCH]]
            logits, pooled = self.session.run(["logits", POOLED], {"image": np.stack(pixels)})
            for each, row, embedding in zip(pixels, softmax(logits), pooled.reshape(len(pixels), -1), strict=True):
                values = {**measure(each, 1, 1), "uncertainty": 1 - float(row.max())}
                features.append([values[name] for name in NAMES])
                embeddings.append(embedding)
                labels.append(CLASSES[int(row.argmax())])
        return np.array(features), np.array(embeddings), labels


def val_pictures(folder: Path) -> list[bytes]:
    """Return pictures that are in val unless they have a near-duplicate, as many of each class."""
    chosen: list[bytes] = []
    for label in ("Cat", "Dog"):
        data = (path.read_bytes() for path in sorted((folder / label).glob("*.jpg")))
        val = (each for each in data if choose_split(hashlib.sha256(each).hexdigest()[:16], RATIOS) == "val")
        chosen += [each for each, _ in zip(val, range(VAL // 2), strict=False)]
    return chosen


def index(reference: Floats, values: Iterable[float]) -> float:
    """Return the PSI of many such values, by the reference's deciles."""
    counts = np.bincount(np.searchsorted(np.quantile(reference, np.arange(1, 10) / 10), list(values)), minlength=10)
    return psi((counts / counts.sum() * 1e5).tolist(), [0.1] * 10)


def main(petimages: Path, photos: Path, animals: Path) -> None:
    network, rng = Network(), np.random.default_rng(0)
    val = network.look(val_pictures(petimages))
    step = len(files := sorted(photos.rglob("*.jpg"))) // PHOTOS
    usual = network.look([path.read_bytes() for path in files[::step]])
    others = network.look([path.read_bytes() for path in sorted(animals.glob("*.webp"))])
    middle = val[1].mean(axis=0)
    axes = np.linalg.svd(val[1] - middle, full_matrices=False)[2][:COMPONENTS]
    reference, photographs, strange = ((sample[1] - middle) @ axes.T for sample in (val, usual, others))
    for round_ in range(3):
        of_others, of_usual = rng.permutation(len(others[2]))[:OTHERS], rng.permutation(len(usual[2]))[:USUAL]
        labels = [others[2][i] for i in of_others] + [usual[2][i] for i in of_usual]
        plain = np.vstack([others[0][of_others], usual[0][of_usual]])
        inner = np.vstack([strange[of_others], photographs[of_usual]])
        names = [*NAMES, *(f"component {number}" for number in range(COMPONENTS))]
        without = compare(val[0], plain, (val[2], labels), NAMES)
        with_ = compare(np.hstack([val[0], reference]), np.hstack([plain, inner]), (val[2], labels), names)
        p = [outcomes["all features"].adjusted for outcomes in (without, with_)]
        print(f"mixture {round_}: all features p {p[0]:.4f} without components, {p[1]:.4f} with them")
    for number in range(COMPONENTS):
        fifth = [*rng.choice(strange[:, number], 800), *rng.choice(photographs[:, number], 3200)]
        shares = index(reference[:, number], photographs[:, number]), index(reference[:, number], fifth)
        print(f"component {number}: PSI {shares[0]:.3f} of photographs, {shares[1]:.3f} with a fifth of other animals")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
