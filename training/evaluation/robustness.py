"""Robustness: accuracy and calibration of a release on test pictures that are dark, blurred, turned and so on."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from common.cores import usable_cores
from handler.files import UserError
from handler.preprocess import InputSpec, Pixels, decode
from training.data.even import evenly
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.evaluation.conditions import CONDITIONS, apply
from training.evaluation.metrics import BINS, Bools, Floats, accuracy, calibration_error
from training.evaluation.sources import domains
from training.release.unsure import Network, probabilities_of

SPLIT = "test"
# A probability is trusted up to this expected calibration error.
TRUSTED_ECE = 0.03
RESAMPLES = 1000
# Pictures that are decoded before the networks answer them.
CHUNK = 256

Progress = Callable[[int, int], None]


def measure_robustness(
    networks: Mapping[str, Network],
    manifest: Manifest,
    spec: InputSpec,
    classes: list[str],
    limit: int | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Return release.json's `robustness`: the figures of each precision, source and condition.

    Args:
        networks: logits of pixels, by precision.
        limit: of the pictures of each source; they are chosen at even distances by path.
        progress: called with pictures answered and in all, over all conditions.

    Raises:
        UserError: the test split is empty, or a picture cannot be read.
    """
    tested = manifest.split(SPLIT)
    if not tested:
        raise UserError(f"The {SPLIT} split has no pictures.")
    sources = {name: evenly([tested[row] for row in rows], limit) for name, rows in domains(tested, classes).items()}
    chosen = [picture for some in sources.values() for picture in some]
    ends = np.cumsum([len(some) for some in sources.values()])[:-1]
    labels = np.array([classes.index(picture.label) for picture in chosen], dtype=np.int64)
    precisions: dict[str, Any] = {precision: {name: {} for name in sources} for precision in networks}
    for number, condition in enumerate(CONDITIONS):

        def on_picture(done: int, before: int = number * len(chosen)) -> None:
            progress(before + done, len(CONDITIONS) * len(chosen))

        answers = _answers(networks, manifest, chosen, spec, len(classes), condition, on_picture)
        for precision, probabilities in answers.items():
            parts = zip(sources, np.split(labels, ends), np.split(probabilities, ends), strict=True)
            for source, truth, rows in parts:
                precisions[precision][source][condition] = figures(truth, rows)
    return {
        "split": SPLIT,
        "manifest_sha256": manifest.sha256,
        "limit": limit,
        "trusted_ece": TRUSTED_ECE,
        "conditions": {name: condition.description for name, condition in CONDITIONS.items()},
        "precisions": precisions,
    }


def _answers(
    networks: Mapping[str, Network],
    manifest: Manifest,
    pictures: Sequence[Picture],
    spec: InputSpec,
    classes: int,
    condition: str,
    on_picture: Callable[[int], None],
) -> dict[str, Floats]:
    """Return each network's probabilities of pictures in a condition, (pictures, classes), by precision."""
    rows: dict[str, list[Floats]] = {precision: [] for precision in networks}
    with ThreadPoolExecutor(usable_cores()) as pool:  # Pillow lets go of the interpreter
        for start in range(0, len(pictures), CHUNK):
            some = pictures[start : start + CHUNK]
            pixels = list(pool.map(partial(_pixels, manifest, spec, condition), some))
            for precision, network in networks.items():
                rows[precision].append(probabilities_of(network, pixels, classes))
            on_picture(start + len(some))
    return {precision: np.concatenate(parts) for precision, parts in rows.items()}


def _pixels(manifest: Manifest, spec: InputSpec, condition: str, picture: Picture) -> Pixels:
    return decode(apply(condition, read_picture(manifest.root, picture)), spec)


def figures(labels: np.ndarray, probabilities: Floats) -> dict[str, Any]:
    """Return the accuracy and the expected calibration error with 95 % intervals, and the mean probability.

    Args:
        labels: int64 (n,), n >= 1.
        probabilities: (n, classes).
    """
    sure, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    low, high = ece_interval(sure, predicted == labels)
    return {
        **asdict(accuracy(labels, predicted)),
        "probability": float(sure.mean()),
        "ece": calibration_error(labels, probabilities),
        "ece_low": low,
        "ece_high": high,
    }


def ece_interval(sure: Floats, right: Bools, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % interval of the expected calibration error, by the bootstrap's percentiles with a fixed seed.

    The error is above zero by chance alone, in a resample more so than in the pictures themselves, so that the
    interval lies rather high.

    Args:
        sure: probability of each picture's predicted class, (n,), n >= 1.
        right: whether it is right.
    """
    count = len(sure)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], sure, side="left")
    gaps = np.zeros((count, BINS))
    gaps[np.arange(count), bins] = right - sure
    random = np.random.default_rng(0)
    weights = random.multinomial(count, np.full(count, 1 / count), size=resamples)
    errors = np.abs(weights @ gaps).sum(axis=1) / count
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high)
