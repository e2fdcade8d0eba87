"""Users' requests of both tracks, counted by a real Prometheus, and judged."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from common.verdicts import Verdict
from handler.files import UserError
from monitoring.canary.promises import Promises
from monitoring.canary.users import Counted, Users
from monitoring.canary.watch import Observed, Plan, judge_users
from tests.monitoring.prometheus import free_port

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
PROMISES = Promises({"rest": (1.0, 0.99), "grpc": (1.0, 0.99)}, 0.999, 0.85)
SECONDS = 600
# Requests in those seconds, by track, protocol and code, and those of them that took a second at most.
REQUESTS = {
    ("stable", "rest", "200"): (1200, 1200),
    ("stable", "rest", "503"): (0, 0),
    ("canary", "rest", "200"): (540, 480),
    ("canary", "rest", "503"): (60, 60),
}


def exposition(now: float) -> str:
    """Return counters that grow evenly until now, of users and of probes, as OpenMetrics."""
    lines: dict[str, list[str]] = {"count": [], "bucket": []}
    for (track, protocol, code), (count, fast) in REQUESTS.items():
        for traffic, share in (("user", 1), ("probe", 7)):
            labels = f'job="catsdogs",track="{track}",protocol="{protocol}",code="{code}",traffic="{traffic}"'
            for step in range(0, 2 * SECONDS + 1, 15):
                at, grown = now - 2 * SECONDS + step, step / SECONDS * share
                lines["count"].append(f"catsdogs_request_duration_seconds_count{{{labels}}} {count * grown:g} {at:.0f}")
                lines["bucket"].append(
                    f'catsdogs_request_duration_seconds_bucket{{{labels},le="1.0"}} {fast * grown:g} {at:.0f}'
                )
    return "\n".join([*lines["count"], *lines["bucket"], "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Prometheus that holds these counters."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "metrics").write_text(exposition(time.time()))
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "metrics", "data"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("{}")
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["prometheus", *options], cwd=folder, stdout=log, stderr=log)
    try:
        ready = time.monotonic() + 30
        while time.monotonic() < ready:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_each_tracks_requests_are_counted_apart_and_probes_are_not(prometheus: str) -> None:
    users = Users(prometheus, 'job="catsdogs"')
    stable, canary = (users.count(track, PROMISES.indicators(), SECONDS) for track in ("stable", "canary"))
    assert set(stable) == set(canary) == {"availability-rest", "latency-rest"}
    assert stable["availability-rest"].count == pytest.approx(1200, rel=0.05)
    assert stable["availability-rest"].bad == stable["latency-rest"].bad == 0
    assert canary["availability-rest"].count == pytest.approx(600, rel=0.05)
    assert canary["availability-rest"].bad == pytest.approx(60, rel=0.05)
    # Those that failed are slow, too.
    assert canary["latency-rest"].bad == pytest.approx(120, rel=0.05)


def test_a_candidate_that_fails_its_users_is_a_breach(prometheus: str) -> None:
    users = Users(prometheus, 'job="catsdogs"')
    counted = {
        track: users.count(label, PROMISES.indicators(), SECONDS)
        for track, label in (("stable", "stable"), ("candidate", "canary"))
    }
    plan = Plan(PROMISES, 600, 30, 20, 100, 0.85, None, 0.95)
    checks = judge_users(Observed(users=counted), plan, 0.95)
    assert [(check.name, check.verdict) for check in checks] == [
        ("users availability-rest", Verdict.BREACH),
        ("users latency-rest", Verdict.BREACH),
    ]
    swapped = {"stable": counted["candidate"], "candidate": counted["stable"]}
    assert {check.verdict for check in judge_users(Observed(users=swapped), plan, 0.95)} == {Verdict.PASS}


def test_a_candidate_without_users_is_inconclusive(prometheus: str) -> None:
    users = Users(prometheus, 'job="other"')
    assert users.count("canary", PROMISES.indicators(), SECONDS) == {}
    plan = Plan(PROMISES, 600, 30, 20, 100, 0.85, None, 0.95)
    nobody: dict[str, dict[str, Counted]] = {"stable": {}, "candidate": {}}
    (check,) = judge_users(Observed(users=nobody), plan, 0.95)
    assert check.verdict is Verdict.INCONCLUSIVE


def test_a_selector_that_prometheus_refuses_is_named(prometheus: str) -> None:
    with pytest.raises(UserError, match="refuses a query"):
        Users(prometheus, "job=").count("canary", PROMISES.indicators(), SECONDS)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no url"])
def test_a_prometheus_that_cannot_be_asked_is_named(url: str) -> None:
    with pytest.raises(UserError, match="cannot be asked"):
        Users(url, 'job="catsdogs"').count("canary", PROMISES.indicators(), SECONDS)
