"""kill -9 inside a pod, under load: who fails, and who must not. Clients ask each of two pods by its own address."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread

import pytest

from tests.cluster.support import Cluster, Load, Totals, is_ready, load, restarts, wait_for

# What a worker takes at once.
BATCH = 8
# The chart's: a probe every 2 s, two failures in a row; then the kubelet tells the API server.
PERIODS_S, TOLD_S = 4, 2
KILL = "import os, signal; [os.kill(pid, signal.SIGKILL) for pid in {pids}]"
WORKERS = """
import glob, json, os
print(json.dumps(sorted(int(os.path.basename(path)[:-5]) for path in glob.glob("/run/catsdogs/heartbeats/[0-9]*.json")
                        if os.path.exists("/proc/" + os.path.basename(path)[:-5]))))
"""
JAVA = """
import glob, json
names = {int(path.split("/")[2]): open(path).read().strip() for path in glob.glob("/proc/[0-9]*/comm")}
print(json.dumps([pid for pid, name in names.items() if name == "java"]))
"""
# Whatever worker comes up is ended for as long as it is told: their restart takes less time than the probe.
HUNT = """
import glob, os, signal, time
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    for path in glob.glob("/run/catsdogs/heartbeats/[0-9]*.json"):
        try:
            os.kill(int(os.path.basename(path)[:-5]), signal.SIGKILL)
        except ProcessLookupError:
            pass
    time.sleep(0.05)
"""


@dataclass
class Pair:
    """Two pods: one is harmed, the other must not notice."""

    cluster: Cluster
    namespace: str
    harmed: str
    addresses: dict[str, str]
    load: Load

    def ids(self, script: str) -> list[int]:
        pids: list[int] = json.loads(self.cluster.shell(self.namespace, self.harmed, "torchserve", script))
        return pids

    def kill(self, pids: list[int]) -> None:
        self.cluster.shell(self.namespace, self.harmed, "torchserve", KILL.format(pids=pids))

    def ready(self) -> bool:
        return is_ready(self.cluster.pod(self.namespace, self.harmed))

    def restarts(self) -> int:
        return restarts(self.cluster.pod(self.namespace, self.harmed), "torchserve")

    def whole(self) -> bool:
        return self.ready() and len(self.ids(WORKERS)) == 2

    def failures(self, since: Totals) -> list[dict[str, object]]:
        """Return the failures at the harmed pod, and require that the other has none."""
        failures = self.load.failures(since.time)
        other = [failure for failure in failures if self.addresses[self.harmed] not in failure["target"]]
        assert other == []
        return failures


@pytest.fixture(scope="module")
def pair(cluster: Cluster, namespace: str) -> Iterator[Pair]:
    cluster.install(namespace, torchserve={"workers": 2})
    pods = cluster.ready(namespace)
    addresses = {pod.metadata.name: pod.status.pod_ip for pod in pods}
    rest, grpc = ([f"{address}:{port}" for address in addresses.values()] for port in (8080, 7070))
    with load(cluster, namespace, rest=rest, grpc=grpc, rate=20, clients=2) as running:
        made = Pair(cluster, namespace, pods[0].metadata.name, addresses, running)
        wait_for(made.whole, 60, "both workers are there")
        yield made
    cluster.uninstall(namespace)


def test_of_one_of_two_workers_only_the_batch_in_it_fails(pair: Pair, tell: list[str]) -> None:
    before = pair.load.totals()
    first, _ = pair.ids(WORKERS)
    pair.kill([first])
    for _ in range(40):
        assert pair.ready(), "one worker is left"
        time.sleep(0.2)
    wait_for(lambda: first not in pair.ids(WORKERS) and pair.whole(), 60, "another worker")
    pair.load.wait_for_more(100, before)
    failures = pair.failures(before)
    tell.append(
        f"kill -9 of one of two workers: {len(failures)} failed, all of its batch in flight; the pod stays ready"
    )
    assert len(failures) <= BATCH
    assert pair.restarts() == 0


def test_without_workers_a_pod_is_unready_after_two_periods_and_comes_back(pair: Pair, tell: list[str]) -> None:
    wait_for(pair.whole, 60, "both workers are there")
    before, started = pair.load.totals(), time.monotonic()
    hunt = HUNT.format(seconds=12)
    hunter = Thread(target=pair.cluster.shell, args=(pair.namespace, pair.harmed, "torchserve", hunt))
    hunter.start()
    try:
        wait_for(lambda: not pair.ready(), PERIODS_S + TOLD_S, "it is unready", 0.1)
        unready_s = time.monotonic() - started
    finally:
        hunter.join()
    wait_for(pair.whole, 90, "it is ready again, with both workers")
    tell.append(f"kill -9 of all workers: unready after {unready_s:.1f} s, ready again by itself")
    pair.load.wait_for_more(100, pair.load.totals())
    for failure in pair.failures(before):
        assert any(word in str(failure["failure"]) for word in ("503 overloaded", "UNAVAILABLE", "500 internal")), (
            failure
        )
    assert pair.restarts() == 0


def test_of_java_only_its_own_pod_fails_and_starts_again(pair: Pair, tell: list[str]) -> None:
    wait_for(pair.whole, 60, "both workers are there")
    before, started = pair.load.totals(), time.monotonic()
    pair.kill(pair.ids(JAVA))
    wait_for(lambda: pair.restarts() == 1, 30, "its container starts again")
    wait_for(pair.ready, 90, "it is ready again")
    back_s = time.monotonic() - started
    pair.load.wait_for_more(100, pair.load.totals())
    failures = pair.failures(before)
    tell.append(
        f"kill -9 of Java: ready again after {back_s:.1f} s; {len(failures)} failed in its pod, none in the other"
    )
    last = max((float(str(failure["time"])) for failure in failures), default=before.time)
    assert last - before.time < back_s + 5, "requests failed after it was ready again"
