"""The folder of a run: config.yaml, history.csv, curves.png, and the checkpoints last.pt and best.pt."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from handler.files import UserError, write_atomic
from training.config import Config
from training.data.manifest import Manifest
from training.evaluation.report import draw_curves
from training.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.learning.history import EpochLine, is_best, write_history
from training.learning.learner import Learner
from training.learning.resume import again_from
from training.learning.runtime import git_sha, versions
from training.learning.start import pictures_of_run, read_start

# A head's epoch takes milliseconds, a drawing half a second.
CURVES_S = 10


class RunFolder:
    """A run's files, and the facts that each of its checkpoints records.

    Attributes:
        checkpoint: what the run goes on from, or None.
        start: what its weights come from, where that is a checkpoint or a release.

    Raises:
        UserError: the folder holds another run, or one that is not to be resumed; or what it starts from was trained
            on pictures that are tested now.
    """

    def __init__(self, folder: Path, config: Config, manifest: Manifest, resume: bool) -> None:
        self.folder, self.last, self.best = folder, folder / "last.pt", folder / "best.pt"
        self.config, self.manifest = config, manifest
        if self.last.exists() and not resume:
            raise UserError(f"{folder} already holds a run. Go on with it by --resume, or choose another --run.")
        self.checkpoint = load_checkpoint(self.last) if self.last.exists() else None
        if self.checkpoint is not None:
            _same_run(self.checkpoint, config, manifest, folder)
        self.start = read_start(config.model.weights, manifest)
        self._trained_on = pictures_of_run(config, manifest, self.start)
        self._commit = git_sha()  # of the code that is loaded, whatever is checked out while it runs
        self._drawn = 0.0

    def create(self) -> None:
        """Make the folder with its config."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
        write_atomic(self.folder / "config.yaml", config.encode())

    def save(self, learner: Learner, history: Sequence[EpochLine]) -> None:
        """Save the last epoch of `history`; best.pt first, then the history, then last.pt, which a run goes on from."""
        checkpoint = Checkpoint(
            model=learner.student.state_dict(),
            ema=learner.task.released(learner.averaged.module.state_dict()),
            optimizer=learner.optimizer.state_dict(),
            epoch=history[-1].epoch,
            config=self.config.model_dump(mode="json"),
            classes=self.manifest.classes,
            manifest_sha256=self.manifest.sha256,
            git_sha=self._commit,
            versions=versions(),
            scaler=learner.scaler.state_dict(),
            teacher=learner.task.teacher,
            start=self.start.facts if self.start else None,
            names=self.manifest.names,
            trained_on=self._trained_on,
        )
        if is_best(history) or not self.best.exists():
            save_checkpoint(checkpoint, self.best)
        write_history(self.folder / "history.csv", history)
        save_checkpoint(checkpoint, self.last)

    def draw(self, history: Sequence[EpochLine], now: bool = False) -> None:
        """Draw the curves, where that is `now` or was last done a while ago."""
        if now or time.perf_counter() - self._drawn > CURVES_S:
            draw_curves([asdict(row) for row in history], self.folder / "curves.png")
            self._drawn = time.perf_counter()


def _same_run(checkpoint: Checkpoint, config: Config, manifest: Manifest, run: Path) -> None:
    if checkpoint.manifest_sha256 != manifest.sha256:
        raise UserError(
            "The run was trained on another manifest; a resumed run must go on with the same pictures. "
            f"{again_from(checkpoint.config, manifest.folder, run)}"
        )
    if not _same_config(checkpoint.config, config):
        raise UserError("The run has another config; leave out --config and --set to go on with its own.")


def _same_config(values: dict[str, Any], config: Config) -> bool:
    """Whether a checkpoint's config is this one, with defaults for the keys that its version did not have."""
    try:
        return Config.model_validate(values) == config
    except ValidationError:
        return False
