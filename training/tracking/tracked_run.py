"""A training run and its evaluation, recorded by a tracker as they go."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import Config
from training.data.manifest import Manifest
from training.tracking.naming import params_of, run_name, tags_of
from training.tracking.record import Record, read_record, write_record
from training.tracking.tracker import Guarded, LoggedModel, Status

if TYPE_CHECKING:
    from training.learning.history import EpochLine

FILES = ("config.yaml", "history.csv", "curves.png")
SPLIT_FIGURES = ("accuracy", "low", "high", "balanced_accuracy", "log_loss", "ece", "ece_scaled", "count")
# What `accuracy` and its interval are called beside other figures.
LONG_NAMES = {"low": "accuracy_low", "high": "accuracy_high"}


class TrackedRun:
    """The callbacks of a run in `folder`, whose file tracking.json says where the run goes on after a kill.

    Args:
        name: of the tracker.
        parent: id of the run that this one is nested under.
        called: name of the run, by default made of the config.
    """

    def __init__(self, name: str, tracker: Guarded, folder: Path, parent: str | None = None, called: str = "") -> None:
        self._name, self._tracker, self._folder = name, tracker, folder
        self._parent, self._called = parent, called
        self._record: Record | None = None
        self._best = 0.0

    def begin(self, config: Config, manifest: Manifest, history: Sequence["EpochLine"]) -> None:
        """Open the run, or go on with the one in tracking.json; log the epochs that it lacks."""
        from training.learning.runtime import git_sha, versions

        before = read_record(self._folder)
        resume = before.run if before and before.tracker == self._name else None
        tags = tags_of(manifest, git_sha(), versions()) | {"run_folder": str(self._folder)}
        name = self._called or run_name(config)
        run = self._tracker.start(name, params_of(config), tags, resume, self._parent)
        if not run:
            return
        # After a kill the place may have one epoch more than the file.
        known = max(before.epochs, self._tracker.logged()) if before and before.run == run else 0
        self._record = Record(self._name, self._tracker.place, run, known)
        write_record(self._folder, self._record)
        self._best = max((line.val_accuracy for line in history[:known]), default=0.0)
        for line in history[known:]:
            self.on_epoch(line)

    def on_epoch(self, line: "EpochLine") -> None:
        if self._record is None:
            return
        figures = dataclasses.asdict(line)
        self._best = max(self._best, line.val_accuracy)
        step = figures.pop("epoch")
        self._tracker.log({**figures, "best_val_accuracy": self._best}, step)
        if self._tracker.works:
            self._record = dataclasses.replace(self._record, epochs=line.epoch)
            write_record(self._folder, self._record)

    def finish(self, best: Path) -> None:
        """Store the run's files and the network of its best checkpoint; a nested run's network is not stored."""
        if self._record is None:
            return
        for name in FILES:
            if (self._folder / name).exists():
                self._tracker.artifact(self._folder / name)
        if self._parent is None and self._tracker.works:
            self._tracker.model(partial(logged_model, best))

    def evaluated(self, report: dict[str, Any], out: Path) -> None:
        """Log the figures of a report, each with the split and the source of the pictures, and its files."""
        if self._record is None:
            return
        self._tracker.log(report_figures(report), self._record.epochs)
        for name in ("report.json", *report["pictures"]):
            self._tracker.artifact(out / name, f"evaluation/{report['split']}")

    @contextmanager
    def until_end(self) -> Iterator[None]:
        """Close the run with the status that the block ends in."""
        try:
            yield
        except KeyboardInterrupt:
            self._close("killed")
            raise
        except BaseException:
            self._close("failed")
            raise
        self._close("finished")

    def _close(self, status: Status) -> None:
        if self._record is not None:
            self._tracker.end(status)


def report_figures(report: dict[str, Any]) -> dict[str, float]:
    """Return the figures of each source, as `test/photos/accuracy`."""
    from training.data.contact import file_names

    names = file_names(list(report["slices"]))
    return {
        f"{report['split']}/{names[source]}/{LONG_NAMES.get(key, key)}": float(figures[key])
        for source, figures in report["slices"].items()
        for key in SPLIT_FIGURES
    } | {"temperature": float(report["temperature"]["value"])}


def logged_model(checkpoint_path: Path) -> LoggedModel:
    """Return a checkpoint's network as ONNX, with grey pictures as its example."""
    import numpy as np
    import torch

    from training.learning.checkpoint import load_checkpoint, load_trained
    from training.release.onnx_model import to_onnx

    checkpoint = load_checkpoint(checkpoint_path)
    model, size = load_trained(checkpoint), int(checkpoint.config["input"]["size"])
    example = np.full((1, size, size, 3), 128, dtype=np.uint8)
    with torch.inference_mode():
        logits = model(torch.from_numpy(example)).numpy()
    facts = {
        "classes": ",".join(checkpoint.classes),
        "git_sha": checkpoint.git_sha,
        "data_sha256": checkpoint.manifest_sha256,
        "resize": str(checkpoint.config["input"]["resize"]),
        "epochs": str(checkpoint.epoch),
    }
    return LoggedModel(to_onnx(model, size), example, logits, facts)


def tracker_of(folder: Path, asked: str | None, say: Callable[[str], None]) -> tuple[str, Guarded] | None:
    """Return the tracker that is asked for, else the one that the run in `folder` was tracked by, or None."""
    from training.tracking.choice import NONE, TRACKERS, open_tracker

    before = read_record(folder)
    name = asked or (before.tracker if before else NONE)
    if asked is None and name not in TRACKERS:
        return None
    tracker = open_tracker(name, say, before.place if before and before.tracker == name else None)
    return (name, tracker) if tracker else None
