"""One test in one process of Locust: it generates load, or judges, or, as a single process, does both.

A process that generates load sends its records to the one that judges, every second.
"""

import math
import sys
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from common.verdicts import WRONG_USAGE, Verdict
from handler.files import UserError
from loadtest.generate.clients import unready
from loadtest.generate.pictures import make_pool
from loadtest.generate.preflight import Objection, objection, resolve
from loadtest.generate.progress import Progress
from loadtest.generate.recorder import Collector
from loadtest.generate.session import Session, clock
from loadtest.generate.shapes import rate_at
from loadtest.judge import machine, server
from loadtest.judge.conclusion import Observations, conclude, without_server
from loadtest.judge.early import allowances, breach_is_certain
from loadtest.judge.summary import Summary
from loadtest.report.compare import read
from loadtest.report.outcome import publish
from loadtest.settings import settle

REPORT, DRAIN = "catsdogs report", "catsdogs drain"
# Time for a process to report, after the last of its requests.
TELLING_S = 8


class Run:
    def __init__(self, environment: Environment) -> None:
        """
        Raises:
            UserError: options that make no test.
        """
        self.environment = environment
        self.options = environment.parsed_options
        self.settings = settle(self.options)
        self.judging = not isinstance(environment.runner, WorkerRunner)
        say = self.say if self.options.pictures and self.judging else lambda sentence: None
        self.pool = make_pool(self.settings.pictures, self.options.seed, say=say)
        # Files that cannot be read or written are reported before the test.
        self.old = read(Path(self.options.compare)) if self.options.compare and self.judging else None
        if self.options.out and self.judging:
            make_folder(Path(self.options.out))
        self.generating = not isinstance(environment.runner, MasterRunner)
        self.clear()

    def clear(self) -> None:
        worker = getattr(self.environment.runner, "worker_index", 0)
        self.session = Session(self.settings, self.pool, worker)
        self.collector = Collector()
        self.start = 0
        self.finished = self.decided = False
        self.summary: Summary | None = None
        self.scrapes: list[server.Scrape | None] = []
        self.stolen = machine.stolen()
        self.progress: Progress | None = None

    def object(self) -> Objection | None:
        """Return the reason why there is no test, after --wait at the latest; None where there is a test."""
        deadline = clock() + self.options.wait
        while (refusal := self.objection()) and refusal.status != WRONG_USAGE and clock() < deadline:
            gevent.sleep(0.5)
        return refusal

    def objection(self) -> Objection | None:
        if problem := unready(self.settings.address):
            return Objection(problem, Verdict.NOT_READY.exit_code)
        self.settings = resolve(self.settings)
        return objection(self.settings, self.pool, self.say)

    def say(self, sentence: str) -> None:
        if not self.options.quiet:
            print(f"Note: {sentence}", file=sys.stderr, flush=True)

    def begin(self) -> None:
        """Start a test, also another one from Locust's web page."""
        if self.environment.host != self.options.host:
            self.options.host = self.environment.host
            self.settings = settle(self.options)
        # Each process asks the server itself, since the one that judges does not send its answer to the others.
        self.settings = resolve(self.settings)
        self.clear()
        spawn = self.environment.runner.greenlet.spawn
        if self.judging:
            if self.settings.gate:
                allowances(self.settings.objectives, self.settings.gate)  # computed before the load, and cached
            self.scrapes = [self.scrape()]
            # The users start before then, so that the plan's first second is complete.
            self.start = math.ceil(clock()) + 1
            if self.options.progress:
                self.progress = Progress(self.settings)
            spawn(self.watch, self.collector)
        if self.generating:
            spawn(self.report, self.session)

    def report(self, session: Session) -> None:
        while not session.draining:
            gevent.sleep(1)
            self.tell(session.take())

    def tell(self, report: dict[str, Any]) -> None:
        if self.judging:
            self.collector.add("here", report)
        else:
            self.environment.runner.send_message(REPORT, report)

    def hear(self, environment: Environment, msg: Any, **_: Any) -> None:
        self.collector.add(msg.node_id, msg.data)

    def drain(self, **_: Any) -> None:
        """Send nothing more, wait for what is under way, and report it."""
        if not self.session.draining:
            self.session.drain()
            self.tell({**self.session.take(), "drained": True})

    def watch(self, collector: Collector) -> None:
        """Show the progress, and end a test whose verdict is certain."""
        settings = self.settings
        while collector is self.collector and self.summary is None:
            gevent.sleep(1 - clock() % 1)
            if self.progress:
                self.progress.show(collector, self.start, clock() - self.start)
            if settings.gate and self.options.until_decided:
                self.decided |= breach_is_certain(
                    collector, settings.objectives, settings.gate, settings.stages, self.start
                )

    def scrape(self) -> server.Scrape | None:
        return server.scrape(self.settings.metrics) if self.settings.metrics else None

    def end(self) -> None:
        """Wait for what is under way, once the users are gone, and judge the test once."""
        if self.generating:
            self.drain()
        if not self.judging or not self.start or self.summary is not None:
            return
        if not self.generating:
            self.end_workers()
        self.scrapes.append(self.scrape())
        self.finish(conclude(self.observations()))

    def end_workers(self) -> None:
        runner = self.environment.runner
        workers = [node.id for node in runner.clients.all]
        for worker in workers:
            runner.send_message(DRAIN, None, client_id=worker)
        patience = gevent.Timeout(self.settings.address.timeout_s + TELLING_S, False)
        with patience:
            while not self.collector.drained.issuperset(workers):
                gevent.sleep(0.05)

    def observations(self) -> Observations:
        return Observations(
            settings=self.settings,
            pool=self.pool,
            collector=self.collector,
            start=self.start,
            ended=clock(),
            finished=self.finished,
            decided=self.decided,
            processes=1 if self.generating else max(len(self.collector.under_way), 1),
            stolen=self.stolen,
            scrapes=tuple(self.scrapes),
        )

    def finish(self, summary: Summary) -> None:
        self.summary = summary
        if self.progress:
            self.progress.close()
        publish(summary, self.options, self.old)
        if self.settings.gate is not None:
            self.environment.process_exit_code = summary.exit_code

    def refuse(self, objection: Objection) -> None:
        """End without a test, and without a report where it was wrong usage."""
        if objection.status == WRONG_USAGE:
            print(f"catsdogs: {objection.sentence}", file=sys.stderr, flush=True)
        else:
            self.finish(without_server(self.observations(), objection.sentence))
        self.environment.process_exit_code = objection.status


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The report cannot be written to {path}: {error.strerror}.") from error


class Rate(LoadTestShape):  # type: ignore[misc]
    """The plan's rate as a number of users."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def tick(self) -> tuple[int, float] | None:
        run, settings = self.run, self.run.settings
        # The first tick comes before the test's start, when the run's start is not set yet.
        elapsed = max(clock() - run.start, 0.0) if run.start else 0.0
        run.finished = elapsed >= settings.end
        if run.finished or run.decided:
            return None
        # Half a second ahead, since users start within a second.
        rate = rate_at(settings.stages, min(elapsed + 0.5, settings.end - 1e-6))
        return max(round(rate / settings.rate_per_user), 1), float(max(settings.users, 1))
