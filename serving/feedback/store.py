"""The store of feedback: bounds on files and bytes around a place, and one thread that writes.

The thread is a daemon: a file system that hangs keeps neither an answer nor the end of the process.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.feedback.entry import Entry
from serving.feedback.place import OutOfSpace, Place, Unavailable

# Others may write to the same place, and a reviewer takes away what is done.
RECOUNT_S = 600.0
# After a failure nobody waits for the place again for so long.
PAUSE_S = 5.0
MAX_WAITING = 16
MAX_WAIT_S = 8.0


class Full(Exception):
    """There are as many files, or bytes, as there may be."""


@dataclass(slots=True)
class Store:
    """Keeps entries in a place. Not thread-safe: its Writer's thread calls it."""

    place: Place
    max_files: int
    max_bytes: int
    clock: Callable[[], float] = time.monotonic
    files: int = 0
    bytes: int = 0
    counted_at: float | None = None

    def keep(self, entry: Entry) -> None:
        """Write an entry in place of an earlier one of the same prediction.

        Raises:
            Full: there is no room for it.
            Unavailable: the place cannot be reached.
        """
        try:
            self._count()
            before = self.place.find(entry.day, entry.prediction.id)
            self._write(entry, before)
        except OutOfSpace as error:
            raise Full from error

    def _count(self) -> None:
        now = self.clock()
        if self.counted_at is None or now - self.counted_at > RECOUNT_S:
            self.files, self.bytes = self.place.count(self.max_files)
            self.counted_at = now

    def _write(self, entry: Entry, before: dict[str, int]) -> None:
        after = {entry.file: entry.document()}
        if entry.picture is not None and entry.picture_file is not None:
            # Before the document, which thus never names a picture that is not there.
            after = {entry.picture_file: entry.picture, **after}
        files = len(after) - len(before)
        size = sum(map(len, after.values())) - sum(before.values())
        if (files > 0 and self.files + files > self.max_files) or (size > 0 and self.bytes + size > self.max_bytes):
            raise Full
        # Each is counted as it is written: the next one may fail.
        for name, data in after.items():
            self.place.write(entry.day, name, data)
            self.files, self.bytes = self.files + (name not in before), self.bytes + len(data) - before.get(name, 0)
        for name in before.keys() - after.keys():
            self.place.remove(entry.day, name)
            self.files, self.bytes = self.files - 1, self.bytes - before[name]


@dataclass(slots=True)
class Writer:
    """A thread that keeps entries one after the other, and whom an event loop asks without waiting for the place."""

    store: Store
    paused_until: float = 0.0
    jobs: "queue.Queue[Callable[[], None] | None]" = field(default_factory=queue.Queue)
    waiting: int = 0
    """Jobs that are not done, those that nobody waits for any more among them."""
    hanging: int = 0
    """Those that nobody waits for any more, since the place did not answer."""

    def __post_init__(self) -> None:
        threading.Thread(target=self._run, name="feedback", daemon=True).start()

    def close(self) -> None:
        self.jobs.put(None)

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()
        self.store.place.close()

    def check(self) -> None:
        """Refuse where an entry could not be kept now, before its picture is received.

        Raises:
            Unavailable: the place did not answer, or too much waits for it.
        """
        if self.hanging or self.waiting >= MAX_WAITING or time.monotonic() < self.paused_until:
            raise Unavailable("the place did not answer a moment ago")

    async def keep(self, entry: Entry) -> None:
        """Keep an entry. One that was given up before its turn is not kept, and no longer held in memory.

        Raises:
            Full: there is no room for it.
            Unavailable: the place cannot be reached, or does not answer in time.
        """
        self.check()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        held, given_up = [entry], False
        del entry

        def finish(error: BaseException | None) -> None:
            self.waiting -= 1
            self.hanging -= given_up
            if not done.done():
                done.set_result(None) if error is None else done.set_exception(error)

        def job() -> None:
            error: BaseException | None = None
            try:
                # Empty where it was given up meanwhile.
                while held:
                    self.store.keep(held.pop())
            except Exception as raised:
                # Without its frames, which hold the picture.
                error = raised.with_traceback(None)
            loop.call_soon_threadsafe(finish, error)

        self.waiting += 1
        self.jobs.put(job)
        try:
            await asyncio.wait_for(done, MAX_WAIT_S)
        except TimeoutError:
            given_up, self.hanging = True, self.hanging + 1
            self.paused_until = time.monotonic() + PAUSE_S
            raise Unavailable(f"the place did not answer within {MAX_WAIT_S:.0f} s") from None
        except Unavailable:
            self.paused_until = time.monotonic() + PAUSE_S
            raise
        finally:
            held.clear()
