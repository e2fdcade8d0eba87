"""Candidates for corrections: the pictures that a person should look at, the most suspicious of each kind first."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np

from training.audit.networks import Floats
from training.data.manifest import Picture
from training.evaluation.metrics import Ints

LABEL, OUTLIER, NEITHER, BOTH, DUPLICATE = "label", "outlier", "neither", "both", "duplicate"
KINDS = {
    LABEL: "each network gives the label a small probability, without having seen it",
    OUTLIER: "the networks see few pictures like it",
    NEITHER: "each network sees almost nothing of ImageNet's cats and dogs",
    BOTH: "ImageNet's classes and the networks' answers to this picture show a second animal",
    DUPLICATE: "near-duplicates have different labels",
}
MAX_LABEL_PROBABILITY = 0.5
MAX_ANIMALS = 0.3
MIN_SECOND_ANIMAL = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to look at, and why; the fields are the columns of candidates.csv."""

    number: int
    """From 1 on in its kind, as on the contact sheet."""
    kind: str
    path: str
    label: str
    split: str
    sha256: str
    score: float
    """The smaller, the more suspicious."""


def find_candidates(
    pictures: Sequence[Picture],
    classes: Sequence[str],
    probabilities: Sequence[Floats],
    shares: Sequence[Floats],
    similarities: Sequence[Floats],
    limit: int,
) -> dict[str, list[Candidate]]:
    """Return the candidates of each kind, the most suspicious first.

    Args:
        probabilities: cross-fitted, (pictures, classes), of each network.
        shares: probability of ImageNet's classes of each animal, (pictures, classes), of each network; none where the
            classes are no animals of ImageNet.
        similarities: of each picture to others, (pictures,), of each network.
        limit: of each kind.
    """
    labels = np.array([classes.index(picture.label) for picture in pictures], dtype=np.int64)
    scores = {
        LABEL: _label_scores(labels, probabilities),
        OUTLIER: np.mean(similarities, axis=0),
        DUPLICATE: _duplicate_scores(pictures),
    }
    if shares:
        scores[NEITHER] = _limited(np.max([rows.sum(axis=1) for rows in shares], axis=0), MAX_ANIMALS)
        seconds = [np.sqrt(_second(a) * _second(b)) for a, b in zip(shares, probabilities, strict=True)]
        scores[BOTH] = _limited(-np.mean(seconds, axis=0), -MIN_SECOND_ANIMAL)
    return {kind: list(_first(kind, pictures, scores[kind], limit)) for kind in KINDS if kind in scores}


def _second(rows: Floats) -> Floats:
    """Return the second largest value of each row, (n,)."""
    return np.asarray(np.sort(rows, axis=1)[:, -2])


def _label_scores(labels: Ints, probabilities: Sequence[Floats]) -> Floats:
    """Return the largest probability that a network gives to the label; infinite where it is above the limit."""
    own = [rows[np.arange(len(labels)), labels] for rows in probabilities]
    return _limited(np.max(own, axis=0), MAX_LABEL_PROBABILITY)


def _duplicate_scores(pictures: Sequence[Picture]) -> Floats:
    """Return a number of the group for pictures whose near-duplicates have another label; infinite for others."""
    groups: dict[str, list[int]] = {}
    for row, picture in enumerate(pictures):
        groups.setdefault(picture.group, []).append(row)
    scores = np.full(len(pictures), np.inf)
    for number, rows in enumerate(groups.values()):
        if any(pictures[a].label != pictures[b].label for a, b in combinations(rows, 2)):
            scores[rows] = number
    return scores


def _limited(scores: Floats, limit: float) -> Floats:
    return np.where(scores <= limit, scores, np.inf)


def _first(kind: str, pictures: Sequence[Picture], scores: Floats, limit: int) -> Iterator[Candidate]:
    order = np.argsort(scores, kind="stable")[:limit]
    for number, row in enumerate((row for row in order if np.isfinite(scores[row])), start=1):
        picture = pictures[row]
        score = round(float(scores[row]), 6)
        yield Candidate(number, kind, picture.path, picture.label, picture.split, picture.sha256, score)


def as_csv(candidates: Sequence[Candidate]) -> bytes:
    """Return candidates.csv."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(Candidate)]
    writer.writerow(names)
    writer.writerows([getattr(candidate, name) for name in names] for candidate in candidates)
    return buffer.getvalue().encode(errors="surrogateescape")
