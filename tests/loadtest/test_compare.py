"""Two summaries side by side."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.verdicts import Verdict
from handler.files import UserError
from loadtest.judge.summary import Summary
from loadtest.report.compare import Pair, compare, read, text
from loadtest.report.report import write
from tests.loadtest.support import build


@pytest.fixture(scope="module")
def old() -> Summary:
    return build(failing=0.01)


def altered(summary: Summary, part: str, **fields: Any) -> Summary:
    return summary.model_copy(update={part: getattr(summary, part).model_copy(update=fields)})


def test_the_same_summary_has_ratios_of_one_and_no_warning(old: Summary) -> None:
    comparison = compare(old, old)
    assert [change.name for change in comparison.changes] == ["rest", "grpc"]
    ratios = [
        pair.ratio
        for change in comparison.changes
        for pair in (change.p50, change.p95, change.p99, change.answered_rate, change.failed_share)
    ]
    assert ratios == [1.0] * 10
    assert comparison.comparable


def test_ratios_are_new_by_old() -> None:
    stalled = build(failing=0, duration=30)
    slower = build(failing=0, duration=30, slower=2)
    change = compare(stalled, slower).changes[0]
    assert change.p50.ratio == pytest.approx(2, rel=0.02)
    assert change.p95.ratio == pytest.approx(2, rel=0.02)
    assert change.answered_rate.ratio == pytest.approx(1)


def test_the_failed_share_counts_what_was_never_sent(old: Summary) -> None:
    rows = [row.model_copy(update={"due": 100, "answered": 85, "failed": 10, "dropped": 5}) for row in old.rows]
    new = old.model_copy(update={"rows": rows})
    assert compare(old, new).changes[0].failed_share.new == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("before", "after", "ratio"), [(0, 0, None), (0, 0.1, math.inf), (None, 1, None), (2, None, None), (2, 1, 0.5)]
)
def test_a_ratio_needs_two_figures(before: float | None, after: float | None, ratio: float | None) -> None:
    assert Pair(before, after).ratio == ratio


def test_protocols_that_only_one_of_them_has_are_left_out(old: Summary) -> None:
    comparison = compare(old, build(protocols=("grpc", "kserve"), duration=10))
    assert [change.name for change in comparison.changes] == ["grpc"]
    assert "Other protocols: rest, grpc, now grpc, kserve." in comparison.warnings


@pytest.mark.parametrize(
    ("part", "fields", "warning"),
    [
        (
            "machine",
            {"processor": "Neoverse"},
            "Another processor: Intel(R) Xeon(R) Processor @ 2.60GHz, now Neoverse.",
        ),
        ("machine", {"processors": 4}, "Another number of processors: 2, now 4."),
        ("machine", {"processes": 3}, "Another number of processes made the load: 1, now 3."),
        ("plan", {"loop": "closed"}, "The loop was open, and is closed: a closed loop hides how long requests waited."),
        ("plan", {"pictures_sha256": "cd"}, "Other pictures were sent."),
        ("plan", {"shape": "soak"}, "Another plan: staircase to 80/s for 60\u00a0s, now soak to 80/s for 60\u00a0s."),
        ("plan", {"bad_share": 0.05}, "Another share of broken pictures: 0\u00a0%, now 5\u00a0%."),
    ],
)
def test_what_else_differs_is_warned_of(old: Summary, part: str, fields: dict[str, Any], warning: str) -> None:
    comparison = compare(old, altered(old, part, **fields))
    assert comparison.warnings == (warning,)
    assert not comparison.comparable


def test_another_model_is_what_is_compared(old: Summary) -> None:
    assert compare(old, altered(old, "target", sha256="cd" * 32, version="0.3.0")).comparable


def test_a_measurement_that_is_worth_nothing_is_warned_of(old: Summary) -> None:
    comparison = compare(old.model_copy(update={"verdict": Verdict.INVALID}), old)
    assert comparison.warnings == ("The old measurement is INVALID: its figures cannot be trusted.",)


def test_the_terminal_gets_ratios_and_warnings(old: Summary) -> None:
    console = Console(width=110)
    with console.capture() as capture:
        console.print(text(compare(old, altered(build(failing=0.01, slower=2), "plan", pictures_sha256="cd"))))
    assert "\u00d71.99" in capture.get()
    assert "Not comparable: Other pictures were sent." in capture.get()


def test_what_was_written_is_read(tmp_path: Path, old: Summary) -> None:
    write(old, tmp_path)
    assert read(tmp_path / "summary.json") == old


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read .*No such file"),
        (b"<html>", "is not JSON"),
        (b"\xff\xfe\xfa", "is not JSON"),
        (b"[1]", "is not a load test's summary: it has no schema_version"),
        (b'{"schema_version": 2}', "has schema_version 2, and this version of catsdogs reads 1"),
        (b'{"schema_version": 1}', "is not a load test's summary: started: Field required"),
    ],
)
def test_what_is_no_summary_is_refused_in_one_sentence(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(path)


def test_an_unknown_field_is_refused_by_its_name(tmp_path: Path, old: Summary) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**old.model_dump(mode="json"), "colour": "red"}))
    with pytest.raises(UserError, match="colour"):
        read(path)
