"""Timings by the server's own counters: the gateway's histogram and TorchServe's sums, read before and after.

They are the counters of one gateway. Behind a Service of several pods they are those of the pod that happens to answer;
the number of requests then differs from the number sent.
"""

import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.judge.summary import Breakdown

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
IN_THE_WORKER = ("200", "400", "415", "422")
HISTOGRAM = "caddy_http_request_duration_seconds"


@dataclass(frozen=True, slots=True)
class Scrape:
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def sum(self, name: str, **labels: str) -> float:
        return sum(
            value
            for sample, own_labels, value in self.samples
            if sample == name and all(own_labels.get(label) == label_value for label, label_value in labels.items())
        )


def read(text: str) -> Scrape:
    """Parse the numbers of Prometheus' text format."""
    samples = []
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            samples.append((match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"])))
    return Scrape(samples)


def scrape(url: str) -> Scrape | None:
    """The gateway's metrics and, beside them, TorchServe's; None where nothing answers."""
    base, _, _ = url.partition("/metrics")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text = ""
    for address in (url, f"{base}/torchserve/metrics"):
        try:
            with opener.open(address, timeout=5) as response:
                text += response.read().decode() + "\n"
        except (OSError, ValueError):
            if not text:
                return None
    samples = read(text)
    return samples if any(name.startswith(HISTOGRAM) for name, _, _ in samples.samples) else None


def breakdown(
    first: Scrape, last: Scrape, clients: dict[str, tuple[int, float, int]], thresholds_s: dict[str, float]
) -> list[Breakdown]:
    """Return the breakdown of the mean request's time, from all requests that the gateway counted between two scrapes.

    Those of the warm-up are among them, on the clients' side too.

    Args:
        first, last: scrapes from before the first request, and after the last answer.
        clients: by row, the number of requests sent, their mean service time, and the number that were answered.
    """
    parts, bucket = [], f"{HISTOGRAM}_bucket"
    edges = {own_labels["le"] for name, own_labels, _ in last.samples if name == bucket}
    for server, protocols in (("rest", ("rest", "multipart", "kserve")), ("grpc", ("grpc",))):
        ours = {name: counts for name, counts in clients.items() if name.partition(" ")[0] in protocols}
        answered = sum(count for _, _, count in ours.values())
        if not answered:
            continue
        labels = {"server": server, "method": "POST"}

        def grown(name: str, **selected: str) -> float:
            return last.sum(name, **selected) - first.sum(name, **selected)

        count = grown(f"{HISTOGRAM}_count", **labels)
        edge = edge_label(thresholds_s[next(iter(ours)).partition(" ")[0]])
        queue, handler = worker_share(grown) if server == "rest" else (None, None)
        parts.append(
            Breakdown(
                name=server,
                requests=round(count),
                sent=sum(sent for sent, _, _ in ours.values()),
                gateway=grown(f"{HISTOGRAM}_sum", **labels) / count if count else None,
                queue=queue,
                handler=handler,
                client=sum(mean * of for _, mean, of in ours.values()) / answered,
                within_threshold=grown(bucket, le=edge, **labels) / count if count and edge in edges else None,
            )
        )
    return parts


def worker_share(grown: Callable[..., float]) -> tuple[float | None, float | None]:
    """Return the mean seconds in TorchServe's queue and in its worker, of both protocols: the relay asks it by REST."""
    total = grown("ts_inference_latency_microseconds") / 1e6
    queue = grown("ts_queue_latency_microseconds") / 1e6
    # TorchServe's own count includes refused requests, and these sums do not. So the gateway's count of requests that
    # reached the worker is taken; over gRPC it is that of all calls, whose HTTP status is always 200.
    count = sum(grown(f"{HISTOGRAM}_count", server="rest", method="POST", code=code) for code in IN_THE_WORKER)
    count += grown(f"{HISTOGRAM}_count", server="grpc", method="POST", code="200")
    return (queue / count, (total - queue) / count) if count and total else (None, None)


def edge_label(seconds: float) -> str:
    """Return a histogram's edge as Caddy writes it: 0.25, 1, 2.5."""
    return f"{seconds:g}"
