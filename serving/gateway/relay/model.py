"""Facts of the model, which TorchServe's half of the server writes into the run folder."""

import json
from pathlib import Path
from typing import Any


class Model:
    """The facts of the model: name, version, classes, sha256."""

    def __init__(self, run: Path) -> None:
        self.path = run / "model.json"
        self.read_at = 0.0
        self.known: dict[str, Any] = {}

    def facts(self) -> dict[str, Any]:
        """The facts, read again where the file has changed; empty where there is none yet."""
        try:
            changed = self.path.stat().st_mtime
            if changed != self.read_at:
                self.known, self.read_at = json.loads(self.path.read_bytes()), changed
        except (OSError, ValueError):
            pass
        return self.known
