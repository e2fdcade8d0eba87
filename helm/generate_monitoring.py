"""Make the chart's rules and board from loadtest/slo.yaml: files/rules.yaml, files/board.json, and those of profiles.

    python helm/generate_monitoring.py      (part of `make chart`; needs .venv-load)

What a release decides stands in them as a placeholder, which templates/prometheusrule.yaml replaces.
"""

import json
from pathlib import Path

from monitoring.board.dashboard import board
from monitoring.cli import SLO
from monitoring.render import as_yaml
from monitoring.rules.files import rule_file
from monitoring.rules.model import Target
from monitoring.slo_file import read

FILES = Path(__file__).parent / "files"
# Profiles that `sloProfile` of the chart names; empty for the objectives as they are.
PROFILES = ("", "shared")
TARGET = Target("__SERVICE__", "__SELECTOR__", {"namespace": "__NAMESPACE__"}, "__RUNBOOK__")


def made() -> dict[str, str]:
    """Return the text of each file by its name."""
    texts = {}
    for profile in PROFILES:
        objectives = read(SLO, profile or None).objectives
        suffix = f"-{profile}" if profile else ""
        texts[f"rules{suffix}.yaml"] = as_yaml(rule_file(TARGET, objectives))
        texts[f"board{suffix}.json"] = json.dumps(board(objectives), separators=(",", ":")) + "\n"
    return texts


def main() -> None:
    FILES.mkdir(exist_ok=True)
    for name, text in made().items():
        (FILES / name).write_text(text)


if __name__ == "__main__":
    main()
