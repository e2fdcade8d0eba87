"""The report on a pull request, in Markdown: the model's changes by DVC, the load test with its plot, and the coverage.

python -m docs.change_report --base origin/main --load runs/load/quick/summary.json --out build/report.md

A part whose input is missing says so in a line, so that a report on the documentation alone is short. The plots are
Mermaid's, which GitHub and GitLab draw in comments, where no file can be shown. `make report` makes it of what is here.
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from handler.files import UserError, first_line
from loadtest.judge.summary import Summary
from loadtest.report import compare
from loadtest.report.words import duration, plain, rate

ROOT = Path(__file__).parents[1]
PIPELINE = Path("training/dvc.yaml")
HISTORY = Path("runs/dvc/history.csv")
# GitHub takes 65,536 characters in a comment.
LONGEST = 60_000
CUT = "\n\nThe report was cut here. The job's artifact has all of it.\n"


def dvc(root: Path, program: str, *arguments: str) -> tuple[str, str]:
    """Run DVC in a repository and return what it prints, and its warnings.

    Raises:
        UserError: it fails.
    """
    try:
        done = subprocess.run(
            [program, *arguments], cwd=root, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}
        )
    except FileNotFoundError as error:
        raise UserError(f"{program} is not here: make .venv-dvc/.installed installs DVC.") from error
    if done.returncode != 0:
        reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(f"dvc {' '.join(arguments)}: {(reasons or ['it failed without a reason'])[0]}")
    return done.stdout.strip(), done.stderr.strip()


def model(root: Path, program: str, base: str) -> list[str]:
    """Return the part on the model: metrics and parameters that differ from a base, and accuracy by epoch."""
    if not (root / PIPELINE.with_suffix(".lock")).exists():
        return ["No model is versioned here: `training/dvc.lock` does not exist."]
    lines = []
    for what in ("metrics", "params"):
        table, warnings = dvc(root, program, what, "diff", "--md", base)
        # DVC prints a table's two first lines where nothing differs, and where it has nothing to compare.
        if table.count("\n") > 1:
            lines += [table, ""]
        elif "failed to load" in warnings:
            lines += [f"The {what} were not compared: their files are not here, and `dvc pull` fetches them.", ""]
        else:
            lines += [f"No {what} differ from `{base}`.", ""]
    return lines + accuracy_curves(root, program, base)


def accuracy_curves(root: Path, program: str, base: str) -> list[str]:
    """Return the plot of validation accuracy by epoch, of the base and of this tree; nothing if it is not here."""
    curves = {}
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "history.csv"
        try:
            dvc(root, program, "get", ".", str(HISTORY), "--rev", base, "--out", str(old))
            curves["base"] = read_accuracy(old)
        except UserError:
            pass  # the base has no such run, or its files are in no cache and no remote
    if not (root / HISTORY).exists():
        return []
    try:
        curves["this change"] = read_accuracy(root / HISTORY)
    except UserError as error:
        return [first_line(error), ""]
    names = ", ".join(curves)
    return [f"Validation accuracy by epoch ({names}):", "", *plot("epoch", "accuracy", list(curves.values()))]


def read_accuracy(history: Path) -> list[float]:
    """
    Raises:
        UserError: the file has no accuracy by epoch.
    """
    try:
        with history.open(newline="") as file:
            values = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
        if not values or not all(map(math.isfinite, values)):
            raise ValueError("no values")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{history.name} has no accuracy by epoch.") from error
    return values


def plot(x: str, y: str, lines: Sequence[Sequence[float]]) -> list[str]:
    """Return a line chart of Mermaid."""
    values = [value for line in lines for value in line]
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or 0.05
    chart = [f'  x-axis "{x}" 1 --> {max(2, *map(len, lines))}']
    chart += [f'  y-axis "{y}" {low - room:.4g} --> {high + room:.4g}']
    chart += [f"  line [{', '.join(f'{value:.5g}' for value in line)}]" for line in lines]
    return ["```mermaid", "xychart-beta", *chart, "```", ""]


def load(summary: Summary, old: Summary | None) -> list[str]:
    """Return the part on the load test: its verdict, a table by protocol, and p99 by second."""
    lines = [f"**{summary.verdict}**, on {summary.machine.processors:g} processors ({summary.machine.processor}).", ""]
    lines += [f"- {plain(sentence)}" for sentence in [*summary.reasons, *summary.warnings]]
    lines += ["", "| protocol | due | answered | failed | p50 | p95 | p99 | rate |", "| --- " * 8 + "|"]
    for row in summary.rows:
        if row.stage == "all":
            times = [duration(getattr(row.latency, name) if row.latency else None) for name in ("p50", "p95", "p99")]
            cells = [row.name, str(row.due), str(row.answered), str(row.failed + row.dropped), *times]
            lines.append(f"| {' | '.join([*cells, rate(row.answered_rate)])} |")
    if old is not None:
        lines += ["", *compared(compare.compare(old, summary))]
    names = list(dict.fromkeys(second.name for second in summary.seconds if second.p99 is not None))
    seconds = {name: [1000 * s.p99 for s in summary.seconds if s.name == name and s.p99 is not None] for name in names}
    if seconds:
        lines += ["", f"p99 by second ({', '.join(names)}):", "", *plot("second", "ms", list(seconds.values()))]
    return lines


def compared(comparison: compare.Comparison) -> list[str]:
    """Return a table of what changed since an earlier test, and why the two may not be comparable."""
    lines = [f"Since {comparison.old.started}:", "", "| protocol | p50 | p95 | p99 | answered | failed |"]
    lines.append("| --- " * 6 + "|")
    for change in comparison.changes:
        cells = [cell.replace("\n", "<br>") for cell in compare.cells(change)]
        lines.append(f"| {change.name} | {' | '.join(cells)} |")
    return [*lines, "", *(f"- Not comparable: {plain(warning)}" for warning in comparison.warnings)]


def coverage(report: Path) -> list[str]:
    try:
        totals = json.loads(report.read_bytes())["totals"]
        return [
            f"{totals['percent_covered']:.1f} % of {totals['num_statements']:,} statements and "
            f"{totals['num_branches']:,} branches."
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{report} is no report of `coverage json`: make coverage writes one.") from error


def part(title: str, lines: Sequence[str]) -> str:
    return f"### {title}\n\n" + "\n".join(lines).strip() + "\n"


def report(options: argparse.Namespace) -> str:
    """Return the report.

    Raises:
        UserError: an input cannot be read.
    """
    parts = [f"## What this change does\n\nCompared with `{options.base}`.\n"]
    try:
        parts.append(part("Model", model(options.root, options.dvc, options.base)))
    except UserError as error:
        parts.append(part("Model", [f"The models could not be compared. {first_line(error)}"]))
    if options.load is not None and options.load.exists():
        old = compare.read(options.old_load) if options.old_load and options.old_load.exists() else None
        parts.append(part("Load test", load(compare.read(options.load), old)))
    else:
        parts.append(part("Load test", ["Not run."]))
    measured = options.coverage is not None and options.coverage.exists()
    parts.append(part("Coverage", coverage(options.coverage) if measured else ["Not measured."]))
    text = "\n".join(parts)
    return text if len(text) <= LONGEST else text[:LONGEST] + CUT


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the report on a pull request.")
    parser.add_argument("--base", required=True, help="commit that the change is compared with")
    parser.add_argument("--load", type=Path, help="summary.json of the load test")
    parser.add_argument("--old-load", type=Path, help="summary.json of an earlier load test, to compare with")
    parser.add_argument("--coverage", type=Path, help="report of `coverage json`")
    parser.add_argument("--dvc", default=str(ROOT / ".venv-dvc" / "bin" / "dvc"), help="program of DVC")
    parser.add_argument("--root", type=Path, default=ROOT, help="repository that is reported on")
    parser.add_argument("--out", type=Path, required=True, help="file for the report")
    options = parser.parse_args(arguments)
    try:
        text = report(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    except (OSError, UserError) as error:
        print(f"No report was written. {first_line(error)}", file=sys.stderr)
        return 2
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
