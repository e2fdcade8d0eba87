"""Make docs/reference/cli.md, training-config.md, metrics.md, checklist.md and data-audit.md anew: make docs"""

import textwrap
from pathlib import Path

import yaml
from click.testing import CliRunner

from catsdogs import VERBS, cli
from docs.checklist import checklist
from docs.data_audit import data_audit

REFERENCE = Path(__file__).parent / "reference"
IMAGE = tuple(f"image {name}" for name in ("resize", "crop", "grayscale", "normalize", "show-input"))
# Columns of text that click writes on a terminal of 80 or more.
WIDTH = 78
COMMANDS = (*VERBS, *IMAGE, "monitoring render", "feedback review", "feedback accuracy")
CONTRACT = Path(__file__).parents[1] / "monitoring" / "metrics.yaml"
METRICS = """# Metrics

`GET /metrics` on the metrics port (8082) returns the metrics below and Caddy's (`caddy_*`, `go_*`, `process_*`) in one
scrape. TorchServe's metrics are at `/torchserve/metrics`. The same port has `GET /stats`, a summary as JSON, and
`GET /drift`, a verdict on [drift](server.md#drift). With `catsdogs serve --stats`, `catsdogs gateway --stats` or the
chart's `gateway.stats`, the REST port answers `/stats` too. `--public-metrics`, or `gateway.publicMetrics`, does the
same for `/metrics`. There, both require a key if the server requires keys.

The table is made from `monitoring/metrics.yaml`, which a test compares with a scrape of a real server. This page is
made by `make docs`.

{traffic}

Workers count in memory and write their counters twice a second, not for each request. If a worker is killed, at most
its last half second is lost. Bucket bounds are written as `le="1.0"`, `le="0.25"` for Prometheus 2 and 3 alike.

{table}

## Reference for drift

The features of pictures are measured on the network's input (`handler/features.py`). The release's reference is stored
under the key `reference` of its `release.json`. It sets the edges of the bins, and its shares are exposed beside the
counters:

```json
{{"pictures": 3984,
 "features": {{"brightness": {{"edges": [0.31, 0.42], "shares": [0.3, 0.4, 0.3]}}}},
 "classes": {{"cat": 0.5, "dog": 0.5}}}}
```
"""


def command_line() -> str:
    """Return the page of all verbs, from their `--help`."""
    parts = [
        "# Command line\n\n`catsdogs VERB --help` prints what stands here. This page is made by `make docs`.\n",
        "\n".join(f"- [{verb}](#{verb.replace(' ', '-')})" for verb in COMMANDS),
    ]
    for verb in COMMANDS:
        parts.append(f"\n## {verb}\n\n```text\n{help_of(verb).rstrip()}\n```")
    return "\n".join(parts) + "\n"


def help_of(verb: str) -> str:
    """Return what `--help` prints on a wide terminal."""
    arguments = [*verb.split(), "--help"]
    done = CliRunner().invoke(cli, arguments, prog_name="catsdogs", terminal_width=WIDTH, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


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


def metrics() -> str:
    """Return the page of all metrics, from their contract."""
    contract = yaml.safe_load(CONTRACT.read_text())
    rows = ["| metric | type, unit | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in contract["metrics"]:
        labels = "<br>".join(
            f"`{name}`" + (f": {', '.join(values)}" if values else "") for name, values in metric["labels"].items()
        )
        buckets = f" Buckets: {', '.join(f'{edge:g}' for edge in metric['buckets'])}." if "buckets" in metric else ""
        kind = f"{metric['type']}, {metric['unit']}"
        rows.append(f"| `{metric['name']}` | {kind} | {labels} | {cell(metric['meaning'])}{buckets} |")
    return METRICS.format(traffic="\n".join(textwrap.wrap(contract["traffic"], 120)), table="\n".join(rows))


def cell(text: str) -> str:
    """Return a docstring as the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {
    "cli.md": command_line,
    "training-config.md": training_config,
    "metrics.md": metrics,
    "checklist.md": checklist,
    "data-audit.md": data_audit,
}


def main() -> None:
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())


if __name__ == "__main__":
    main()
