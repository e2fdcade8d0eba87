"""The no-server limit: what the handler computes on this machine without a server around it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from handler.files import UserError


@dataclass(frozen=True, slots=True)
class NoServer:
    """The handler without a server: one process for each worker, batches as the server makes them."""

    python: Path
    """Interpreter of the shipped server's environment."""
    archive: Path
    pictures: Path
    """Folder with a subfolder for each class."""
    batch: int
    processes: int
    pictures_used: int = 16
    seconds: float = 12
    warmup: float = 3
    """Seconds before the measurement."""
    precision: str | None = None
    """None takes the one that a server would take."""

    def rate(self) -> float:
        """Measure the pictures per second of all processes together.

        Raises:
            UserError: the measurement failed.
        """
        command = [str(self.python), "-m", "loadtest.rivals.limit", str(self.archive), str(self.pictures)]
        command += ["--seconds", str(self.seconds), "--warmup", str(self.warmup), "--batch", str(self.batch)]
        command += ["--processes", str(self.processes), "--pictures-used", str(self.pictures_used)]
        environment = os.environ | ({"CATSDOGS_PRECISION": self.precision} if self.precision else {})
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise UserError(f"The handler cannot be measured without a server:\n{done.stderr.strip()[-2000:]}")
        return float(json.loads(done.stdout)["rate"])
