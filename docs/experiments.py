"""The page experiments.md, made from the registry.

python -m docs.experiments --data data --history runs/history/history.json --about "Photographs of cats and dogs."

That reads the runs from MLflow and the versions from the report of `catsdogs history`. It writes experiments.json, from
which the page can be made again without a registry, and experiments.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

FILE = "experiments.json"
MOST = 20
PAGE = """# Experiments

The runs and versions of an experiment with {pictures} test pictures, recorded on {date}. {about}

`python -m docs.experiments` makes this page from an MLflow registry, and `experiments.json` holds what it is made of.

## Best run

{best}

## Runs

By the best validation accuracy of their epochs, with its 95 % interval (Wilson, n = {validated}). The best of several
is too high, because it was selected.

{runs}

## Versions

The archive of each registered version on the same {pictures} test pictures. `lost` counts the pictures that the
champion alone gets right, `won` those that the version alone gets right, and p is of McNemar's exact test.

{versions}
"""


def record(data: Path, history: Path, date: str, about: str) -> dict[str, Any]:
    """Return what the page is made of.

    Args:
        about: sentence on the pictures.
    """
    from training.data import manifest
    from training.registry.select import select

    runs = select(manifest.read(data).sha256).runs[:MOST]
    report = json.loads(history.read_bytes())
    described = [
        {
            "id": run.id,
            "name": run.name,
            "accuracy": run.accuracy,
            "interval": run.bounds,
            "loss": run.loss,
            "pictures": run.pictures,
        }
        for run in runs
    ]
    return {"date": date, "about": about, "runs": described, "history": report}


def page(recorded: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    report, runs = recorded["history"], recorded["runs"]
    best = runs[0]
    released = next((row for row in report["versions"] if row["run_id"] == best["id"]), None)
    sentences = [
        f"`{best['name']}`, id `{best['id']}`: validation accuracy {_interval(best['accuracy'], best['interval'])}."
    ]
    if released and "accuracy" in released:
        shares = _interval(released["accuracy"], (released["low"], released["high"]))
        sentences.append(
            f"It is version {released['version']} (release {released['release']}): {shares} on {released['count']} "
            f"test pictures, log loss {released['log_loss']:.4f}, calibration error {released['ece']:.4f}."
        )
    return PAGE.format(
        pictures=report["test_pictures"],
        date=recorded["date"],
        about=recorded["about"],
        best=" ".join(sentences),
        validated=best["pictures"],
        runs=_table(
            ("run", "id", "accuracy, %", "loss"),
            [
                (
                    f"`{run['name']}`",
                    f"`{run['id'][:12]}`",
                    _interval(run["accuracy"], run["interval"]),
                    f"{run['loss']:.4f}",
                )
                for run in runs
            ],
        ),
        versions=_table(
            ("version", "release", "run", "verdict", "accuracy, %", "log loss", "lost", "won", "p"),
            [_version(row) for row in report["versions"]],
        ),
    )


def _version(row: dict[str, Any]) -> tuple[str, ...]:
    figures = ("", "")
    if "accuracy" in row:
        figures = (_interval(row["accuracy"], (row["low"], row["high"])), f"{row['log_loss']:.4f}")
    compared = ("", "", "")
    if "p" in row:
        compared = (str(row["only_champion"]), str(row["only_this"]), f"{row['p']:.2g}")
    star = " (champion)" if row["champion"] else ""
    run = f"`{row['run_id'][:12]}`" if row["run_id"] else ""
    return (f"{row['version']}{star}", row["release"], run, row["verdict"] or "", *figures, *compared)


def _interval(share: float, bounds: tuple[float, float] | None) -> str:
    shown = f"{100 * share:.2f}"
    return f"{shown} ({100 * bounds[0]:.2f} to {100 * bounds[1]:.2f})" if bounds else shown


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(recorded: dict[str, Any], out: Path) -> None:
    """Write the record and its page to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).write_text(json.dumps(recorded, indent=2) + "\n")
    (out / FILE).with_suffix(".md").write_text(page(recorded))


def main() -> None:
    from datetime import UTC, datetime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="Folder with the manifest.")
    parser.add_argument(
        "--history", type=Path, default=Path("runs/history/history.json"), help="Report of the versions."
    )
    parser.add_argument("--about", required=True, help="Sentence on the pictures.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="Folder that both files are written to."
    )
    arguments = parser.parse_args()
    recorded = record(arguments.data, arguments.history, f"{datetime.now(UTC):%Y-%m-%d}", arguments.about)
    write(recorded, arguments.out)


if __name__ == "__main__":
    main()
