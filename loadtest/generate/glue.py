"""Connection of the load test to Locust's events."""

import os
import signal
import sys
from typing import Any

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from handler.files import UserError
from loadtest.generate.run import DRAIN, REPORT, TELLING_S, Rate, Run
from loadtest.generate.users import USERS

ATTRIBUTE = "catsdogs"
CONNECTING_S = 10


def listen(events: Any) -> None:
    events.init.add_listener(prepare)
    events.test_start.add_listener(lambda environment, **_: run_of(environment).begin())
    events.test_stop.add_listener(lambda environment, **_: run_of(environment).end())
    # After Ctrl-C, Locust calls this first.
    events.quitting.add_listener(lambda environment, **_: stop(environment))


def run_of(environment: Environment) -> Run:
    run = getattr(environment, ATTRIBUTE)
    assert isinstance(run, Run)
    return run


def prepare(environment: Environment, runner: Any, **_: Any) -> None:
    """Prepare a process for its tests."""
    options = environment.parsed_options
    options.host = environment.host = options.host or "http://127.0.0.1:8080"
    try:
        run = Run(environment)
        if not isinstance(runner, WorkerRunner):
            gevent.signal_handler(signal.SIGINT, interrupt)
        elif options.processes:
            gevent.signal_handler(signal.SIGINT, end_late, run.settings.address.timeout_s)
    except UserError as error:
        if isinstance(runner, WorkerRunner):
            raise SystemExit(1) from error  # the process that judges prints the error, and sets the exit status
        print(f"catsdogs: {error}", file=sys.stderr, flush=True)
        if isinstance(runner, MasterRunner):
            wait_for_workers(runner, options.processes or 0)
        raise SystemExit(2) from error
    setattr(environment, ATTRIBUTE, run)
    if isinstance(runner, MasterRunner):
        runner.register_message(REPORT, run.hear)
    elif isinstance(runner, WorkerRunner):
        # It waits for what is under way, and must receive Locust's messages meanwhile.
        runner.register_message(DRAIN, run.drain, concurrent=True)
    if options.gate or options.protocol or not options.user_classes:
        environment.user_classes = [USERS[protocol] for protocol in run.settings.protocols]
    if run.settings.gate is not None:
        environment.shape_class = Rate(run)
        environment.shape_class.runner = runner
    if options.headless and run.judging and (refusal := run.object()):
        run.refuse(refusal)
        environment.shape_class = Nothing()
        environment.shape_class.runner = runner


def wait_for_workers(runner: MasterRunner, count: int) -> None:
    """Wait until this machine's worker processes are connected, at most CONNECTING_S.

    A connected worker sees the error itself and ends. One that is still starting is not ended by Locust: it would look
    for this process for minutes.
    """
    with gevent.Timeout(CONNECTING_S, False):
        while runner.worker_count < count:
            gevent.sleep(0.02)


def interrupt() -> None:
    """Raise KeyboardInterrupt where Locust waits for it.

    Python raises it in the greenlet that runs at that moment, which then fails with a traceback.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def end_late(timeout_s: float) -> None:
    """End this process some time after Ctrl-C, which reaches all processes.

    The process that judges ends the others before that, once they have reported.
    """
    gevent.sleep(timeout_s + TELLING_S)
    os._exit(1)


class Nothing(LoadTestShape):  # type: ignore[misc]
    """A shape without requests: Locust ends, and its other processes with it."""

    def tick(self) -> None:
        return None


def stop(environment: Environment) -> None:
    run = getattr(environment, ATTRIBUTE, None)
    if isinstance(run, Run) and run.judging and run.start and run.summary is None:
        environment.runner.stop()
        run.end()
