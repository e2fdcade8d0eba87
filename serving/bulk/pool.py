"""Worker processes that share the batches. A picture that ends its worker costs one row, and not the work."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from handler.files import UserError
from handler.problem import Problem
from serving.bulk.answering import Picture, row
from serving.bulk.failures import Unavailable
from serving.bulk.sources import Source
from serving.bulk.worker import Failed, Item, Ready, Result, Settings, path_of, run

# One that is computed, and one that is read meanwhile.
TASKS = 2
# Times that a picture may end a worker: the first time, a node without memory may be the reason.
DEATHS = 2
# Workers in a row that ended before they were ready.
STARTS = 3


@dataclass(slots=True)
class Task:
    """A batch, and what takes its rows."""

    items: Sequence[Item]
    take: Callable[[Result], None]
    deaths: int = 0


@dataclass(slots=True)
class Worker:
    process: BaseProcess
    connection: Connection
    tasks: deque[int] = field(default_factory=deque)
    is_ready: bool = False


class Pool:
    """Workers, started when it is entered."""

    def __init__(self, count: int, settings: Settings, sources: Sequence[Source], say: Callable[[str], None]) -> None:
        self.settings, self.sources, self.say = settings, sources, say
        self.count = count
        self.context = multiprocessing.get_context("spawn")
        self.workers: list[Worker] = []
        self.tasks: dict[int, Task] = {}
        self.waiting: deque[int] = deque()
        self.number = 0
        self.failed_starts = 0

    def __enter__(self) -> "Pool":
        self.workers = [self._start() for _ in range(self.count)]
        return self

    def __exit__(self, *reason: object) -> None:
        for worker in self.workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.process.close()

    def submit(self, items: Sequence[Item], take: Callable[[Result], None]) -> None:
        """Have a batch answered, once there is room for it.

        Args:
            take: called with the rows, within this or a later call.
        """
        while len(self.tasks) >= TASKS * self.count:
            self._receive()
        self._queue(Task(items, take))
        self._send()

    def finish(self) -> None:
        """Wait for all answers."""
        while self.tasks:
            self._receive()

    def _queue(self, task: Task, first: bool = False) -> None:
        self.number += 1
        self.tasks[self.number] = task
        (self.waiting.appendleft if first else self.waiting.append)(self.number)

    def _send(self) -> None:
        """Give the waiting tasks to the workers that have the fewest."""
        while self.waiting:
            free = [worker for worker in self.workers if worker.is_ready and len(worker.tasks) < TASKS]
            if not free:
                return
            worker = min(free, key=lambda worker: len(worker.tasks))
            number = self.waiting.popleft()
            worker.tasks.append(number)
            try:
                worker.connection.send((number, self.tasks[number].items))
            except OSError:
                return  # it has ended, which its connection will say

    def _start(self) -> Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=run, args=(theirs, self.settings), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    def _receive(self) -> None:
        """Take what the workers say next."""
        by_connection = {worker.connection: worker for worker in self.workers}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if isinstance(message, Ready):
                worker.is_ready, self.failed_starts = True, 0
            elif isinstance(message, Failed):
                raise UserError(message.sentence) if message.is_final else Unavailable(message.sentence)
            else:
                worker.tasks.remove(message.task)
                self.tasks.pop(message.task).take(message)
        self._send()

    def _replace(self, worker: Worker) -> None:
        """Start a worker in the place of one that has ended, and find the picture that ended it."""
        self.workers.remove(worker)
        worker.process.join()
        status = worker.process.exitcode
        reason = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        worker.connection.close()
        worker.process.close()
        if not worker.is_ready:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise UserError(
                    f"The workers end before they have loaded the model ({reason}): is there enough memory?"
                )
        # The oldest task was computed; the others had not begun.
        for place, number in reversed(list(enumerate(worker.tasks))):
            task = self.tasks[number]
            if place:
                self.waiting.appendleft(number)
            else:
                self._suspect(number, task, reason)
        self.workers.append(self._start())

    def _suspect(self, number: int, task: Task, reason: str) -> None:
        if len(task.items) > 1:
            self.say(f"A worker ended ({reason}): its pictures are classified one by one.")
            del self.tasks[number]
            gathered = Gathered(len(task.items), task.take)
            for place, item in reversed(list(enumerate(task.items))):
                self._queue(Task([item], gathered.taker(place)), first=True)
        elif task.deaths + 1 < DEATHS:
            task.deaths += 1
            self.waiting.appendleft(number)
        else:
            item = task.items[0]
            detail = f"A worker ended on this picture ({reason}): it may take too much memory."
            problem = Picture(path_of(self.sources, item), problem=Problem(500, "internal", detail))
            self.tasks.pop(number).take(Result(number, [row(problem)], 0))


class Gathered:
    """The rows of a batch that was divided."""

    def __init__(self, count: int, take: Callable[[Result], None]) -> None:
        self.results: dict[int, Result] = {}
        self.count, self.take = count, take

    def taker(self, place: int) -> Callable[[Result], None]:
        def take(result: Result) -> None:
            self.results[place] = result
            if len(self.results) == self.count:
                ordered = [self.results[number] for number in range(self.count)]
                rows = [row for result in ordered for row in result.rows]
                self.take(Result(0, rows, sum(result.skipped for result in ordered)))

        return take
