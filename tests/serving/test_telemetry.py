"""The sum of what workers counted, which never goes down, and the gateway's own numbers."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from handler.counts import Counts
from handler.heartbeat import Heartbeat
from serving.gateway.relay.model import Model
from serving.gateway.relay.server import has_short_deadline
from serving.gateway.relay.telemetry import Telemetry as GatewayTelemetry
from serving.telemetry.exposition import encode, worker_families
from serving.telemetry.requests import FINE, OTHER, Requests, request_families
from serving.telemetry.workers import Telemetry, add

MODEL = {"name": "catsdogs", "version": "1", "precision": "fp32", "sha256": "ab", "runtime": "mnn"}
INFO = {"model": MODEL, "batch_limit": 4, "reference": None}


@pytest.fixture
def gone() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def counted(cats: int) -> dict[str, Any]:
    counts = Counts({"brightness": 3})
    for _ in range(cats):
        counts.count_prediction("user", "cat", 0.25)
        counts.count_bins({"brightness": 1})
    counts.busy_s = cats / 2
    return counts.document()


def leave(folder: Path, pid: int, started: float, cats: int) -> Path:
    """Leave the counters of a worker, as its heartbeat does."""
    path = folder / f"{pid}.counts"
    path.write_text(json.dumps({"pid": pid, "started": started, "info": INFO, "counts": counted(cats)}))
    return path


def cats(telemetry: Telemetry, folder: Path) -> int:
    return int(telemetry.look(folder).counts["predictions"]["user"].get("cat", 0))


def test_a_heartbeat_writes_the_counters_whenever_they_have_changed(tmp_path: Path) -> None:
    counts = Counts({"brightness": 3})
    heartbeat = Heartbeat(str(tmp_path))
    heartbeat.snapshot = lambda: {"info": INFO, "counts": counts.document()}
    path = tmp_path / f"{os.getpid()}.counts"
    heartbeat.write_counts()
    written = path.stat().st_mtime_ns, path.stat().st_ino
    heartbeat.write_counts()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    counts.count_prediction("user", "cat", 0.25)
    heartbeat.write_counts()
    assert cats(Telemetry(), tmp_path) == 1


def test_counts_of_a_worker_that_ended_stay_counted_and_its_file_goes(tmp_path: Path, gone: int) -> None:
    telemetry = Telemetry()
    leave(tmp_path, os.getpid(), 1, cats=3)
    left = leave(tmp_path, gone, 2, cats=4)
    assert cats(telemetry, tmp_path) == 7
    assert not left.exists()
    leave(tmp_path, os.getpid(), 1, cats=5)
    assert cats(telemetry, tmp_path) == 9


def test_a_process_that_gets_a_dead_workers_number_begins_at_zero(tmp_path: Path) -> None:
    telemetry = Telemetry()
    leave(tmp_path, os.getpid(), 1, cats=3)
    assert cats(telemetry, tmp_path) == 3
    leave(tmp_path, os.getpid(), 2, cats=1)
    assert cats(telemetry, tmp_path) == 4
    leave(tmp_path, os.getpid(), 2, cats=2)
    assert cats(telemetry, tmp_path) == 5


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": 1}', '{"pid": [], "started": 0, "info": {}, "counts": {}}']
)
def test_a_file_that_cannot_be_read_takes_nothing_from_the_sum(tmp_path: Path, content: str) -> None:
    telemetry = Telemetry()
    path = leave(tmp_path, os.getpid(), 1, cats=3)
    assert cats(telemetry, tmp_path) == 3
    path.write_text(content)
    assert cats(telemetry, tmp_path) == 3
    path.unlink()
    assert cats(telemetry, tmp_path) == 3


def test_a_live_worker_has_a_place_that_its_successor_takes_over(tmp_path: Path) -> None:
    telemetry = Telemetry()
    telemetry._seat([7, 5])
    assert telemetry.places == {5: 0, 7: 1}
    telemetry._seat([7, 9])
    assert telemetry.places == {7: 1, 9: 0}


def test_a_worker_that_no_longer_beats_has_an_age_and_is_not_ready(tmp_path: Path, gone: int) -> None:
    for pid, age_s in ((os.getpid(), 30), (gone, 0)):
        beat = {"pid": pid, "time": time.time() - age_s, "busy_since": None, "batches": 0, "rows": 2}
        (tmp_path / f"{pid}.json").write_text(json.dumps(beat))
    totals = Telemetry().look(tmp_path)
    assert totals.ages_s == {0: pytest.approx(30, abs=1)}
    assert (totals.ready, totals.rows) == (0, 2)


def test_documents_of_the_same_form_add_up() -> None:
    first, second = {"a": 1, "b": [1, 2], "c": {"x": 1}}, {"a": 2.5, "b": [10, 20], "c": {"y": 3}}
    assert add(first, second) == {"a": 3.5, "b": [11, 22], "c": {"x": 1, "y": 3}}
    assert add({}, second) == second


def test_the_models_facts_stay_known_while_every_worker_is_replaced(tmp_path: Path, gone: int) -> None:
    telemetry = Telemetry()
    leave(tmp_path, gone, 1, cats=1)
    assert telemetry.look(tmp_path).infos == [INFO]
    assert telemetry.look(tmp_path).infos == [INFO]


def test_labels_that_need_escaping_are_escaped(tmp_path: Path) -> None:
    telemetry = Telemetry()
    text = encode(worker_families(telemetry.look(tmp_path), ['a "b"', "c\\d"], 1, 32, telemetry.ended, 0)).decode()
    assert 'catsdogs_predictions_total{class="a \\"b\\"",traffic="user"} 0.0' in text
    assert 'class="c\\\\d"' in text


def test_no_client_makes_a_series() -> None:
    requests = Requests()
    before = len(requests.durations), len(requests.problems)
    for number in range(50):
        requests.count("rest", 600 + number, f"made-up-{number}", "user", 0.1)
    assert (len(requests.durations), len(requests.problems)) == (before[0] + 1, before[1])
    assert requests.problems[OTHER, "user"] == 50


def test_the_series_of_ratios_exist_before_the_first_request() -> None:
    text = encode(request_families(Requests())).decode()
    assert 'catsdogs_request_duration_seconds_count{code="503",protocol="grpc",traffic="user"} 0.0' in text
    assert 'le="1.0"' in text
    assert 'le="1"' not in text


def test_the_summary_leaves_probes_out_and_its_percentile_is_right_to_5_percent() -> None:
    requests = Requests()
    assert (requests.mean_s(), requests.quantile_s(0.99)) == (None, None)
    for number in range(1, 1001):
        requests.count("rest", 200, None, "user", number / 1000)
    for _ in range(1000):
        requests.count("rest", 200, None, "probe", 30)
    requests.count("rest", 400, "no_image", "user", 30)
    assert (requests.number("user"), requests.number("probe")) == (1001, 1000)
    assert requests.mean_s() == pytest.approx(0.5005)
    assert requests.quantile_s(0.99) == pytest.approx(0.99, rel=0.05)
    assert requests.quantile_s(0.5) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("seconds", [0, -1, 1e-9, 1e9])
def test_no_duration_breaks_counting(seconds: float) -> None:
    requests = Requests()
    requests.count("grpc", 200, None, "user", seconds)
    assert sum(requests.fine) == 1
    assert len(requests.fine) == FINE


def telemetry_of(run: Path, requests: Requests) -> GatewayTelemetry:
    return GatewayTelemetry(run, requests, Model(run), lambda: (0, 0))


@pytest.mark.parametrize("duration", ["NaN", "Infinity", "-4.6", "1e999", '"soon"', "[" * 30_000])
def test_a_line_with_no_duration_counts_nothing(tmp_path: Path, duration: str) -> None:
    async def take() -> tuple[int, int]:
        requests = Requests()
        telemetry = telemetry_of(tmp_path, requests)
        line = '{"protocol": "rest", "code": 401, "problem": "unauthorized", "duration": %s}'
        telemetry.take_refusal((line % duration).encode())
        before = requests.number("user")
        telemetry.take_refusal((line % "0.25").encode())
        await telemetry.close()
        return before, requests.number("user")

    assert asyncio.run(take()) == (0, 1)


def test_the_summary_is_made_once_for_all_who_ask_within_a_second(tmp_path: Path) -> None:
    async def ask() -> list[Any]:
        telemetry = telemetry_of(tmp_path, Requests())
        summaries = await asyncio.gather(*(telemetry.documents["/stats"].get() for _ in range(20)))
        await telemetry.close()
        return summaries

    first, *others = asyncio.run(ask())
    assert all(other is first for other in others)


@pytest.mark.parametrize(
    ("headers", "short"),
    [
        ({"X-Timeout-Ms": "1"}, True),
        ({"X-Timeout-Ms": "100"}, True),
        ({"X-Timeout-Ms": "101"}, False),
        ({"X-Timeout-Ms": "soon"}, False),
        ({"Grpc-Timeout": "1m"}, True),
        ({"Grpc-Timeout": "5S"}, False),
        ({}, False),
    ],
)
def test_a_deadline_of_a_tenth_of_a_second_is_the_clients_own_affair(headers: dict[str, str], short: bool) -> None:
    assert has_short_deadline(make_mocked_request("POST", "/predictions/catsdogs", headers)) is short
