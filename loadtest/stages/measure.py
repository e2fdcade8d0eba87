"""The cost of a request by stage, from the counters of the server and of the kernel before and after a closed loop."""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

from handler.files import UserError
from loadtest.generate.pictures import Picture
from loadtest.judge.server import Scrape
from loadtest.rivals import closed
from loadtest.stages.processes import cpu_seconds
from loadtest.stages.server import Server

CLIENTS = (1, 8, 32)
# In the order of the table and of the picture. The first two are what the same pipeline costs without a server.
CPU_STAGES = (
    "network",
    "decode",
    "answer",
    "worker protocol",
    "java",
    "relay",
    "gateway",
    "launcher",
    "load generator",
)
PIPELINE = ("network", "decode")
CLIENT = "load generator"
WALL_STAGES = ("network", "decode", "rest of the worker", "queue", "java and relay", "gateway", "connection")
# The worker writes its counters twice a second, where they have changed.
SETTLE_S = 1.2
WARMING_CLIENTS, WARMING_S = 8, 3.0
GATEWAY = "caddy_http_request_duration_seconds"
RELAY = "catsdogs_request_duration_seconds"
STAGE = "catsdogs_stage_duration_seconds"


@dataclass(frozen=True, slots=True)
class Cost:
    """Means per request, in milliseconds, of one closed loop."""

    clients: int
    requests: int
    rate: float
    """Answers per second."""
    batch: float
    """Mean number of pictures in a run of the network."""
    cpu_ms: dict[str, float]
    wall_ms: dict[str, float]

    @property
    def server_cpu_ms(self) -> float:
        """CPU time of everything but the pipeline and the load generator."""
        return sum(self.cpu_ms.values()) - self.pipeline_cpu_ms - self.cpu_ms[CLIENT]

    @property
    def pipeline_cpu_ms(self) -> float:
        return sum(self.cpu_ms[stage] for stage in PIPELINE)

    @property
    def share(self) -> float:
        """Share of the server's CPU time that the pipeline gets: what it keeps of its rate on busy cores."""
        return self.pipeline_cpu_ms / (self.pipeline_cpu_ms + self.server_cpu_ms)


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one time."""

    scrape: Scrape
    cpu_s: dict[str, float]
    client_s: float


def read(server: Server) -> Reading:
    """Read the processes' counters at once, and the server's own when the workers have written them."""
    cpu, client = cpu_seconds(server.process.pid), own_cpu_seconds()
    time.sleep(SETTLE_S)
    return Reading(server.counters(), cpu, client)


def own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def warm_up(server: Server, pictures: Sequence[Picture], requests: int) -> None:
    """Send so many requests or a few more: Java compiles what it runs often, which costs more than the requests.

    Raises:
        UserError: none was answered.
    """
    answers = 0
    while answers < requests:
        loop = closed.measure(server.client, pictures, WARMING_CLIENTS, WARMING_S)
        if not loop.answers:
            raise UserError(f"No request was answered within {WARMING_S:.0f} s: {loop.failed}")
        answers += loop.answers


def measure(server: Server, pictures: Sequence[Picture], clients: int, seconds: float, warmup: float) -> Cost:
    """Return the cost of a request while so many clients each wait for their answers.

    Raises:
        UserError: a request failed, so that the means would say little.
    """
    closed.measure(server.client, pictures, clients, warmup)
    before = read(server)
    # What idle processes use while the counters settle is no request's.
    idle_cpu, idle_client = cpu_seconds(server.process.pid), own_cpu_seconds()
    loop = closed.measure(server.client, pictures, clients, seconds)
    after = read(server)
    if loop.failed or not loop.answers:
        raise UserError(f"Requests failed, so nothing was measured: {loop.failed or 'there was no answer'}")
    spent = {part: after.cpu_s[part] - idle_cpu[part] for part in idle_cpu}
    return cost(loop, before.scrape, after.scrape, spent, after.client_s - idle_client)


def cost(loop: closed.Loop, before: Scrape, after: Scrape, spent: dict[str, float], client_s: float) -> Cost:
    """Return the means per request.

    Args:
        spent: CPU seconds by part of the server.
        client_s: CPU seconds of the load generator.
    """

    def grown(name: str, **labels: str) -> float:
        return after.sum(name, **labels) - before.sum(name, **labels)

    def mean_ms(name: str, **labels: str) -> float:
        return 1000 * grown(f"{name}_sum", **labels) / max(1.0, grown(f"{name}_count", **labels))

    requests = round(grown(f"{RELAY}_count"))
    runs = max(1.0, grown("catsdogs_batch_pictures_count"))
    batch = grown("catsdogs_batch_pictures_sum") / runs
    handled = {
        stage: grown("catsdogs_worker_cpu_seconds_total", stage=stage) for stage in ("network", "decode", "other")
    }
    cpu_s = {
        "network": handled["network"],
        "decode": handled["decode"],
        "answer": handled["other"],
        "worker protocol": spent["worker"] - sum(handled.values()),
        **{part: spent[part] for part in ("java", "relay", "gateway", "launcher")},
        CLIENT: client_s,
    }
    # A request waits for all pictures of its batch.
    worker_ms = 1000 * grown("catsdogs_worker_busy_seconds_total") / runs
    network_ms, decode_ms = mean_ms(STAGE, stage="network"), batch * mean_ms(STAGE, stage="decode")
    queue_ms, relay_ms = mean_ms(STAGE, stage="queue"), mean_ms(RELAY)
    gateway_ms = mean_ms(GATEWAY, server="rest", method="POST")
    wall_ms = {
        "network": network_ms,
        "decode": decode_ms,
        "rest of the worker": worker_ms - network_ms - decode_ms,
        "queue": queue_ms,
        "java and relay": relay_ms - queue_ms - worker_ms,
        "gateway": gateway_ms - relay_ms,
        # Little: with clients that never pause, their number is rate times time.
        "connection": 1000 * loop.clients / loop.rate - gateway_ms,
    }
    return Cost(
        clients=loop.clients,
        requests=requests,
        rate=loop.rate,
        batch=batch,
        cpu_ms={stage: max(0.0, 1000 * cpu_s[stage] / max(1, requests)) for stage in CPU_STAGES},
        wall_ms={stage: max(0.0, wall_ms[stage]) for stage in WALL_STAGES},
    )
