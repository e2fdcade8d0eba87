"""The history of a run: one line per epoch, kept in history.csv."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from handler.files import UserError, write_atomic


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One row of history.csv; losses are means per picture, rates are pictures per second."""

    epoch: int
    size: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    pictures_per_s: float
    seconds: float


def is_best(history: Sequence[EpochLine]) -> bool:
    """Whether the last epoch has a better validation accuracy than each one before it."""
    *earlier, last = history
    return last.val_accuracy > max((row.val_accuracy for row in earlier), default=-1.0)


def gone_stale(history: Sequence[EpochLine], patience: int) -> bool:
    """Whether the best validation accuracy is `patience` epochs old."""
    if not history or not patience:
        return False
    best = max(history, key=lambda row: (row.val_accuracy, -row.epoch))
    return history[-1].epoch - best.epoch >= patience


def write_history(path: Path, history: Sequence[EpochLine]) -> None:
    rows = [",".join(repr(value) for value in asdict(line).values()) for line in history]
    write_atomic(path, ("\n".join([",".join(EpochLine.__dataclass_fields__), *rows]) + "\n").encode())


def read_whole_history(path: Path) -> list[EpochLine]:
    """Return every line of a history.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        with path.open(newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        return [EpochLine(**{**row, "epoch": int(row["epoch"]), "size": int(row["size"])}) for row in rows]  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is missing or broken, and the run cannot go on without it.") from error


def read_history(path: Path, epochs: int) -> list[EpochLine]:
    """Return the first `epochs` lines of a history.

    Raises:
        UserError: it is missing, broken, or has fewer.
    """
    lines = read_whole_history(path)[:epochs]
    if len(lines) < epochs:
        raise UserError(f"{path} ends before the checkpoint does, and the run cannot go on without it.")
    return lines
