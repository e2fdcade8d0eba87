"""Clients of HTTP/2 in four languages: what one request gets harms no other on its connection, nor does a drain.

A language that is not on this machine is skipped; CI has all of them.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving.gateway.tls import Pair
from serving.server.launch import Server
from tests.certificates import make_authority, make_pair
from tests.clients.support import THREADS, Language, languages, run, speaks
from tests.e2e.support import start, wait_for

POLL_S = 0.1


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> list[Language]:
    installed = list(languages(tmp_path_factory.mktemp("clients")))
    assert len(installed) > 1 or "CI" not in os.environ, "CI has Go, Node and Java"
    return installed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(*make_pair(authority, tmp_path_factory.mktemp("pair")))


@pytest.mark.parametrize("tls", [pytest.param(False, id="h2c", marks=pytest.mark.slow), pytest.param(True, id="tls")])
def test_a_bad_picture_costs_no_other_request_on_its_connection(
    archive: Path, clients: list[Language], authority: Path, pair: Pair, tls: bool
) -> None:
    with start(archive, tls=pair if tls else None) as server:
        for language in clients:
            if speaks(language, tls):
                counts, errors = run(language, server.options.url, authority if tls else None, 60).result()
                assert counts == {"right": 60, "lost": 0}, (language.name, errors)


@dataclass
class Balancer:
    """Passes each new connection to a server that says it is ready, as a Service does; those that are open stay."""

    servers: list[Server]
    ready: list[Server] = field(default_factory=list)
    port: int = 0
    passed: int = 0

    @contextmanager
    def started(self) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        def call(made: "asyncio.Future[object] | object") -> object:
            return asyncio.run_coroutine_threadsafe(made, loop).result(20)  # type: ignore[arg-type]

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._pass, "127.0.0.1", 0)

        self.look()
        listening = call(listen())
        assert isinstance(listening, asyncio.Server)
        self.port = listening.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            listening.close()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    def look(self) -> None:
        self.ready = [server for server in self.servers if server.answers()]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = self.ready[self.passed % len(self.ready)]
        self.passed += 1
        there = await asyncio.open_connection("127.0.0.1", server.options.ports.rest)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("tls", [pytest.param(False, id="h2c"), pytest.param(True, id="tls", marks=pytest.mark.slow)])
def test_a_server_that_is_stopped_loses_no_request(
    archive: Path, clients: list[Language], authority: Path, pair: Pair, tls: bool
) -> None:
    """But those that a client itself fails: what is in flight at the one moment at which its connection is closed."""
    with ExitStack() as stack:
        secret = pair if tls else None
        leaving, staying = [stack.enter_context(start(archive, workers=1, tls=secret, drain=2.0)) for _ in range(2)]
        balancer = Balancer([leaving, staying])
        stack.enter_context(balancer.started())
        balancer.ready = [leaving]
        url = f"{'https' if tls else 'http'}://127.0.0.1:{balancer.port}"
        runs = [run(language, url, authority if tls else None) for language in clients if speaks(language, tls)]
        for client in runs:
            stack.callback(client.child.kill)
        wait_for(lambda: balancer.passed >= len(runs), 60, "each client is connected")
        assert leaving.gateway is not None
        leaving.gateway.terminate()
        wait_for(lambda: not leaving.answers(), 10, "the server is not ready")
        balancer.ready = [staying]
        leaving.gateway.wait(60)
        wait_for(lambda: balancer.passed >= 2 * len(runs), 60, "each client has connected anew")
        results = [(client.language, *client.stop()) for client in runs]
    for language, counts, errors in results:
        assert counts["right"] > 0, language.name
        assert counts["lost"] <= (THREADS if language.fails_what_is_in_flight else 0), (language.name, errors)
