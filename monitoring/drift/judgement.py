"""Verdict on drift: records of predictions against the reference of the release that made them."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.psi import psi
from common.verdicts import Verdict
from handler.components import FILE as COMPONENTS_FILE
from handler.components import PREFIX
from handler.features import Reference, bins_of
from handler.files import UserError
from handler.records import files_of
from handler.release import Release, read_release, verify_file
from monitoring.drift.two_samples import Floats, Outcome, compare, distinct
from training.data.even import evenly

SAMPLE = "reference.csv"
ALPHA = 0.01
LEAST_RECORDS, MAX_RECORDS = 100, 500
# Of so many records near-identical ones are sought: more would take minutes.
MAX_SOUGHT = 3000
# A larger share of lines that cannot be read makes a measurement invalid.
MAX_BROKEN = 0.1


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one release, in the order of time, and the number of lines that are none."""

    rows: list[dict[str, Any]]
    other_models: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on drift, and what it rests on."""

    verdict: Verdict
    reason: str
    records: int
    compared: int
    """Records that were compared, without near-identical ones."""
    reference_pictures: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    psi: dict[str, float] = field(default_factory=dict)
    without_components: int = 0
    """Records that lack the components which the reference has, so that none were compared."""

    def left_out(self) -> str:
        """Return a sentence about components that were not compared; empty where nothing was left out."""
        if not self.without_components:
            return ""
        return (
            f"The network's inner features were not compared: {self.without_components} of {self.records} records lack "
            "them, or have those of an earlier reference."
        )

    def document(self) -> dict[str, Any]:
        """Return the judgement as JSON takes it."""
        tests = {
            name: {"effect": round(each.effect, 4), "p": each.p, "adjusted_p": round(each.adjusted, 6)}
            for name, each in self.outcomes.items()
        }
        return {
            "verdict": self.verdict,
            "exit_code": self.verdict.exit_code,
            "reason": self.reason,
            "alpha": ALPHA,
            "records": self.records,
            "compared": self.compared,
            "reference_pictures": self.reference_pictures,
            "without_components": self.without_components,
            "tests": tests,
            "psi": {name: round(value, 4) for name, value in self.psi.items()},
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """Single pictures: features by picture, and the predicted classes."""

    names: list[str]
    values: Floats
    labels: list[str]

    def without_components(self) -> "Sample":
        """Return the sample without the components of the network's inner features."""
        kept = [index for index, name in enumerate(self.names) if not name.startswith(PREFIX)]
        return Sample([self.names[index] for index in kept], self.values[:, kept], self.labels)


def read_sample(folder: Path, release: Release) -> Sample:
    """Return the reference pictures of a release.

    Raises:
        UserError: the release has none, or they were changed.
    """
    if release.reference is None or SAMPLE not in release.files:
        raise UserError(f"{folder} has no reference. To make one: catsdogs reference --release {folder}")
    verify_file(folder, SAMPLE, release.files[SAMPLE])
    rows = list(csv.DictReader(io.StringIO((folder / SAMPLE).read_text())))
    names = [name for name in release.reference.edges if name in rows[0]]
    if release.reference.tensor is not None:
        names += [name for name in rows[0] if name.startswith(PREFIX)]
    return Sample(names, np.array([[float(row[name]) for name in names] for row in rows]), [r["label"] for r in rows])


def read_records(paths: Sequence[Path], release: Release, hours: float | None = None) -> Records:
    """Return the records in files, or in folders of files.

    Args:
        hours: only those of so many hours before the newest.

    Raises:
        UserError: a path does not exist.
    """
    rows, others, broken = [], 0, 0
    for line in _lines(paths):
        try:
            row = json.loads(line)
            float(row["time"]), str(row["label"]), {name: float(value) for name, value in row["features"].items()}
            sha256 = row["model"]["sha256"]
        except (ValueError, TypeError, LookupError, AttributeError):
            broken += 1
            continue
        if sha256 == release.weights_sha256:
            rows.append(row)
        else:
            others += 1
    rows.sort(key=lambda row: float(row["time"]))
    since = rows[-1]["time"] - hours * 3600 if rows and hours is not None else -np.inf
    return Records([row for row in rows if row["time"] >= since], others, broken)


