"""Health of the workers, as the probe in TorchServe's half reports it."""

from pathlib import Path

import aiohttp

PATIENCE = aiohttp.ClientTimeout(total=5, sock_connect=0.5)


class Health:
    """The probe of the TorchServe whose run folder this is."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.draining = False
        self.session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(run / "probe.sock")), timeout=PATIENCE)

    async def close(self) -> None:
        await self.session.close()

    async def is_ready(self) -> bool:
        """Whether a worker can answer, and this pod takes new requests."""
        if self.draining:
            return False
        try:
            async with self.session.get("http://probe/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
