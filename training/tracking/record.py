"""The file in a run's folder that says where the run is tracked."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from handler.files import write_atomic
from training.tracking.tracker import without_credentials

FILE = "tracking.json"


@dataclass(frozen=True, slots=True)
class Record:
    """A tracked run: its tracker's name, the tracker's place, the run's id there, and how many epochs were logged."""

    tracker: str
    place: str
    run: str
    epochs: int = 0


def read_record(folder: Path) -> Record | None:
    """Return the record of a run, or None where it is not tracked or the file is broken."""
    try:
        return Record(**json.loads((folder / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Write the record. A password in the place's address stays in the environment: the folder may be shared."""
    record = replace(record, place=without_credentials(record.place))
    write_atomic(folder / FILE, json.dumps(asdict(record), indent=2).encode() + b"\n")
