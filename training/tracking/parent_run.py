"""The run that those of a sweep or of a cross-validation are nested under."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from training.tracking.record import Record, read_record, write_record
from training.tracking.tracked_run import tracker_of
from training.tracking.tracker import Guarded


@dataclass(frozen=True, slots=True)
class ParentRun:
    """Arguments and environment for the commands of nested runs; where nothing is tracked, they track nothing."""

    tracker: Guarded | None = None
    arguments: tuple[str, ...] = ("--tracker", "none")
    environment: Mapping[str, str] = field(default_factory=dict)

    def finish(self, figures: Mapping[str, float], table: Path) -> None:
        """Store what the nested runs came to."""
        if self.tracker:
            self.tracker.log(figures, 0)
            self.tracker.artifact(table)


@contextmanager
def parent_run(
    folder: Path,
    asked: str | None,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[ParentRun]:
    """Open the run of `folder`, or go on with it; close it with the status that the block ends in."""
    chosen = tracker_of(folder, asked, say)
    before = read_record(folder)
    resume = before.run if chosen and before and before.tracker == chosen[0] else None
    run = chosen[1].start(name, params, tags, resume) if chosen else ""
    if not chosen or not run:
        yield ParentRun()
        return
    tracker = chosen[1]
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, Record(chosen[0], tracker.place, run))
    try:
        yield ParentRun(tracker, ("--tracker", chosen[0], "--tracked-under", run), tracker.environment)
    except KeyboardInterrupt:
        tracker.end("killed")
        raise
    except BaseException:
        tracker.end("failed")
        raise
    tracker.end("finished")
