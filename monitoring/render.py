"""The files that watch a service: Prometheus' rules, the same for its operator, Sloth's specification, the board."""

import json
from pathlib import Path
from typing import Any

import yaml

from handler.files import UserError
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
    """
    Raises:
        UserError: the folder cannot be made, or is a file.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{out} is a file: name a folder by --out.") from error
    for name, text in texts.items():
        (out / name).write_text(text)
