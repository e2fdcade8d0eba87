"""Snapshots of the workers' counters, from which /drift is answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from serving.telemetry.drift import EVERY_S, NOT_READY, History, drift, read_snapshot

# Until TorchServe's half answers for the first time: what it counted before is in no window.
RETRY_S = 1.0


class Drift:
    """The snapshots of this gateway's server.

    Args:
        fetch: returns the workers' metrics, or None where they cannot be had.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes | None]]) -> None:
        self.fetch = fetch
        self.history = History()

    async def keep(self) -> None:
        """Take a snapshot each ten minutes, until this is cancelled."""
        while True:
            if text := await self.fetch():
                # Metrics that cannot be read are none; the next ones may be read again.
                with suppress(ValueError, LookupError):
                    self.history.add(await asyncio.to_thread(read_snapshot, text.decode(), time.time()))
            await asyncio.sleep(EVERY_S if self.history.snapshots else RETRY_S)

    async def answer(self) -> dict[str, Any]:
        """Return the document of /drift, as of now."""
        text = await self.fetch()
        if text is None or not self.history.snapshots:
            return dict(NOT_READY)
        # In a thread: those of a thousand classes take longer to read than requests should wait.
        newest = await asyncio.to_thread(read_snapshot, text.decode(), time.time())
        self.history.restart(newest)
        return drift(self.history, newest)
