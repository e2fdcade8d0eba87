"""The files that watch a service: Prometheus' rules, the same for its operator, Sloth's specification, the board."""

import json
from pathlib import Path
from typing import Any

import yaml

from handler.files import UserError, write_atomic
from monitoring.board.dashboard import board
from monitoring.rules import files, sloth
from monitoring.rules.indicators import indicators
from monitoring.rules.model import Target
from monitoring.slo_file import Service


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and refers to nothing by anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def render(target: Target, service: Service) -> dict[str, str]:
    """Return the text of each file by its name."""
    measured = indicators(service.objectives)
    return {
        "rules.yaml": as_yaml(files.rule_file(target, service.objectives)),
        "prometheusrule.yaml": as_yaml(files.manifest(target, service.objectives)),
        "sloth.yaml": as_yaml(sloth.specification(target, measured)),
        "board.json": json.dumps(board(service.objectives), indent=2) + "\n",
    }


def write(texts: dict[str, str], out: Path) -> None:
    """Write the files, each whole: Prometheus may read its rules again at any time.

    Raises:
        UserError: the folder cannot be made or written to, or is a file.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{out} is a file: name a folder by --out.") from error
    except OSError as error:
        raise UserError(f"Cannot make the folder {out}: {error.strerror}.") from error
    if folders := [name for name in texts if (out / name).is_dir()]:
        raise UserError(f"{out / folders[0]} is a folder: move it away, or name another folder by --out.")
    try:
        for name, text in texts.items():
            write_atomic(out / name, text.encode())
    except OSError as error:
        raise UserError(f"Cannot write to {out}: {error.strerror}.") from error
