"""Ten thousand broken pictures and every bomb, through the real server; hundreds in tests/handler, without one."""

import http.client
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import psutil
import pytest

from serving.health.heartbeats import live_workers
from serving.server.launch import Server
from tests import zoo
from tests.bombs import BOMBS
from tests.e2e.support import PATH, start, wait_for
from tests.mutations import mutants

COUNT = int(os.environ.get("CATSDOGS_MUTANTS", "10000"))
WARM_UP = COUNT // 5
CONNECTIONS = 6
# What a worker may have grown by between the warm-up and the end, in bytes: what malloc keeps.
GROWTH = 64 * 2**20
# TorchServe's time-out, after which it kills the worker.
LONGEST_S = 10

Answer = tuple[int, dict[str, object], float]


class Client:
    """One keep-alive connection, opened anew after an answer that closes it."""

    def __init__(self, server: Server) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.options.ports.rest, timeout=60)

    def post(self, body: bytes) -> Answer:
        """Status, document and seconds; once more while the queue is full."""
        while True:
            started = time.monotonic()
            self.connection.request("POST", PATH, body)
            response = self.connection.getresponse()
            document = json.loads(response.read())
            if response.status != 503:
                return response.status, document, time.monotonic() - started
            assert document["code"] == "overloaded", document
            time.sleep(int(response.headers["Retry-After"]))


def send(server: Server, bodies: Iterator[bytes], connections: int = CONNECTIONS) -> Iterable[tuple[bytes, Answer]]:
    def work(own: list[bytes]) -> list[tuple[bytes, Answer]]:
        client = Client(server)
        with closing(client.connection):
            return [(body, client.post(body)) for body in own]

    with ThreadPoolExecutor(connections) as pool:
        while batch := list(islice(bodies, 100 * connections)):
            for answers in pool.map(work, (batch[number::connections] for number in range(connections))):
                yield from answers


def judge(body: bytes, answer: Answer) -> int:
    status, document, seconds = answer
    assert status in (200, 413, 415, 422), f"{status} {document} for {body[:2000].hex()}"
    assert seconds < LONGEST_S
    if status == 200:
        assert document["label"] in ("cat", "dog")
    else:
        assert document["status"] == status
        assert str(document["detail"]).endswith(".")
    return status


def workers(server: Server) -> list[int]:
    return sorted(live_workers(server.run / "heartbeats", time.time()))


def all_workers(server: Server) -> list[int]:
    """Each of them: one whose beat is late, on a busy machine, is waited for."""
    wait_for(lambda: len(workers(server)) == server.options.workers, 30, "all workers live")
    return workers(server)


def resident(pids: list[int]) -> list[int]:
    return [psutil.Process(pid).memory_info().rss for pid in pids]


@pytest.fixture(scope="module")
def own(archive: Path) -> Iterator[Server]:
    """Not the one that other tests share: they would be counted."""
    with start(archive) as running:
        # Ready is what has one warm worker; the others follow.
        wait_for(lambda: len(workers(running)) == running.options.workers, 60, "all workers")
        yield running


@pytest.mark.slow
def test_ten_thousand_mutants_are_answered_by_the_same_workers(own: Server) -> None:
    before = all_workers(own)
    files, good = set((own.run / "tmp").rglob("*")), zoo.CAT.read_bytes()
    with closing(Client(own).connection) as connection:
        connection.request("POST", PATH, good)
        reference = json.loads(connection.getresponse().read())

    bodies, statuses = mutants(seed=6, count=COUNT), Counter[int]()
    statuses.update(judge(*exchange) for exchange in send(own, islice(bodies, WARM_UP)))
    at_first = resident(before)
    statuses.update(judge(*exchange) for exchange in send(own, bodies))
    assert statuses.total() == COUNT
    assert set(statuses) == {200, 413, 415, 422}
    wait_for(lambda: workers(own) == before, 10, "the same workers live")
    for least, most in zip(at_first, resident(before), strict=True):
        assert most - least < GROWTH
    assert set((own.run / "tmp").rglob("*")) == files

    client = Client(own)
    with closing(client.connection):
        status, answer, _ = client.post(good)
    assert (status, answer) == (200, reference)


@pytest.mark.slow
def test_every_bomb_goes_off_without_harm(own: Server) -> None:
    before, good = all_workers(own), zoo.CAT.read_bytes()
    # Two at once, each bomb with a good neighbour: a batch of six bombs may take its 6 s of CPU time, and more than the
    # 10 s that TorchServe gives a worker on a machine that is busy otherwise.
    bodies = (body for bomb in BOMBS.values() for body in (bomb(), good))
    statuses = Counter(judge(*exchange) for exchange in send(own, bodies, connections=2))
    assert statuses[200] >= len(BOMBS)
    wait_for(lambda: workers(own) == before, 10, "the same workers live")
