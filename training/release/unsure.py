"""The threshold below which an answer is unsure, from the risk-coverage curve of the val split.

The answers with a probability of at least t are a share of all, the coverage at t. The share of them that is wrong is
the risk at t. The threshold is the smallest t at which the risk is at most MAX_RISK: whoever passes over the unsure
answers meets as few errors as that. It is chosen on the val split, which the network was not trained on, and reported
on the test split, which had no say in it. (El-Yaniv and Wiener, JMLR 11, 2010: selective classification.)
"""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.cores import usable_cores
from handler.files import UserError
from handler.predictor import softmax
from handler.preprocess import InputSpec, Pixels, decode
from handler.runtimes.choice import Choice, by_preference, is_installed
from handler.runtimes.onnx_files import INT8_FILE
from handler.runtimes.ort_runtime import RUNTIME as REFERENCE
from handler.runtimes.runtime import FP32, INT8, Logits
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.evaluation.sources import domains
from training.release.network_file import NETWORK

MAX_RISK = 0.01
# Fewer could not show a risk of one in a hundred.
LEAST_PICTURES = 200
# Thresholds that are tried, and those of the curve that is reported.
TRIED = np.round(np.arange(0.05, 1.0, 0.005), 3)
REPORTED = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
BATCH = 16

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Network = Callable[[Pixels], Logits]


def make_unsure(
    release: Path,
    manifest: Manifest,
    spec: InputSpec,
    classes: list[str],
    on_stage: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any] | None:
    """Return release.json's `unsure`; None where the val split is too small.

    Args:
        release: folder with the release's networks.
    """
    pictures = manifest.split("val")
    if len(pictures) < LEAST_PICTURES:
        return None
    tested = manifest.split("test")
    facts = {}
    for precision, network in load_networks(release).items():
        on_stage(f"answering {len(pictures) + len(tested)} val and test pictures in {precision}")
        facts[precision] = choose_threshold(*answered(network, manifest, pictures, spec, classes))
        sure, right = answered(network, manifest, tested, spec, classes)
        facts[precision]["test"] = {
            name: at_threshold(sure[rows], right[rows], facts[precision]["threshold"])
            for name, rows in domains(tested, classes).items()
        }
    return {"decided_on": "val", "max_risk": MAX_RISK, "manifest_sha256": manifest.sha256, "precisions": facts}


def load_networks(release: Path) -> dict[str, Network]:
    """Return what computes the logits of pixels, by the precisions that a release's folder has.

    Raises:
        UserError: no runtime of int8 is installed.
    """
    choices = {FP32: (Choice(REFERENCE, FP32), release / NETWORK)}
    if (release / INT8_FILE).exists():
        installed = [choice for choice in by_preference(INT8) if is_installed(choice.runtime.package)]
        if not installed:
            raise UserError("No runtime that computes in int8 is installed here: pip install 'catsdogs[train]'")
        choices[INT8] = installed[0], release / INT8_FILE
    return {
        precision: choice.runtime.load(path, precision, usable_cores(), None).logits
        for precision, (choice, path) in choices.items()
    }


def answered(
    network: Network,
    manifest: Manifest,
    pictures: list[Picture],
    spec: InputSpec,
    classes: list[str],
) -> tuple[Floats, Bools]:
    """Return the probability of each picture's predicted class, and whether that is right."""
    pixels = (decode(read_picture(manifest.root, picture), spec) for picture in pictures)
    probabilities = probabilities_of(network, pixels, len(classes))
    labels = np.array([classes.index(picture.label) for picture in pictures], dtype=np.int64)
    return probabilities.max(axis=1, initial=0), probabilities.argmax(axis=1) == labels


def probabilities_of(network: Network, pixels: Iterable[Pixels], classes: int) -> Floats:
    """Return the probabilities of pictures, (n, classes), from the network's inputs."""
    rows: list[Logits] = [np.zeros((0, classes), np.float32)]
    left = iter(pixels)
    while batch := list(islice(left, BATCH)):
        rows.append(softmax(network(np.stack(batch))))
    return np.concatenate(rows).astype(np.float64)


def choose_threshold(sure: Floats, right: Bools, max_risk: float = MAX_RISK) -> dict[str, Any]:
    """Return the threshold, what it does on these pictures, and the risk-coverage curve.

    Args:
        sure: probability of each picture's predicted class, (n,), n >= 1.
        right: whether it is right.
    """
    threshold = next((float(t) for t in TRIED if (kept := sure >= t).any() and (~right[kept]).mean() <= max_risk), None)
    curve = [{"threshold": t, **at_threshold(sure, right, t)} for t in REPORTED]
    return {"threshold": threshold, "val": at_threshold(sure, right, threshold), "curve": curve}


def at_threshold(sure: Floats, right: Bools, threshold: float | None) -> dict[str, int]:
    """Return the numbers of pictures, of those that are not unsure, of the errors among these and among all."""
    kept = sure >= (0 if threshold is None else threshold)
    return {
        "count": len(sure),
        "sure": int(kept.sum()),
        "wrong": int((~right[kept]).sum()),
        "wrong_of_all": int((~right).sum()),
    }
