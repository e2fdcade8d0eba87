"""Replay of the rules on drift over a stream of pictures, minute by minute, in numpy.

Each minute has so many bursts of near-identical pictures, drawn from a pool; a burst is one picture of the pool counted
several times. Of each minute the PSI and its critical value are taken over the last 6 hours and the last day, as the
recording rules do, and an alert fires once one of both has been exceeded for an hour.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.psi import LARGE, LEAST_SHARE, SMOOTHING, critical
from handler.features import Reference, bins_of, parse_reference
from tests.zoo import ROOT

RELEASE = ROOT / "model-store" / "catsdogs"
WINDOWS_MIN = (360, 1440)
LASTING_MIN = 60
CLASS = "predicted_class"
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Pictures as they come: on average so many an hour, in bursts of this size."""

    per_hour: float
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures that may come: their bin of each feature."""

    bins: dict[str, Ints]


def shipped() -> Reference:
    """Return the reference of the shipped release."""
    values = json.loads((RELEASE / "release.json").read_bytes())
    reference = parse_reference(values["reference"], values["classes"])
    assert reference is not None
    return reference


def shares_of(reference: Reference) -> dict[str, Floats]:
    return {
        **{name: np.array(shares) for name, shares in reference.shares.items()},
        CLASS: np.array(list(reference.classes.values())),
    }


def pool_of(rows: list[dict[str, float | str]], reference: Reference) -> Pool:
    """Return the bins of pictures, whose label is that of their prediction."""
    labels = list(reference.classes)
    bins = {
        name: np.array([bins_of({name: float(row[name])}, reference.edges)[name] for row in rows])
        for name in reference.edges
    }
    return Pool({**bins, CLASS: np.array([labels.index(str(row["label"])) for row in rows])})


def sample_pool(reference: Reference) -> Pool:
    """Return the pictures of the shipped release's sample."""
    with (RELEASE / "reference.csv").open(newline="") as file:
        return pool_of([dict(row) for row in csv.DictReader(file)], reference)


def animal_rows() -> list[dict[str, float | str]]:
    """Return 82 photographs of other animals, as tests/monitoring/other_animals.py measured them."""
    with (Path(__file__).parent / "animals.csv").open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def exceeded(per_minute: Ints, shares: Floats, window: int, reference_pictures: int) -> Bools:
    """Whether the PSI of the window that ends at each minute is large and significant, (minutes,)."""
    total = np.vstack([np.zeros(per_minute.shape[1]), np.cumsum(per_minute, axis=0)])
    starts = np.maximum(np.arange(1, len(total)) - window, 0)
    counts = total[1:] - total[starts]
    pictures = counts.sum(axis=1)
    measured = np.maximum((counts + SMOOTHING * shares) / (pictures + SMOOTHING)[:, None], LEAST_SHARE)
    expected = np.maximum(shares, LEAST_SHARE)
    psi = ((measured - expected) * np.log(measured / expected)).sum(axis=1)
    least = critical(len(shares), np.maximum(pictures, 1e-9), reference_pictures)
    return np.asarray((pictures > 0) & (psi > LARGE) & (psi > least))


def firing(condition: Bools) -> Bools:
    """Whether the alert fires at each minute: the condition has held at each of the last hour."""
    held = np.concatenate([[0], np.cumsum(condition)])
    full = np.zeros(len(condition), dtype=bool)
    full[LASTING_MIN:] = held[LASTING_MIN + 1 :] - held[: -LASTING_MIN - 1] == LASTING_MIN + 1
    return full


def stream(
    pools: list[tuple[Pool, int]], traffic: Traffic, bins: dict[str, int], rng: np.random.Generator
) -> dict[str, Ints]:
    """Return the pictures of each minute by bin and feature, for pools that follow each other for so many minutes."""
    parts: dict[str, list[Ints]] = {name: [] for name in bins}
    for pool, minutes in pools:
        bursts = rng.poisson(traffic.per_hour / 60 / traffic.burst, minutes)
        minute = np.repeat(np.arange(minutes), bursts)
        chosen = rng.integers(len(next(iter(pool.bins.values()))), size=len(minute))
        for name, count in bins.items():
            flat = np.bincount(minute * count + pool.bins[name][chosen], minlength=minutes * count)
            parts[name].append(flat.reshape(minutes, count) * traffic.burst)
    return {name: np.concatenate(made) for name, made in parts.items()}


def alerts(
    pools: list[tuple[Pool, int]], traffic: Traffic, reference: Reference, rng: np.random.Generator
) -> dict[str, Bools]:
    """Return at which minutes the alert of each feature fires."""
    shares = shares_of(reference)
    counts = stream(pools, traffic, {name: len(each) for name, each in shares.items()}, rng)
    return {
        name: firing(
            np.logical_or.reduce([exceeded(counts[name], each, window, reference.pictures) for window in WINDOWS_MIN])
        )
        for name, each in shares.items()
    }


def episodes(fires: Bools) -> int:
    """Return how many times an alert began."""
    return int(np.sum(fires & ~np.concatenate([[False], fires[:-1]])))


def read_rows(path: Path) -> dict[str, list[dict[str, float | str]]]:
    """Return measured pictures by the name of what was done to them."""
    rows: dict[str, list[dict[str, float | str]]] = json.loads(path.read_bytes())
    return rows
