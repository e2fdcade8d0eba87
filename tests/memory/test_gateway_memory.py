"""The gateway within a control group of exactly the chart's size: nobody is killed, and a good client is answered."""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from common.ports import free_ports
from tests import zoo
from tests.bombs import BOMBS
from tests.e2e.support import wait_for
from tests.memory import attacks, cgroup

PATH = attacks.PATH
SECONDS = 8.0


def limit(container: str) -> int:
    """MiB that the chart gives to a container on CPU nodes."""
    for name in ("values-cpu.yaml", "values.yaml"):
        values = yaml.safe_load((zoo.ROOT / "helm" / name).read_text())
        if text := values[container]["resources"]["limits"].get("memory"):
            return int(text[:-2]) * (1024 if text.endswith("Gi") else 1)
    raise LookupError(container)


@dataclass
class Pod:
    rest: int
    grpc: int
    gateway: cgroup.Group
    torchserve: cgroup.Group
    processes: list[psutil.Process]

    def check(self) -> None:
        """Nobody was killed, and everybody who was there is there."""
        held = ", ".join(
            f"{process.name()} {process.memory_info().rss >> 20}" for process in self.processes if process.is_running()
        )
        for name, group in (("gateway", self.gateway), ("torchserve", self.torchserve)):
            print(f"{name}: {group.peak_mib():.0f} MiB at most of {group.limit_mib}", file=sys.stderr)
        print(f"MiB: {held}", file=sys.stderr)
        assert (self.gateway.kills(), self.torchserve.kills()) == (0, 0)
        assert all(process.is_running() for process in self.processes)


@pytest.fixture(scope="module")
def pod(archive: Path) -> Iterator[Pod]:
    if not cgroup.available():
        assert "CI" not in os.environ, "CI has control groups"
        pytest.skip("control groups cannot be made here")
    rest, grpc, metrics = free_ports(3)
    with ExitStack() as stack:
        # In memory, as in the chart.
        run = Path(tempfile.mkdtemp(prefix="cd-", dir="/dev/shm"))
        stack.callback(shutil.rmtree, run, ignore_errors=True)
        gateway_group, torchserve_group = (
            stack.enter_context(cgroup.Group(f"catsdogs-{os.getpid()}-{name}", limit(name)))
            for name in ("gateway", "torchserve")
        )

        def begin(group: cgroup.Group, *arguments: str) -> psutil.Process:
            command = group.within([sys.executable, "-m", "catsdogs", *arguments, "--run", str(run)])
            child = subprocess.Popen(command, cwd=zoo.ROOT)
            stack.callback(child.wait)
            stack.callback(child.terminate)
            return psutil.Process(child.pid)

        torchserve = begin(torchserve_group, "torchserve", str(archive), "--workers", "2")
        ports = ["--port", str(rest), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
        feedback = ["--feedback", str(run / "feedback"), "--feedback-pictures", "--max-feedback-rate", "10000"]
        ending = ["--drain", "0", "--grace", "1"]
        gateway = begin(gateway_group, "gateway", *ports, "--host", "127.0.0.1", *ending, *feedback)
        url = f"http://127.0.0.1:{rest}/readyz"

        def ready() -> bool:
            try:
                return httpx.get(url, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(ready, 90, "the server is ready")
        processes = [process for root in (torchserve, gateway) for process in (root, *root.children(recursive=True))]
        yield Pod(rest, grpc, gateway_group, torchserve_group, processes)


def ask_for(seconds: float, port: int, client: httpx.Client) -> tuple[Counter[int], float]:
    """A good client's answers by status, and the longest that it waited."""
    end, statuses, longest = time.monotonic() + seconds, Counter[int](), 0.0
    while time.monotonic() < end:
        started = time.monotonic()
        answer = client.post(f"http://127.0.0.1:{port}{PATH}", content=zoo.CAT.read_bytes())
        longest = max(longest, time.monotonic() - started)
        statuses[answer.status_code] += 1
    return statuses, longest


@pytest.mark.parametrize(
    ("attack", "count"),
    [
        pytest.param(attacks.stalled_upload, 600, id="600 stalled uploads"),
        pytest.param(attacks.large_body, 100, id="100 bodies of 16 MiB"),
        pytest.param(attacks.stalled_feedback, 600, id="600 stalled uploads of feedback", marks=pytest.mark.slow),
        pytest.param(attacks.large_feedback, 100, id="100 pictures of 16 MiB as feedback", marks=pytest.mark.slow),
        pytest.param(attacks.kept_connection, 8000, id="8000 connections"),
        pytest.param(attacks.closed_window, 40, id="40 closed windows", marks=pytest.mark.slow),
        pytest.param(attacks.large_call, 60, id="60 gRPC messages of 15 MiB"),
    ],
)
def test_an_attack_kills_nobody_and_a_good_client_is_answered(pod: Pod, attack: attacks.Attack, count: int) -> None:
    port = pod.grpc if attack is attacks.large_call else pod.rest

    async def main() -> tuple[Counter[int], float, Counter[str]]:
        # It stays connected: a new connection waits while others hold as many as are accepted.
        kept = httpx.Limits(keepalive_expiry=None)
        with httpx.Client(timeout=60, trust_env=False, limits=kept) as client:
            assert set(ask_for(0.1, pod.rest, client)[0]) == {200}
            async with attacks.under(attack, port, count) as outcomes:
                statuses, longest = await asyncio.to_thread(ask_for, SECONDS, pod.rest, client)
            return statuses, longest, outcomes

    statuses, longest, outcomes = asyncio.run(main())
    summary = f"{attack.__name__}: {dict(statuses)}, {longest:.1f} s at most; the attackers: {dict(outcomes)}"
    print(summary, file=sys.stderr)
    pod.check()
    assert set(statuses) == {200}
    assert longest < 15
    if attack in (attacks.stalled_upload, attacks.large_body, attacks.stalled_feedback, attacks.large_feedback):
        assert outcomes["503"] > 0, outcomes


def post_for(seconds: float, port: int, bodies: Iterator[bytes]) -> Counter[int]:
    """The answers to bodies that are posted one after another."""
    end, statuses = time.monotonic() + seconds, Counter[int]()
    with httpx.Client(timeout=60, trust_env=False) as client:
        while time.monotonic() < end:
            statuses[client.post(f"http://127.0.0.1:{port}{PATH}", content=next(bodies)).status_code] += 1
    return statuses


def test_picture_bombs_of_32_clients_kill_nobody_and_every_one_is_answered(pod: Pod) -> None:
    """A queue that is full of them answers 503 to a good client too, but never with anything else."""
    bombs = [BOMBS[name]() for name in sorted(BOMBS)]
    with ThreadPoolExecutor(33) as pool:
        attackers = [
            pool.submit(post_for, 2 * SECONDS, pod.rest, itertools.cycle(bombs[number:] + bombs[:number]))
            for number in range(32)
        ]
        good = pool.submit(post_for, 2 * SECONDS, pod.rest, itertools.repeat(zoo.CAT.read_bytes()))
        statuses = sum((attacker.result() for attacker in attackers), Counter[int]())
        good_statuses = good.result()
    print(f"bombs: {dict(statuses)}; a good client: {dict(good_statuses)}", file=sys.stderr)
    pod.check()
    assert set(statuses) <= {200, 413, 415, 422, 503}
    assert set(good_statuses) <= {200, 503}
    assert good_statuses[200] > 0


def test_after_all_of_it_a_good_client_is_answered_at_once(pod: Pod) -> None:
    answer = httpx.post(f"http://127.0.0.1:{pod.rest}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["label"]) == (200, "cat")
    pod.check()
