"""Runs in Weights & Biases: online with an account, else offline in wandb/, for `wandb sync` later."""

import json
import netrc
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("WANDB_SILENT", "true")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wandb

from training.tracking.tracker import LoggedModel, Status

PROJECT = "catsdogs"
HOST = "api.wandb.ai"


class WandbTracker:
    """A client of Weights & Biases.

    Args:
        place: folder that an earlier run was recorded in; WANDB_DIR comes first.
    """

    def __init__(self, place: str | None = None) -> None:
        self.place = os.environ.get("WANDB_DIR") or place or str(Path.cwd())
        self.environment = {"WANDB_DIR": self.place}
        self._run: Any = None

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        resume: str | None = None,
        parent: str | None = None,
    ) -> str:
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_account() else "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            config={**params, **tags},
            group=parent,
            dir=self.place,
            id=resume,
            resume="allow",
            mode=mode,
            settings=wandb.Settings(console="off", save_code=False),
        )
        return str(self._run.id)

    def logged(self) -> int:
        """Only a run that is online tells."""
        return int(self._run.summary.get("epoch") or 0)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log({**metrics, "epoch": step})

    def artifact(self, path: Path, folder: str = "") -> None:
        if path.suffix == ".png":
            self._run.log({f"{folder or 'files'}/{path.stem}": wandb.Image(str(path))})
        stored = wandb.Artifact(f"{self._run.id}-{folder or 'files'}-{path.stem}", type=folder or "file")
        stored.add_file(str(path))
        self._run.log_artifact(stored)

    def model(self, model: LoggedModel) -> None:
        """Store network, input example and signature as an artifact of type model."""
        signature = {
            "image": [str(model.example.dtype), [-1, *model.example.shape[1:]]],
            "logits": [str(model.logits.dtype), [-1, *model.logits.shape[1:]]],
        }
        stored = wandb.Artifact(f"{self._run.id}-model", type="model", metadata={"signature": signature, **model.facts})
        with TemporaryDirectory() as folder:
            network, example = Path(folder, "model.onnx"), Path(folder, "example.json")
            network.write_bytes(model.onnx.SerializeToString())
            example.write_text(json.dumps({"image": model.example.tolist()}))
            stored.add_file(str(network))
            stored.add_file(str(example))
        self._run.log_artifact(stored)

    def end(self, status: Status) -> None:
        self._run.finish(exit_code=0 if status == "finished" else 1)


def _has_account() -> bool:
    """Whether runs can be sent without a question at the terminal."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
