"""Keep-alive clients at a steady rate, for a pod: nothing is tried again, so what a client would lose is counted.

python client.py --rest HOST:PORT --grpc HOST:PORT --rate 30

Writes a line of JSON every second, with what was sent and failed since the start, and one for each failure, until it is
told to stop. Only what came back whole, in time and with the right label has not failed. `stolen` is the share of the
node's processor time in that second which its host gave to others. With CATSDOGS_KEY all clients bring that key.
"""

import argparse
import http.client
import itertools
import json
import os
import random
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from serving.client.samples import SAMPLES
from serving.wire import METHOD, field, read_bytes_field

PATIENCE_S = 30
AUTHORIZATION = {"authorization": f"Bearer {key}"} if (key := os.environ.get("CATSDOGS_KEY")) else {}
Picture = tuple[bytes, str]
Ask = Callable[[Picture], str]


class Rest:
    """One connection that is kept while the server keeps it."""

    def __init__(self, target: str, model: str, ca: Path | None) -> None:
        host, _, port = target.rpartition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
            self.connection = http.client.HTTPSConnection(host, int(port), timeout=PATIENCE_S, context=context)
        self.path = f"/predictions/{model}"

    def __call__(self, picture: Picture) -> str:
        try:
            self.connection.request("POST", self.path, picture[0], AUTHORIZATION)
            response = self.connection.getresponse()
            answer = json.loads(response.read())
        except BaseException:
            self.connection.close()
            raise
        if response.status != 200:
            raise RuntimeError(f"{response.status} {answer['code']}: {answer['detail']}")
        return str(answer["label"])


class Grpc:
    """One channel, as gRPC's library keeps it. Its own repetition of calls is off, but for those never sent."""

    def __init__(self, target: str, model: str, ca: Path | None) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if ca is None:
            channel = grpc.insecure_channel(target, options=options)
        else:
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca.read_bytes()), options=options)
        self.call = channel.unary_unary(f"/{METHOD}")
        self.model = field(1, model.encode())

    def __call__(self, picture: Picture) -> str:
        message = self.model + field(3, field(1, b"data") + field(2, picture[0]))
        try:
            reply = self.call(message, timeout=PATIENCE_S, metadata=tuple(AUTHORIZATION.items()))
        except grpc.RpcError as error:
            raise RuntimeError(f"{error.code().name}: {error.details()}") from error
        return str(json.loads(read_bytes_field(reply, 1))["label"])


class Counts:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sent: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.slowest_s = 0.0
        self.times = processor_times()

    def add(self, target: str, seconds: float, problem: str | None) -> None:
        with self.lock:
            self.sent[target] = self.sent.get(target, 0) + 1
            self.slowest_s = max(self.slowest_s, seconds)
            if problem is not None:
                self.failed[target] = self.failed.get(target, 0) + 1
                say(failure=problem, target=target, seconds=round(seconds, 3))

    def tell(self) -> None:
        with self.lock:
            before, self.times = self.times, processor_times()
            stolen, whole = (now - then for now, then in zip(self.times, before, strict=True))
            say(
                sent=self.sent,
                failed=self.failed,
                slowest_s=round(self.slowest_s, 3),
                stolen=round(stolen / max(whole, 1), 3),
            )
            self.slowest_s = 0.0


def processor_times() -> tuple[int, int]:
    """Ticks since the node's start that were stolen, and all."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def say(**facts: object) -> None:
    print(json.dumps({"time": time.time(), **facts}), flush=True)


def run(
    target: str, ask: Ask, pictures: Iterator[Picture], period_s: float, counts: Counts, stop: threading.Event
) -> None:
    """One client: the next request at its time, or at once where the last answer came later than that."""
    due = time.monotonic() + random.random() * period_s
    while not stop.wait(max(due - time.monotonic(), 0)):
        picture = next(pictures)
        started, problem = time.monotonic(), None
        try:
            label = ask(picture)
            if label != picture[1]:
                problem = f"a {picture[1]} is called {label}"
        except (OSError, http.client.HTTPException, RuntimeError, ValueError, LookupError) as error:
            problem = f"{type(error).__name__} {error}"
        now = time.monotonic()
        counts.add(target, now - started, problem)
        due = max(due + period_s, now)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--grpc", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--clients", type=int, default=4, help="of each target")
    parser.add_argument("--rate", type=float, default=30, help="requests per second of all clients together")
    parser.add_argument("--model", default="catsdogs")
    parser.add_argument("--ca", type=Path, help="speak TLS with whom these have signed")
    options = parser.parse_args()

    pictures = [(path.read_bytes(), path.parent.name) for path in sorted(SAMPLES.glob("*/*.jpg"))]
    kinds = [(target, Rest) for target in options.rest] + [(target, Grpc) for target in options.grpc]
    clients = [
        (target, kind(target, options.model, options.ca)) for target, kind in kinds for _ in range(options.clients)
    ]
    stop, counts = threading.Event(), Counts()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    threads = []
    for number, (target, ask) in enumerate(clients):
        own = itertools.islice(itertools.cycle(pictures), number, None)
        arguments = (target, ask, own, len(clients) / options.rate, counts, stop)
        threads.append(threading.Thread(target=run, args=arguments))
        threads[-1].start()
    while not stop.wait(1):
        counts.tell()
    for thread in threads:
        thread.join()
    counts.tell()


if __name__ == "__main__":
    main()
