"""Tests of whether two samples of pictures have one distribution, all by the same permutations of the pooled pictures.

Features are taken as their ranks among all pictures, so that no test depends on a feature's scale. Under the null
hypothesis the pictures can be exchanged, and each p-value is exact whatever the distribution.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
PERMUTATIONS = 4999
# Pictures are near-identical where in every feature no more than this share of the reference lies between them, and
# they differ by no more than this part of the value, which tells pictures outside of the reference apart.
NEAR_SHARE, NEAR_PART = 0.010001, 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one test."""

    effect: float
    """Size of the difference, 0 to 1: Kolmogorov and Smirnov's D, the total variation distance, or the MMD."""
    p: float
    adjusted: float = 1.0
    """The p-value after Holm's correction for all tests."""


def ranks(values: Floats) -> Floats:
    """Return the mean rank of each value in its column, 0 to 1, equal ones alike."""
    columns = []
    for column in values.T:
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        columns.append((np.cumsum(counts) - (counts + 1) / 2)[inverse] / max(len(column) - 1, 1))
    return np.stack(columns, axis=1)


def distinct(values: Floats, reference: Floats) -> list[int]:
    """Return the rows that are left where of near-identical pictures the first alone is kept."""
    ordered = np.sort(reference, axis=0)
    columns = [np.searchsorted(ordered[:, index], column) / len(ordered) for index, column in enumerate(values.T)]
    place = np.stack(columns, axis=1)
    kept: list[int] = []
    for row in range(len(place)):
        near = np.abs(place[kept] - place[row]) <= NEAR_SHARE
        near &= np.abs(values[kept] - values[row]) <= NEAR_PART * np.abs(values[row])
        if not near.all(axis=1).any():
            kept.append(row)
    return kept


def permuted(first: int, second: int, rng: np.random.Generator) -> Bools:
    """Return which pictures are of the first sample: as they are, and under each permutation, (pictures, 1 + n)."""
    chosen = np.zeros((PERMUTATIONS + 1, first + second), dtype=bool)
    chosen[:, :first] = True
    chosen[1:] = rng.permuted(chosen[1:], axis=1)
    return chosen.T


def p_value(statistics: Floats) -> float:
    """Return the share of permutations whose statistic is at least the first one, which counts itself."""
    return float(np.mean(statistics >= statistics[0] - 1e-12))


def compare(
    reference: Floats, records: Floats, labels: tuple[list[str], list[str]], names: list[str], seed: int = 0
) -> dict[str, Outcome]:
    """Return the outcome of each test: of all features at once, of each feature, and of the predicted classes.

    Args:
        reference: features by picture, (n, features).
        records: the same of the pictures that are compared with it.
        labels: the predicted classes of both.
        names: the features' names, in the order of the columns.
    """
    chosen = permuted(len(reference), len(records), np.random.default_rng(seed))
    place = ranks(np.vstack([reference, records]))
    outcomes = {"all features": mmd(place, chosen)}
    for index, name in enumerate(names):
        outcomes[name] = kolmogorov_smirnov(place[:, index], chosen)
    outcomes["predicted_class"] = classes([*labels[0], *labels[1]], chosen)
    return holm(outcomes)


def mmd(place: Floats, chosen: Bools) -> Outcome:
    """Return the maximum mean discrepancy, with a Gaussian kernel as wide as the median distance."""
    squares = (place**2).sum(axis=1)
    distance = np.maximum(squares[:, None] + squares[None] - 2 * place @ place.T, 0)
    kernel = np.exp(-distance / np.median(distance[distance > 0])).astype(np.float32)
    first = chosen.astype(np.float32)
    n, m = float(first[:, 0].sum()), float(len(place) - first[:, 0].sum())
    weight = first / n - (1 - first) / m
    statistics = np.einsum("ij,ij->j", weight, kernel @ weight).astype(np.float64)
    return Outcome(float(np.sqrt(max(statistics[0], 0.0))), p_value(statistics))


def kolmogorov_smirnov(place: Floats, chosen: Bools) -> Outcome:
    """Return the largest distance between the two distribution functions of one feature."""
    order = np.argsort(place, kind="stable")
    last = np.append(np.diff(place[order]) > 0, True)  # of pictures with one value
    first = chosen[order]
    n, m = first[:, 0].sum(), (~first[:, 0]).sum()
    steps = np.where(first, 1 / n, -1 / m).astype(np.float32)
    statistics = np.abs(np.cumsum(steps, axis=0)[last]).max(axis=0).astype(np.float64).round(5)
    return Outcome(float(statistics[0]), p_value(statistics))


def classes(labels: list[str], chosen: Bools) -> Outcome:
    """Return the total variation distance between the shares of the predicted classes."""
    known = np.array(labels)[:, None] == np.array(sorted(set(labels)))[None]
    n = chosen[:, 0].sum()
    inside = known.T.astype(np.float32) @ chosen.astype(np.float32)
    outside = known.sum(axis=0)[:, None] - inside
    statistics = (np.abs(inside / n - outside / (len(labels) - n)).sum(axis=0) / 2).astype(np.float64).round(5)
    return Outcome(float(statistics[0]), p_value(statistics))


def holm(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Return the outcomes with their p-values adjusted for the number of tests (Holm 1979), in the same order."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(outcomes, key=lambda name: outcomes[name].p)):
        largest = max(largest, min(1.0, (len(outcomes) - rank) * outcomes[name].p))
        adjusted[name] = largest
    return {name: Outcome(each.effect, each.p, adjusted[name]) for name, each in outcomes.items()}
