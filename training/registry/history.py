"""All registered versions on the same test pictures -> history.json, history.csv, history.png."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from common.paired import accuracy_difference
from handler.files import UserError, write_atomic
from training.data.manifest import Manifest
from training.evaluation.metrics import Bools, mcnemar
from training.registry.contents import fetch
from training.registry.measure import Measured, measure, test_sha256
from training.registry.registry import (
    ARCHIVE_BYTES,
    PROMOTED_AT,
    RELEASE,
    RUN_ID,
    VERDICT,
    WEIGHTS_SHA256,
    Registry,
    Version,
)

COLUMNS = (
    "version",
    "release",
    "champion",
    "verdict",
    "promoted_at",
    "run_id",
    "accuracy",
    "low",
    "high",
    "right",
    "count",
    "log_loss",
    "ece",
    "megabytes",
    "only_champion",
    "only_this",
    "p",
    "difference",
    "note",
)


@dataclass(frozen=True, slots=True)
class Row:
    version: Version
    measured: Measured | None
    note: str

    @property
    def right(self) -> Bools | None:
        if self.measured is None:
            return None
        return np.asarray(self.measured.probabilities.argmax(axis=1) == self.measured.labels)


def history(
    registry: Registry, name: str, manifest: Manifest, out: Path, on_stage: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Let every version answer the test pictures, and write the table and the plot to `out`.

    Raises:
        UserError: the model has no version.
    """
    versions = registry.versions(name)
    if not versions:
        raise UserError(f"The registry {registry.place} has no {name}. Register one by: catsdogs promote")
    champion = registry.champion(name)
    rows = []
    for version in versions:
        on_stage(f"asking {version}")
        rows.append(_measured(registry, version, manifest))
    number = champion.number if champion else None
    reference = next((row.right for row in rows if row.version.number == number), None)
    compared = [_row(row, number, reference) for row in rows]
    report: dict[str, Any] = {
        "model": name,
        "champion": number,
        "manifest_sha256": manifest.sha256,
        "test_sha256": test_sha256(manifest),
        "test_pictures": len(manifest.split("test")),
        "versions": compared,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "history.json", json.dumps(report, indent=2, allow_nan=False).encode() + b"\n")
    write_atomic(out / "history.csv", _csv(compared))
    draw(report, out / "history.png")
    return report


def _measured(registry: Registry, version: Version, manifest: Manifest) -> Row:
    """Measure one version; what it cannot be measured for is its note, and the others go on."""
    with TemporaryDirectory(prefix="catsdogs-history-") as scratch:
        try:
            measured = measure(fetch(registry, version, Path(scratch)).archive, manifest)
        except UserError as error:
            return Row(version, None, str(error))
    return Row(version, measured, measured.invalid)


def _row(row: Row, champion: int | None, reference: Bools | None) -> dict[str, Any]:
    tags = row.version.tags
    values: dict[str, Any] = {
        "version": row.version.number,
        "release": tags.get(RELEASE),
        "champion": row.version.number == champion,
        "verdict": tags.get(VERDICT),
        "promoted_at": tags.get(PROMOTED_AT),
        "run_id": tags.get(RUN_ID),
        "weights_sha256": tags.get(WEIGHTS_SHA256),
        "megabytes": round(int(tags.get(ARCHIVE_BYTES, "0")) / 1e6, 1),
        "note": row.note,
    }
    if row.measured is None or row.right is None:
        return values
    values |= row.measured.figures
    if reference is not None and row.version.number != champion:
        test = mcnemar(reference, row.right)
        gap = accuracy_difference(test["only_first"], test["only_second"], len(reference))
        values |= {
            "only_champion": test["only_first"],
            "only_this": test["only_second"],
            "p": test["p"],
            "difference": gap.estimate,
            "difference_low": gap.low,
            "difference_high": gap.high,
        }
    return values


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw each version's accuracy with its 95 % interval; the champion is filled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in report["versions"] if "accuracy" in row]
    figure = Figure(figsize=(max(4.0, 1.5 + 0.8 * len(rows)), 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        share = 100 * row["accuracy"]
        below, above = share - 100 * row["low"], 100 * row["high"] - share
        color = "tab:blue" if row["champion"] else "tab:gray"
        face = color if row["champion"] else "white"
        axes.errorbar(
            [place], [share], [[below], [above]], fmt="o", color=color, markerfacecolor=face, capsize=4, zorder=2
        )
    axes.set_xticks(range(len(rows)), [f"{row['version']}\n{row['release']}" for row in rows])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("version, release")
    axes.set_ylabel("accuracy, % (95 % interval)")
    axes.set_title(f"{report['model']}: {report['test_pictures']} test pictures, champion filled")
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=120, metadata={"Software": None})
