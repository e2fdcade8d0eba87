"""The workflows of .github, as GitHub reads them, and programs that stand in for what cannot be here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.zoo import ROOT

FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
ACTIONS = sorted((FOLDER / "actions").glob("*/action.yml"))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a job, or of an action of this repository."""

    file: Path
    job: str
    number: int
    fields: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.file.relative_to(FOLDER)}: {self.job}, step {self.number}"

    @property
    def uses(self) -> str:
        return str(self.fields.get("uses", ""))

    @property
    def run(self) -> str:
        return str(self.fields.get("run", ""))


def read(path: Path) -> dict[Any, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def triggers(workflow: dict[Any, Any]) -> dict[str, Any]:
    """Return what starts a workflow. YAML 1.1 reads the key `on` as true."""
    on = workflow[True]
    return dict(on) if isinstance(on, dict) else dict.fromkeys([on] if isinstance(on, str) else on)


def jobs() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yield each job that has steps. One without calls another workflow."""
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            if "uses" not in job:
                yield path, name, job


def steps() -> Iterator[Step]:
    """Yield each step of each job, and of each action of this repository."""
    for path, name, job in jobs():
        for number, fields in enumerate(job.get("steps", []), 1):
            yield Step(path, name, number, fields)
    for path in ACTIONS:
        for number, fields in enumerate(read(path)["runs"]["steps"], 1):
            yield Step(path, "action", number, fields)


def stand_in(folder: Path, name: str, script: str = "") -> Path:
    """Make a program that writes its name and arguments to calls.txt beside it, and then runs a script.

    It stands in for a program that needs what is not here: a daemon of docker with a registry, or a cluster of kind.
    """
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/calls.txt"\n{script}\n')
    program.chmod(0o755)
    return program


def calls(folder: Path) -> list[str]:
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []
