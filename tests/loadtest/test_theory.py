"""At length, against M/D/1: what is measured is what the mathematics says, to the error of a sample of that length."""

import json
from pathlib import Path

import pytest
import yaml

from tests.loadtest.queue_theory import capacity, waits_at_most
from tests.loadtest.support_locust import catsdogs, locust, make_slo, stub, unlabelled

pytestmark = pytest.mark.slow

# So long that what else a machine does is short beside it: nothing here takes processor time.
SERVICE = 0.1
# Where all of it stood still for longer, a run says nothing of the mathematics, and is made again.
LATE_S = 0.2
RUNS = 4


def test_the_latency_of_an_open_loop_is_that_of_theory(tmp_path: Path) -> None:
    # What two processes and the kernel add to each request, seen where nothing waits for anything.
    overhead = percentiles(tmp_path, rate=1, duration="30s")[0.5] - SERVICE
    measured = percentiles(tmp_path, rate=5, duration="450s")
    # What theory says of the quantiles that were seen; simulated samples of this length are no further off.
    for share, tolerance in ((0.5, 0.06), (0.9, 0.04), (0.99, 0.012)):
        theory = waits_at_most(measured[share] - overhead - SERVICE, measured["rate"], SERVICE)
        assert theory == pytest.approx(share, abs=tolerance), (measured, overhead)


def test_the_capacity_at_a_p99_is_that_of_theory(tmp_path: Path) -> None:
    file = make_slo(tmp_path)
    values = yaml.safe_load(file.read_text())
    values["capacity"] |= {"start_rate": 2, "trial": "40s", "confirm": "90s", "confirm_runs": 3}
    file.write_text(yaml.safe_dump(values))
    with stub("--service", str(SERVICE)) as url:
        where = ("--url", url, "--slo", str(file), "--out", str(tmp_path), "--pictures", str(unlabelled(tmp_path)))
        done = catsdogs(tmp_path, "capacity", "--p99", "500ms", *where, timeout_s=3600)
    assert done.status == 0, done.stderr
    (result,) = json.loads((tmp_path / "capacity.json").read_text())["capacities"]
    assert result["confirmed"] == pytest.approx(capacity(SERVICE, 0.5, 0.99), rel=0.12), done.stderr


def percentiles(folder: Path, **gate: object) -> dict[object, float]:
    """And the rate that the Poisson process happened to have."""
    file = make_slo(folder, threshold=2.5, **{"warmup": "5s", **gate})  # type: ignore[arg-type]
    for _ in range(RUNS):
        with stub("--service", str(SERVICE)) as url:
            done = locust(folder, url, "--gate", "brief", "--slo", str(file), timeout_s=600)
        row = done.row()
        assert row.latency is not None, done.stderr
        assert row.lag is not None
        print(done.stderr.splitlines()[0])
        if row.lag.max <= LATE_S:
            assert done.status == 0, done.stderr
            return {0.5: row.latency.p50, 0.9: row.latency.p90, 0.99: row.latency.p99, "rate": row.due_rate}
    pytest.fail(f"In each of {RUNS} runs this machine stood still.")