def _lines(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no {path}: name the folder of CATSDOGS_RECORDS, or a file in it.")
        for file in files_of(path) if path.is_dir() else [path]:
            with file.open(errors="replace") as lines:
                yield from lines


def lacking_components(records: Records, release: Release, reference: Sample) -> int:
    """Return how many records lack components of the reference, or have those of another one."""
    names = {name for name in reference.names if name.startswith(PREFIX)}
    sha256 = release.files.get(COMPONENTS_FILE)
    return sum(
        bool(names) and not (names <= row["features"].keys() and row.get("components") == sha256)
        for row in records.rows
    )


def sample_of(records: Records, reference: Sample) -> Sample:
    """Return the records that are compared: spread over their time, and none near-identical to another.

    Uncertainty and components do not tell near-identical pictures apart: they may double by a trifle.
    """
    names = reference.names
    rows = [row for row in records.rows if set(names) <= row["features"].keys()]
    rows = evenly(rows, MAX_SOUGHT) if rows else []
    values = np.array([[float(row["features"][name]) for name in names] for row in rows]).reshape(len(rows), len(names))
    seen = [index for index, name in enumerate(names) if name != "uncertainty" and not name.startswith(PREFIX)]
    kept = evenly(distinct(values[:, seen], reference.values[:, seen]), MAX_RECORDS) if rows else []
    return Sample(names, values[kept], [rows[index]["label"] for index in kept])


def judge(records: Records, release: Release, reference: Sample, sample: Sample) -> Judgement:
    """Return the verdict.

    Args:
        reference: of the release.
        sample: the records that are compared.
    """
    assert release.reference is not None
    counts = len(records.rows), len(sample.labels), len(reference.labels)
    lines = len(records.rows) + records.other_models + records.broken
    if records.broken > MAX_BROKEN * lines:
        return Judgement(Verdict.INVALID, f"{records.broken} of {lines} lines are not records.", *counts)
    if not records.rows and records.other_models:
        return Judgement(Verdict.INVALID, "All records are of other models than this release.", *counts)
    if len(sample.labels) < LEAST_RECORDS:
        reason = f"There are {len(sample.labels)} different pictures in the records; {LEAST_RECORDS} are needed."
        return Judgement(Verdict.INCONCLUSIVE, reason, *counts)
    outcomes = compare(reference.values, sample.values, (reference.labels, sample.labels), reference.names)
    drifted = [name for name, outcome in outcomes.items() if outcome.adjusted <= ALPHA]
    indexes = stability(sample, release.reference)
    if drifted:
        return Judgement(
            Verdict.BREACH, f"These differ from the reference: {', '.join(drifted)}.", *counts, outcomes, indexes
        )
    return Judgement(Verdict.PASS, "Nothing differs significantly from the reference.", *counts, outcomes, indexes)


def stability(sample: Sample, reference: Reference) -> dict[str, float]:
    """Return the population stability index of each feature."""
    indexes = {}
    for column, name in enumerate(sample.names):
        if name.startswith(PREFIX):
            continue  # they have no bins
        counts = [0] * len(reference.shares[name])
        for value in sample.values[:, column]:
            counts[bins_of({name: float(value)}, reference.edges)[name]] += 1
        indexes[name] = psi(counts, reference.shares[name])
    if reference.classes:
        counts = [sample.labels.count(label) for label in reference.classes]
        indexes["predicted_class"] = psi(counts, list(reference.classes.values()))
    return indexes


def judge_files(paths: Sequence[Path], folder: Path, hours: float | None = None) -> tuple[Judgement, Sample, Sample]:
    """Return the verdict on files of records, and the two samples: the reference and the records."""
    release = read_release(folder)
    reference = read_sample(folder, release)
    records = read_records(paths, release, hours)
    # All tests permute the same pictures, so that one record without components costs all records theirs.
    lacking = lacking_components(records, release, reference)
    if lacking:
        reference = reference.without_components()
    sample = sample_of(records, reference)
    judgement = replace(judge(records, release, reference, sample), without_components=lacking)
    return judgement, reference, sample
