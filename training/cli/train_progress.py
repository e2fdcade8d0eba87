"""The progress of training on a terminal, or line by line where there is none."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from training.config import Config
    from training.learning.history import EpochLine


class TrainProgress:
    """The callbacks of a run.

    Args:
        note: sentence that is told once the work begins, or "".
    """

    def __init__(self, console: Console, progress: Progress, config: "Config", note: str) -> None:
        self.console, self.progress, self.config = console, progress, config
        self.say = self.printer(console)
        self._note, self._tenths = note, 0
        self._task = progress.add_task("starting", total=None, rate="")

    @staticmethod
    def printer(console: Console) -> Callable[[str], None]:
        """Return a function that prints a sentence on one line."""
        return lambda sentence: console.print(sentence, highlight=False, soft_wrap=True)

    def on_work(self, work: str, done: int, total: int) -> None:
        self._tell_note()
        self.progress.update(self._task, description=work, completed=done, total=total, rate="")
        tenths = 10 * done // total
        if not self.console.is_terminal and (tenths > self._tenths or done == total) and done:
            self.console.print(f"{work}: {done} of {total}", highlight=False)
        self._tenths = 0 if done == total else tenths

    def on_step(self, epoch: int, step: int, steps: int, rate: float) -> None:
        self.progress.update(
            self._task, description=f"epoch {epoch + 1}", completed=step, total=steps, rate=f"{rate:.0f} pictures/s"
        )

    def on_epoch(self, line: "EpochLine") -> None:
        self._tell_note()
        self.say(
            f"epoch {line.epoch:3}/{self.config.train.epochs}  {line.size:3} px  "
            f"train loss {line.train_loss:.4f}  val loss {line.val_loss:.4f}  "
            f"val accuracy {100 * line.val_accuracy:.2f} %  {line.pictures_per_s:.0f} pictures/s  "
            f"{line.seconds:.0f} s, about {self._seconds_left(line) / 60:.0f} min left"
        )

    def _seconds_left(self, line: "EpochLine") -> float:
        from training.learning.optimizer import picture_size

        coming = range(line.epoch, self.config.train.epochs)
        if self.config.model.freeze_backbone:
            return line.seconds * len(coming)
        # A step costs as much as its pictures have pixels.
        return line.seconds * sum(picture_size(self.config.train, epoch) ** 2 / line.size**2 for epoch in coming)

    def _tell_note(self) -> None:
        if self._note and not self.console.quiet:
            click.echo(self._note, err=True)
        self._note = ""
