"""The input size: the knee of accuracy against cost, measured on the val split.

catsdogs evaluate --data data --run runs/first --sizes 112,128,160    # -> sizes.json, sizes.png
"""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from handler.files import UserError
from handler.preprocess import InputSpec
from training.data.even import evenly
from training.data.loaders import EvalPictures
from training.data.manifest import Manifest
from training.evaluation.metrics import SIGNIFICANT, Bools, mcnemar, proportion
from training.evaluation.report import draw_sizes
from training.evaluation.trained import (
    DECIDED_ON,
    Progress,
    open_trained,
    origin,
    pictures_of,
    right_verdicts,
    write_json,
)
from training.learning.model import Classifier

# A choice, not a finding: six pictures of 2,400. It was 0.5 until the first measurement, where that would have taken
# 128 px (0.47 points below) and this takes 144.
POINTS = 0.25
BATCH = 8
ROUNDS = 7
Key = TypeVar("Key", bound=Hashable)
KNEE = (
    f"the smallest size that is at most {POINTS} points less accurate than the best one and not shown to be worse by "
    f"McNemar's exact test (p > {SIGNIFICANT}): the test alone would pass any size where pictures are few, the "
    "points alone would follow noise"
)


def measure_sizes(
    checkpoint_path: Path,
    manifest: Manifest,
    sizes: Sequence[int],
    out: Path,
    limit: int | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Accuracy on the val split and the network's time at each input size; writes sizes.json and sizes.png.

    Args:
        sizes: sides of the square, pixels.
        limit: of the pictures.

    Raises:
        UserError: as `open_trained`, the val split is empty, or the network takes pictures of one size only.
    """
    checkpoint, model, spec = open_trained(checkpoint_path, manifest)
    chosen = evenly(pictures_of(manifest, DECIDED_ON), limit)
    sizes = sorted(set(sizes))

    def right_at(place: int, size: int) -> Bools:
        dataset = EvalPictures(manifest.root, chosen, checkpoint.classes, InputSpec(size, spec.resize))
        before, total = place * len(chosen), len(sizes) * len(chosen)
        try:
            return right_verdicts(model, dataset, checkpoint, lambda done, _: progress(before + done, total))
        except AssertionError as error:  # of timm's networks of one size
            raise UserError(f"This network does not take pictures of {size} pixels.") from error

    right = {size: right_at(place, size) for place, size in enumerate(sizes)}
    report = {
        **origin(checkpoint_path, manifest),
        "pictures": len(chosen),
        "resize": spec.resize,
        "cost": f"CPU time of torch, 1 thread, batches of {BATCH}, median of {ROUNDS} interleaved rounds",
        **size_figures(right, network_times(model, sizes)),
        "rule": KNEE,
    }
    out.mkdir(parents=True, exist_ok=True)
    draw_sizes({"": report}, f"{DECIDED_ON} split, n = {len(chosen)}", out / "sizes.png")
    write_json(out / "sizes.json", report)
    return report


def size_figures(right: Mapping[int, Bools], costs: Mapping[int, float]) -> dict[str, Any]:
    """Return accuracy and cost of each size, the best size, the knee, and a sentence on it.

    Args:
        right: which pictures get their own class, (n,), by size.
        costs: milliseconds per picture by size.
    """
    best = max(right, key=lambda size: (int(right[size].sum()), -size))
    count = len(right[best])
    rows = [
        {
            "size": size,
            "accuracy": asdict(proportion(int(right[size].sum()), count)),
            "milliseconds": costs[size],
            "points_below_best": 100 * float(right[best].mean() - right[size].mean()),
            "p": mcnemar(right[best], right[size])["p"],
        }
        for size in right
    ]
    knee = choose_knee(rows)
    return {"sizes": rows, "best": best, "knee": knee["size"], "sentence": _sentence(knee, best, costs[best], count)}


def _sentence(knee: Mapping[str, Any], best: int, cost: float, count: int) -> str:
    if knee["size"] == best:
        return (
            f"{best} pixels is the knee and the most accurate size (n = {count}): no smaller one is as good within "
            f"{POINTS} points."
        )
    return (
        f"{knee['size']} pixels is the knee: {knee['points_below_best']:.2f} points below {best} pixels, the best, "
        f"for {knee['milliseconds'] / cost:.0%} of its time (McNemar p = {knee['p']:.2g}, n = {count})."
    )


def choose_knee(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first row that meets KNEE; the best one does.

    Args:
        rows: by growing size, with `p` and `points_below_best`.
    """
    return next(row for row in rows if row["p"] > SIGNIFICANT and row["points_below_best"] <= POINTS)


@torch.inference_mode()
def network_times(model: Classifier, sizes: Sequence[int], rounds: int = ROUNDS) -> dict[int, float]:
    """Milliseconds of CPU time per picture on one thread, by size: what other processes take is not counted.

    Rounds go through all sizes, so that a slow moment of the machine does not fall on one of them alone.
    """
    model, threads = model.to("cpu"), torch.get_num_threads()
    batches = {size: torch.zeros((BATCH, size, size, 3), dtype=torch.uint8) for size in sizes}
    torch.set_num_threads(1)
    try:
        return median_times({size: partial(model, batch) for size, batch in batches.items()}, rounds)
    finally:
        torch.set_num_threads(threads)


def median_times(calls: Mapping[Key, Callable[[], object]], rounds: int = ROUNDS) -> dict[Key, float]:
    """Return the median CPU time of each call that answers a batch of BATCH pictures, in milliseconds per picture."""
    taken: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(rounds + 1):
        for key, call in calls.items():
            started = time.process_time()
            call()
            if number:  # the first round makes plans and allocates
                taken[key].append(1000 * (time.process_time() - started) / BATCH)
    return {key: statistics.median(times) for key, times in taken.items()}
