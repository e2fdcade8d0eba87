"""The gateway's process: the relay in its event loop, Caddy as its child.

Told to stop, it tells Caddy, which drains: it answers what is in flight by the relay, then ends, and this process
after it.
"""

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from handler.memory import tune
from serving.gateway.caddy import Gateway
from serving.gateway.relay.log import Log
from serving.gateway.relay.server import serve
from serving.server.cgroup import memory_limit
from serving.server.parent import bound
from serving.server.settings import cpu_limit

# Connections of clients, and as many of Caddy's own to the relay as there are requests in flight. A connection costs
# Caddy about 17 KiB, twice that until its garbage is collected.
MAX_FILES = 4096 + 512
# Beside Caddy in the container: Python, the bodies in the relay, and the copy of one that is being read.
RELAY_MIB = 208
# A picture of 16 MiB that comes with feedback: its chunks, their copy, and the picture in it.
FEEDBACK_MIB = 48
# Bodies and results of image operations, and the copies of one of each.
IMAGES_MIB = 72
LEAST_CADDY_MIB = 64
# Bodies come in chunks of 64 KiB and more, which are given back to the system as soon as they are sent.
MMAP_BYTES, TRIM_BYTES = 64 << 10, 1 << 20


def run(gateway: Gateway) -> int:
    """Run the gateway until it is told to stop. Returns Caddy's exit status, as a shell gives it."""
    os.umask(0o007)
    tune(MMAP_BYTES, TRIM_BYTES)
    limit_files()
    return run_loop(_run(gateway))


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in uvloop's event loop, which costs half of asyncio's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _run(gateway: Gateway) -> int:
    # One that a killed Caddy left would keep the next from listening.
    (gateway.run / "caddy.sock").unlink(missing_ok=True)
    beside = FEEDBACK_MIB if gateway.feedback is not None and gateway.feedback.pictures else 0
    beside += IMAGES_MIB if gateway.image_operations else 0
    serving = serve(
        gateway.run,
        log=Log(gateway.access_log),
        feedback=gateway.feedback,
        image_operations=gateway.image_operations,
    )
    async with serving as relay:
        # In a session of its own: Ctrl-C in a terminal would reach it twice, and twice means at once.
        child = subprocess.Popen(
            bound(gateway.command()),
            env={
                **os.environ,
                **go_memory(memory_limit(), RELAY_MIB + beside),
                **go_threads(cpu_limit()),
                **gateway.environment(),
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        loop = asyncio.get_running_loop()

        def stop() -> None:
            relay.health.draining = True
            with suppress(ProcessLookupError):
                child.terminate()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            status = await loop.run_in_executor(None, child.wait)
        finally:
            child.kill()
    return status if status >= 0 else 128 - status


def limit_files() -> None:
    """Bound the connections that Caddy accepts: it has no limit of its own, but a process has one of open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))


def go_memory(limit_mib: int | None, relay_mib: int = RELAY_MIB) -> dict[str, str]:
    """Go's memory limit for Caddy: what the relay leaves of the container's. None is no limit."""
    if limit_mib is None or "GOMEMLIMIT" in os.environ:
        return {}
    return {"GOMEMLIMIT": f"{max(LEAST_CADDY_MIB, limit_mib - relay_mib)}MiB"}


def go_threads(cores: int) -> dict[str, str]:
    """Go's limit on threads that run at once: half of the cores, since a thread without work searches for some.

    On two cores a request costs Caddy a fifth less with one thread than with two. The relay, which has a single thread
    and needs as much for a request, is busy before Caddy is.
    """
    return {} if "GOMAXPROCS" in os.environ else {"GOMAXPROCS": str(max(1, cores // 2))}
