"""The int8 network of a release: made, judged, and kept where its verdict is PASS."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.cores import usable_cores
from common.verdicts import Verdict
from handler.files import UserError, write_atomic
from handler.predictor import softmax
from handler.preprocess import InputSpec, Pixels, decode
from handler.release import golden_pixels
from handler.runtimes.choice import Choice, by_preference, is_installed
from handler.runtimes.onnx_files import INT8_FILE, INT8_TOLERANCE
from handler.runtimes.ort_runtime import RUNTIME as REFERENCE
from handler.runtimes.runtime import FP32, INT8, Logits
from training.data.even import evenly
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.evaluation.metrics import summary
from training.evaluation.slices import brightness, by_slice, sharpness
from training.evaluation.sources import domains
from training.release.int8.gate import MIN_PICTURES, judge, too_few
from training.release.int8.quantise import quantise
from training.release.parity import compare

CALIBRATION_PICTURES = 200
PARITY_PICTURES = 256
BATCH = 32

Progress = Callable[[int, int], None]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def add_int8(
    network: Path,
    made: Path,
    manifest: Manifest,
    classes: list[str],
    spec: InputSpec,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Quantise a network, judge it on the test split, and write its file where it may be served.

    Args:
        network: ONNX that holds its weights.
        made: folder of the release, which gets the file.
        manifest: pictures, whose test split the network was not trained on.
        classes: of the network, in its order.
        progress: is told how many of how many test pictures are answered.

    Returns:
        `precision`, which is recommended for x86-64 CPUs, and `precisions`, for release.json.

    Raises:
        UserError: no runtime of int8 is installed, or runtimes of int8 differ.
    """
    tested = manifest.split("test")
    if len(tested) < MIN_PICTURES or not manifest.split("train"):
        return {"precision": FP32, "precisions": {INT8: too_few(len(tested))}}
    calibrated = evenly(manifest.split("train"), CALIBRATION_PICTURES)
    data = quantise(network, np.stack([decode(read_picture(manifest.root, picture), spec) for picture in calibrated]))
    with tempfile.TemporaryDirectory(prefix="catsdogs-int8-") as folder:
        path = Path(folder, INT8_FILE)
        path.write_bytes(data)
        facts = _measure(network, path, manifest, tested, classes, spec, progress)
    facts["calibration"] = {"split": "train", "pictures": len(calibrated), "manifest_sha256": manifest.sha256}
    if facts["verdict"] != Verdict.PASS:
        return {"precision": FP32, "precisions": {INT8: facts}}
    write_atomic(made / INT8_FILE, data)
    return {"precision": INT8, "precisions": {INT8: facts}}


def _measure(
    network: Path,
    path: Path,
    manifest: Manifest,
    tested: list[Picture],
    classes: list[str],
    spec: InputSpec,
    progress: Progress,
) -> dict[str, Any]:
    """Return the verdict on the int8 network, its figures and its golden answers."""
    reference = _load(Choice(REFERENCE, FP32), network)
    served, *others = [(choice, _load(choice, path)) for choice in _installed()]
    answers, traits = _answer(manifest, tested, spec, [reference, served[1]], progress)
    labels = np.array([classes.index(picture.label) for picture in tested])
    return {
        **judge(labels, softmax(answers[0]), softmax(answers[1])),
        "runtime": served[0].runtime.name,
        "golden_logits": served[1](golden_pixels(spec.size)).astype(np.float64).round(5).tolist(),
        "parity": _parity(manifest, evenly(tested, PARITY_PICTURES), spec, served[1], others),
        "metrics": _metrics(tested, classes, labels, answers[1].astype(np.float64), traits),
    }


def _installed() -> list[Choice]:
    """Return the runtimes of int8 that are installed, the one that serves here first."""
    choices = [choice for choice in by_preference(INT8) if is_installed(choice.runtime.package)]
    if not choices:
        raise UserError("No runtime that computes in int8 is installed here: pip install 'catsdogs[train]'")
    return choices


def _load(choice: Choice, path: Path) -> Callable[[Pixels], Logits]:
    return choice.runtime.load(path, choice.precision, usable_cores(), None).logits


def _answer(
    manifest: Manifest,
    pictures: list[Picture],
    spec: InputSpec,
    networks: list[Callable[[Pixels], Logits]],
    progress: Progress,
) -> tuple[list[Logits], dict[str, Floats]]:
    """Return the logits (n, classes) of each network, and the traits (n,) that slices are made of."""
    rows: list[list[Logits]] = [[] for _ in networks]
    light, detail = [], []
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        pixels = np.stack([decode(read_picture(manifest.root, picture), spec) for picture in some])
        for logits, network in zip(rows, networks, strict=True):
            logits.append(network(pixels))
        light.append(brightness(pixels))
        detail.append(sharpness(pixels))
        progress(start + len(some), len(pictures))
    size = np.array([min(picture.width, picture.height) for picture in pictures], dtype=np.float64)
    traits = {"size": size, "brightness": np.concatenate(light), "sharpness": np.concatenate(detail)}
    return [np.concatenate(logits) for logits in rows], traits


def _metrics(
    pictures: list[Picture],
    classes: list[str],
    labels: np.ndarray[Any, np.dtype[np.int64]],
    logits: Floats,
    traits: dict[str, Floats],
) -> dict[str, Any]:
    """Return the figures of each source, as `evaluate` measures them; the network's temperature is 1 by now."""
    right = logits.argmax(axis=1) == labels
    metrics = {}
    for name, rows in domains(pictures, classes).items():
        metrics[name] = summary(labels[rows], logits[rows], classes, 1.0)
        metrics[name]["by_slice"] = by_slice({key: values[rows] for key, values in traits.items()}, right[rows])
    return metrics


def _parity(
    manifest: Manifest,
    pictures: list[Picture],
    spec: InputSpec,
    served: Callable[[Pixels], Logits],
    others: list[tuple[Choice, Callable[[Pixels], Logits]]],
) -> dict[str, Any]:
    """Compare the other runtimes' int8 answers with those of the runtime that serves."""
    pixels = np.stack([decode(read_picture(manifest.root, picture), spec) for picture in pictures])
    wanted = softmax(served(pixels))
    figures = {
        choice.runtime.name: compare(softmax(logits(pixels)), wanted, INT8_TOLERANCE, choice.runtime.title, "int8")
        for choice, logits in others
    }
    return {"pictures": len(pictures), "runtimes": figures}
