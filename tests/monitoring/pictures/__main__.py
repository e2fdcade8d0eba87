"""Write docs/pictures of the board, quiet and in an incident: python -m tests.monitoring.pictures

Both are six simulated hours of two pods, stored in a real Prometheus and recorded by the rules.
"""

import json
import re
import signal
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml

from monitoring.render import render
from monitoring.rules.model import Target
from monitoring.slo_file import read
from tests.monitoring.blocks import Samples, add, record, stored
from tests.monitoring.firing import Firing, all_fired
from tests.monitoring.pictures.incident import EVERY_S, HOURS, State, quiet, service, slow_decode
from tests.monitoring.pictures.paint import paint
from tests.monitoring.pictures.queried import STEP_S, Drawn, annotations, drawn
from tests.zoo import ROOT

# Noon, some day.
BEGIN = 1_790_553_600 + 12 * 3600
END = BEGIN + HOURS * 3600
RECORDED = re.compile(r"\b(?:slo|catsdogs):[\w:]+")
PICTURES: dict[str, tuple[State, str]] = {
    "board-quiet.png": (quiet, "catsdogs: six quiet hours"),
    "board-slow-decode.png": (slow_decode, "catsdogs: pictures take long to decode since 17:10"),
}
# What fits a page; the row about GPUs needs one, and drift takes days.
ROWS = ("Service level", "Requests", "Stages", "Saturation")


def passes(groups: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the recording rules in groups to be recorded one after the other: a rule reads what is stored."""
    left = [rule for group in groups for rule in group["rules"] if "record" in rule]
    made: list[list[dict[str, Any]]] = []
    while left:
        waiting = {rule["record"] for rule in left}
        ready = [rule for rule in left if not waiting & set(RECORDED.findall(rule["expr"]))]
        assert ready, waiting
        made.append([{"name": "ready", "rules": ready}])
        left = [rule for rule in left if rule not in ready]
    return made


def as_series(found: list[Firing]) -> dict[str, Samples]:
    """Return the series ALERTS that Prometheus would have written."""
    made: dict[str, Samples] = {}
    moments = np.arange(BEGIN, END + 1, STEP_S)
    for one in found:
        labels = {**dict(one.labels), "alertname": one.alert, "alertstate": "firing"}
        key = "ALERTS{" + ",".join(f'{name}="{value}"' for name, value in labels.items() if name[0] != "_") + "}"
        fires = (moments >= one.begin) & (moments <= one.end)
        made[key] = np.where(fires, 1.0, made.get(key, np.full(len(moments), np.nan)))
    return made


def asked(state: State) -> tuple[list[Drawn], list[tuple[str, float, float]]]:
    """Return the panels and annotations of the board over these hours."""
    texts = render(Target("catsdogs"), read(ROOT / "loadtest" / "slo.yaml"))
    rules, board = yaml.safe_load(texts["rules.yaml"]), json.loads(texts["board.json"])
    with tempfile.TemporaryDirectory(prefix="catsdogs-board-") as name:
        folder = Path(name)
        add(folder, service(state), BEGIN, EVERY_S)
        for groups in passes(rules["groups"]):
            record(folder, groups, BEGIN, END)
        with stored(folder) as prometheus:
            alerts = as_series(all_fired(prometheus, rules, BEGIN, END))
        if alerts:
            add(folder, alerts, BEGIN, STEP_S)
        with stored(folder) as prometheus:
            return list(drawn(prometheus, board, BEGIN, END)), annotations(prometheus, board, BEGIN, END)


def picture(state: State, title: str, out: Path) -> None:
    panels, marks = asked(state)
    heads = [index for index, one in enumerate(panels) if one.panel["type"] == "row"]
    bounds = zip(heads, [*heads[1:], len(panels)], strict=True)
    shown = [
        one for first, last in bounds if panels[first].panel["title"].startswith(ROWS) for one in panels[first:last]
    ]
    paint(shown, marks, title, BEGIN, END, out)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="Folder.")
def main(out: Path) -> None:
    """Draw the board from its own queries."""
    # SIGTERM would end Python and leave Prometheus running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name, (state, title) in PICTURES.items():
        picture(state, title, out / name)
        click.echo(f"Wrote {out / name}, {(out / name).stat().st_size // 1000} kB.")


if __name__ == "__main__":
    main()
