"""The document of GET /drift: windows, thresholds and verdicts, from made counters."""

import asyncio
from typing import Any

import numpy as np
import pytest

from common.psi import DESIGN_EFFECT, LARGE, critical, judge, least_pictures
from common.verdicts import Verdict
from serving.gateway.relay.drift import Drift
from serving.telemetry.drift import EVERY_S, History, Snapshot, document, drift, read_snapshot
from serving.telemetry.exposition import encode, worker_families
from serving.telemetry.workers import Totals

MODEL = {"name": "catsdogs", "version": "1", "precision": "fp32", "sha256": "0" * 64, "runtime": "mnn"}
SHARES = {"brightness": (0.1,) * 10, "predicted_class": (0.5, 0.5)}
REFERENCE = 4000
HOUR = 3600.0


def snapshot(hours: float, *counts: int, classes: tuple[int, int] = (0, 0), sha256: str = "0") -> Snapshot:
    brightness = counts or (0,) * 10
    return Snapshot(
        hours * HOUR, {"sha256": sha256}, REFERENCE, SHARES, {"brightness": brightness, "predicted_class": classes}
    )


def verdict_on(*snapshots: Snapshot) -> dict[str, Any]:
    """Return the document at the last of these snapshots."""
    history = History()
    for each in snapshots:
        history.add(each)
    return drift(history, snapshots[-1])


def counted(made: dict[str, Any], window: int) -> list[int]:
    counts: list[int] = made["windows"][window]["features"]["brightness"]["counts"]
    return counts


def test_enough_pictures_like_the_reference_pass() -> None:
    made = verdict_on(snapshot(0), snapshot(1, *[300] * 10, classes=(1500, 1500)))
    assert (made["verdict"], made["reason"]) == ("PASS", "Nothing differs from the reference over 24 hours.")


def test_too_few_pictures_are_inconclusive_and_it_says_how_many_are_needed() -> None:
    made = verdict_on(snapshot(0), snapshot(1, *[20] * 10, classes=(100, 100)))
    needed = least_pictures(10, REFERENCE)
    assert made["verdict"] == "INCONCLUSIVE"
    assert (
        made["reason"]
        == f"There are 200 pictures since 1970-01-01T00:00:00Z; {needed} are needed to exclude a large drift."
    )
    assert critical(10, needed or 0, REFERENCE) <= LARGE < critical(10, (needed or 0) - 1, REFERENCE)


def test_a_large_drift_takes_fewer_pictures() -> None:
    made = verdict_on(snapshot(0), snapshot(1, 250, *[10] * 9, classes=(170, 170)))
    assert made["verdict"] == "BREACH"
    assert made["reason"] == "These differ from the reference over 6 hours: brightness."


def test_of_a_small_drift_many_pictures_make_no_large_one() -> None:
    made = verdict_on(snapshot(0), snapshot(1, 11_000, 9_000, *[10_000] * 8, classes=(50_000, 50_000)))
    assert made["verdict"] == "PASS"


def test_bursts_of_near_identical_pictures_raise_nothing() -> None:
    """In 500 windows of 20 to 3,000 pictures, in bursts of ten that share a bin."""
    rng, breaches = np.random.default_rng(0), 0
    for _ in range(500):
        bursts = int(rng.integers(2, 300))
        counts = DESIGN_EFFECT * rng.multinomial(bursts, SHARES["brightness"])
        by_class = DESIGN_EFFECT * rng.multinomial(bursts, SHARES["predicted_class"])
        made = verdict_on(snapshot(0), snapshot(1, *counts.tolist(), classes=tuple(by_class.tolist())))
        breaches += made["verdict"] == "BREACH"
    assert breaches == 0


def test_windows_are_the_last_hours_or_since_the_start() -> None:
    total = [snapshot(hours, *[hours] * 10) for hours in range(31)]
    made = verdict_on(*total)
    assert [counted(made, window)[0] for window in (0, 1)] == [6, 24]
    assert [window["since"] for window in made["windows"]] == ["1970-01-02T00:00:00Z", "1970-01-01T06:00:00Z"]
    assert [counted(verdict_on(*total[:4]), window)[0] for window in (0, 1)] == [3, 3]


