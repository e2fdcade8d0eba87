"""Make docs/reference/cli.md and docs/reference/training-config.md anew: make docs"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from catsdogs import VERBS

REFERENCE = Path(__file__).parent / "reference"
COMMANDS = (*VERBS, "monitoring render")


def command_line() -> str:
    """Return the page of all verbs, from their `--help`."""
    parts = [
        "# Command line\n\n`catsdogs VERB --help` prints what stands here. This page is made by `make docs`.\n",
        "\n".join(f"- [{verb}](#{verb.replace(' ', '-')})" for verb in COMMANDS),
    ]
    for verb in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "catsdogs", *verb.split(), "--help"],
            capture_output=True,
            check=True,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "COLUMNS": "100"},
        )
        parts.append(f"\n## {verb}\n\n```text\n{done.stdout.rstrip()}\n```")
    return "\n".join(parts) + "\n"


def training_config() -> str:
    """Return the page of all values of a training run, from the typed config and its defaults."""
    from training.config import DEFAULT, Config

    defaults = yaml.safe_load(DEFAULT.read_text())
    parts = [
        "# Training configuration\n\nThe values of `training/config.yaml`. `--config FILE` names a file of your own, "
        "and `--set section.key=value` changes one value. This page is made by `make docs`.",
    ]
    for name, section in Config.model_fields.items():
        rows = [
            f"| `{name}.{key}` | `{'null' if value is None else value}` | {cell(field.description or '')} |"
            for key, field in section.annotation.model_fields.items()  # type: ignore[union-attr]
            for value in [defaults[name][key]]
        ]
        parts.append(f"\n## {name}\n\n| key | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows))
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Return a docstring as the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"cli.md": command_line, "training-config.md": training_config}


def main() -> None:
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())


if __name__ == "__main__":
    main()
