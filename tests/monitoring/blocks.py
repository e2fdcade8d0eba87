"""Days of series, written into Prometheus' storage as if they had been scraped, and recorded by the rules."""

import contextlib
import json
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.monitoring.drill.processes import process
from tests.monitoring.prometheus import OPENER, Prometheus, free_port

Samples = npt.NDArray[np.float64]
Series = Mapping[str, Samples]
"""Samples by series, such as up{job="catsdogs"}; nan where there is none."""
BLOCK_S = 7200
# Prometheus returns 11,000 points of a series at most.
POINTS = 10_000
START_S, QUERY_S = 60, 300
RECORD_S = 60
"""Time between two evaluations of the recording rules."""
Range = list[tuple[dict[str, str], list[tuple[float, float]]]]
"""Result of a query over a time: labels, and pairs of time and value."""


def add(folder: Path, series: Series, begin: int, every_s: int) -> None:
    """Write series whose first sample is at `begin` into the storage in a folder, block by block."""
    length = max((len(samples) for samples in series.values()), default=0)
    per_block = BLOCK_S // every_s
    for first in range(0, length, per_block):
        lines = []
        for name, samples in series.items():
            part = samples[first : first + per_block]
            times = range(begin + first * every_s, begin + (first + len(part)) * every_s, every_s)
            pairs = zip(part.tolist(), times, strict=True)
            lines += [f"{name} {value:.17g} {at}\n" for value, at in pairs if value == value]
        if lines:
            (folder / "block.txt").write_text("".join(lines) + "# EOF\n")
            promtool(folder, "create-blocks-from", "openmetrics", "block.txt", "data")


def promtool(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["promtool", "tsdb", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


class Stored(Prometheus):
    """A Prometheus that scrapes nothing, and has what was written."""

    def range(self, expr: str, begin: float, end: float, step_s: float) -> Range:
        """Return the samples of a query from `begin` to `end`, in as many requests as it takes."""
        found: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        at = begin
        while at <= end:
            last = min(end, at + (POINTS - 1) * step_s)
            for one in self.ask("query_range", query=expr, start=at, end=last, step=step_s):
                points = found.setdefault(tuple(sorted(one["metric"].items())), [])
                points += [(float(moment), float(value)) for moment, value in one["values"]]
            at = last + step_s
        return [(dict(labels), points) for labels, points in found.items()]

    def ask(self, what: str, **parameters: object) -> list[dict[str, Any]]:
        data = urllib.parse.urlencode(parameters).encode()
        with OPENER.open(f"{self.url}/api/v1/{what}", data, timeout=QUERY_S) as response:
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return result


@contextlib.contextmanager
def stored(folder: Path) -> Iterator[Stored]:
    """Run Prometheus on the storage in a folder."""
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    port = free_port()
    options = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=10y",
        # Blocks stay as they are: to merge them takes longer than all queries.
        "--storage.tsdb.min-block-duration=2h",
        "--storage.tsdb.max-block-duration=2h",
        "--query.timeout=5m",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with process("prometheus", *options, folder=folder):
        made = Stored(port)
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                made.query("vector(1)")
                break
            assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()[-2000:]
            time.sleep(0.1)
        yield made


def record(folder: Path, groups: Sequence[Mapping[str, Any]], begin: int, end: int) -> None:
    """Add what the recording rules of these groups make of the series that are stored.

    `promtool tsdb create-blocks-from rules` does the same, and writes a block for each rule and two hours.
    """
    made: dict[str, Samples] = {}
    count = (end - begin) // RECORD_S + 1
    with stored(folder) as prometheus:
        for rule in (rule for group in groups for rule in group["rules"] if "record" in rule):
            for labels, points in prometheus.range(rule["expr"], begin, end, RECORD_S):
                own = {**labels, **rule.get("labels", {})}
                own.pop("__name__", None)
                key = rule["record"] + "{" + ",".join(f'{name}="{value}"' for name, value in own.items()) + "}"
                samples = made.setdefault(key, np.full(count, np.nan))
                for at, value in points:
                    samples[round((at - begin) / RECORD_S)] = value
    add(folder, made, begin, RECORD_S)
