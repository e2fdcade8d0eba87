"""Tests of the cost of monitoring: the ratios and their interval, the verdict, the report, and the two real servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.verdicts import Verdict
from handler.files import UserError
from loadtest.judge.server import read
from loadtest.monitoring_cost import sides
from loadtest.monitoring_cost.pairs import Pair, Ratio, Slice, objections, ratio_of, verdict_of
from loadtest.monitoring_cost.report import write
from loadtest.monitoring_cost.sides import OFF, ON, check
from loadtest.stages.report import Setting

ROOT = Path(__file__).parents[2]
SETTING = Setting("Xeon", ["AVX2"], cores=2, stolen=0.0, python="3.12", git="4d34f992b5c5", tiny=False)


def pairs(ratio: float, clients: int = 8, rounds: int = 3, each: int = 4) -> list[Pair]:
    """Return pairs of this ratio by rate; by CPU time it is 0.8."""
    off = Slice(rate=100.0, cpu_ms=8.0)
    on = Slice(rate=100.0 * ratio, cpu_ms=10.0)
    return [Pair(clients, turn, on, off) for turn in range(rounds) for _ in range(each)]


def test_a_ratio_is_that_of_a_pair() -> None:
    (pair, *_) = pairs(0.9)
    assert pair.by_rate == pytest.approx(0.9)
    assert pair.by_cpu == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("count", "left_out"),
    # From tables of the sign test: the interval is from the value after so many, to the one before as many.
    [(6, 0), (8, 0), (9, 1), (12, 2), (20, 5), (30, 9)],
)
def test_the_interval_of_a_median_leaves_out_as_many_of_the_sorted_values_as_95_percent_allow(
    count: int, left_out: int
) -> None:
    values = [1 + number / 100 for number in range(count)]
    ratio = ratio_of(values[::-1])
    assert (ratio.low, ratio.high) == (values[left_out], values[-1 - left_out])
    assert ratio.low < ratio.middle < ratio.high


def test_five_pairs_have_no_interval_and_decide_nothing() -> None:
    ratio = ratio_of([0.99, 0.99, 1.0, 1.0, 1.01])
    assert ratio.middle == 1.0
    assert ratio.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.97, 1.02, Verdict.PASS),
        (0.96, 1.02, Verdict.INCONCLUSIVE),
        (0.90, 0.97, Verdict.INCONCLUSIVE),
        (0.90, 0.96, Verdict.BREACH),
    ],
)
def test_the_whole_interval_must_be_on_one_side_of_the_least_ratio(low: float, high: float, verdict: Verdict) -> None:
    assert Ratio(0.97, low, high).verdict is verdict


def test_the_verdict_is_the_worst_over_the_numbers_of_clients() -> None:
    assert verdict_of([*pairs(0.98), *pairs(0.99, clients=32)]) is Verdict.PASS
    assert verdict_of([*pairs(0.98), *pairs(0.90, clients=32)]) is Verdict.BREACH
    unsure = [pair for ratio in (0.9, 1.0, 1.1) for pair in pairs(ratio, clients=32, each=2)]
    assert verdict_of([*pairs(0.98), *unsure]) is Verdict.INCONCLUSIVE


def test_rounds_that_differ_allow_no_verdict() -> None:
    slow = Slice(rate=70.0, cpu_ms=8.0)
    differing = [*pairs(1.0), *(Pair(8, 3, slow, slow) for _ in range(4))]
    assert verdict_of(differing) is Verdict.INVALID
    assert [sentence.partition(":")[0] for sentence in objections(differing)] == [
        "Monitoring on, 8 clients",
        "Monitoring off, 8 clients",
    ]
    assert verdict_of(pairs(1.0, rounds=2)) is Verdict.INVALID


def test_the_report_says_what_off_means_and_shows_ratios_with_intervals(tmp_path: Path) -> None:
    verdict = write([*pairs(0.98), *pairs(0.99, clients=32)], tmp_path, SETTING)
    text = (tmp_path / "monitoring-cost.md").read_text()
    assert verdict is Verdict.PASS
    assert sides.MEANING in text
    assert (
        "| 8 | 98.0 / 100.0 | **0.980 (0.980 to 0.980)** | 10.00 / 8.00 | 0.800 (0.800 to 0.800) | 12 |"
        in text.splitlines()
    )
    assert json.loads((tmp_path / "monitoring-cost.json").read_text())["verdict"] == "PASS"


def counted(gateway: int, workers: int, caddy: int) -> str:
    return (
        f'catsdogs_request_duration_seconds_count{{code="200"}} {gateway}\n'
        f"catsdogs_batch_pictures_count {workers}\n"
        f'caddy_http_requests_total{{server="rest"}} {caddy}\n'
    )


def test_a_server_that_is_not_what_it_is_called_is_not_compared(tmp_path: Path) -> None:
    records = tmp_path / "records"
    check(OFF, read(counted(0, 0, 0)), records)
    with pytest.raises(UserError, match="monitoring on counted 9 requests in the relay"):
        check(ON, read(counted(9, 3, 9)), records)
    records.mkdir()
    (records / "records-1.jsonl").touch()
    check(ON, read(counted(9, 3, 9)), records)
    for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        with pytest.raises(UserError, match="monitoring off counted"):
            check(OFF, read(counted(*one)), records)


def test_an_archive_of_another_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catsdogs.mar").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read"):
        sides.prepare(tmp_path / "catsdogs.mar", tmp_path)


def test_both_real_servers_are_measured_and_the_one_counts_nothing(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--pairs", "1", "--seconds", "1", "--warmup-requests", "1", "--clients", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.monitoring_cost", *options, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Verdict.INVALID.exit_code, done.stderr
    document = json.loads((tmp_path / "monitoring-cost.json").read_text())
    assert document["reasons"] == ["Too few rounds: 1, where a median takes at least 3."]
    (pair,) = document["pairs"]
    assert min(pair["on"]["rate"], pair["off"]["rate"], pair["on"]["cpu_ms"], pair["off"]["cpu_ms"]) > 0