def test_a_drift_of_the_last_hours_shows_though_the_day_is_calm() -> None:
    calm = [hours * 200 for hours in range(19)]
    before = [snapshot(hours, *[count] * 10, classes=(count * 5, count * 5)) for hours, count in enumerate(calm)]
    dark = snapshot(24, calm[-1] + 3000, *[calm[-1]] * 9, classes=(calm[-1] * 5 + 1500,) * 2)
    made = verdict_on(*before, dark)
    assert [window["verdict"] for window in made["windows"]] == ["BREACH", "PASS"]
    assert made["verdict"] == "BREACH"


def test_only_a_days_snapshots_are_kept() -> None:
    history = History()
    for number in range(1000):
        history.add(snapshot(number * EVERY_S / HOUR, *[number] * 10))
    assert len(history.snapshots) == 24 * HOUR / EVERY_S + 1


@pytest.mark.parametrize("after", [snapshot(2, *[5] * 10), snapshot(2, *[50] * 10, sha256="1")], ids=["same", "other"])
def test_counters_that_began_anew_are_a_new_window(after: Snapshot) -> None:
    made = verdict_on(snapshot(0), snapshot(1, *[40] * 10), after)
    assert counted(made, 0) == list(after.counts["brightness"])
    assert made["windows"][0]["since"] == "1970-01-01T01:00:00Z"


def test_another_reference_of_the_same_network_is_a_new_window() -> None:
    before = Snapshot(0.0, {"sha256": "0"}, REFERENCE, {"predicted_class": (0.5, 0.5)}, {"predicted_class": (0, 0)})
    shares = {"predicted_class": (0.4, 0.3, 0.3)}
    after = Snapshot(HOUR, {"sha256": "0"}, REFERENCE, shares, {"predicted_class": (4, 3, 3)})
    made = verdict_on(before, after)
    assert made["windows"][0]["features"]["predicted_class"]["counts"] == [4, 3, 3]


def test_metrics_that_cannot_be_read_do_not_end_the_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.relay.drift.RETRY_S", 0.0)
    texts = iter([b"catsdogs_predictions_total{ 1\n", b"\xff", b"# nothing\n"])

    async def main() -> int:
        async def fetch() -> bytes | None:
            return next(texts)

        kept = Drift(fetch)
        task = asyncio.create_task(kept.keep())
        async with asyncio.timeout(20):
            while not kept.history.snapshots and not task.done():
                await asyncio.sleep(0)
        task.cancel()
        return len(kept.history.snapshots)

    assert asyncio.run(main()) == 1


def test_without_a_reference_there_is_no_verdict() -> None:
    made = document({"name": "catsdogs"}, 0, {}, [])
    assert made["verdict"] == "INCONCLUSIVE"
    assert "has no reference" in made["reason"]
    assert document({}, 0, {}, [])["verdict"] == "NOT_READY"


def test_a_reference_of_few_pictures_is_never_enough() -> None:
    assert least_pictures(10, 150) is None
    assert judge(0.0, 10, 10**9, 150) is Verdict.INCONCLUSIVE


def test_the_counters_are_read_from_the_scrape() -> None:
    counts = {
        "bins": {"brightness": list(range(10)), "sharpness": [7] * 10},
        "predictions": {"user": {"dog": 3, "cat": 4, "horse": 9}, "probe": {"dog": 100}},
    }
    reference = {
        "pictures": REFERENCE,
        "shares": {"brightness": SHARES["brightness"]},
        "classes": {"dog": 0.25, "cat": 0.75},
    }
    totals = Totals(counts, [{"model": MODEL, "batch_limit": 4, "reference": reference}], {}, 0, 1)
    ended = dict.fromkeys(("hung", "memory", "ended"), 0)
    read = read_snapshot(encode(worker_families(totals, ["cat", "dog"], 1, 4, ended, 0)).decode(), 12.0)
    assert read == Snapshot(
        12.0,
        {"name": "catsdogs", "version": "1", "sha256": "0" * 64},
        REFERENCE,
        {"brightness": SHARES["brightness"], "predicted_class": (0.75, 0.25)},
        {"brightness": tuple(range(10)), "predicted_class": (4, 3)},
    )
