"""One test in one process: its users' arrivals, what is under way, and the records for the process that judges."""

import itertools
import random
import time
from typing import Any

import gevent
from gevent.pool import Pool as Greenlets
from locust.env import Environment

from loadtest.generate.clients import CLIENTS, Answer, Client, Contradictory, Wrong
from loadtest.generate.pictures import Picture, Pool
from loadtest.generate.recorder import NAMELESS, Recorder
from loadtest.settings import Settings

OFFSET = time.time() - time.perf_counter()


def clock() -> float:
    """Return the seconds since the epoch, by a clock that is not set during a test."""
    return OFFSET + time.perf_counter()


class Session:
    def __init__(self, settings: Settings, pool: Pool, worker: int = 0) -> None:
        thresholds = {name: latency.threshold for name, latency in settings.objectives.latency.items()}
        self.settings, self.pool, self.worker = settings, pool, worker
        self.recorder = Recorder({str(name): value for name, value in thresholds.items()})
        self.under_way = Greenlets()
        self.numbers = itertools.count()
        self.draining = False
        self.first: dict[tuple[str, int, str | None], Answer] = {}
        """The first answer to each picture, by protocol and model."""

    def rng(self) -> random.Random:
        """Return one user's random numbers: different in each process, the same in another test of the same seed."""
        return random.Random(f"{self.settings.options.seed} {self.worker} {next(self.numbers)}")

    def drain(self) -> None:
        """Wait for what is under way, as long as a request may take."""
        self.draining = True
        self.under_way.join(timeout=self.settings.address.timeout_s + 5)

    def take(self) -> dict[str, Any]:
        self.recorder.under_way = len(self.under_way)
        return self.recorder.take()


def arrive(
    session: Session, environment: Environment, name: str, client: Client, picture: Picture, due: float
) -> gevent.Greenlet | None:
    """Send a request that is due by a greenlet of its own, whatever became of those before it."""
    if session.draining:
        return None
    session.recorder.due(row_name(name, picture), due)
    if len(session.under_way) >= session.settings.options.max_in_flight:
        session.recorder.dropped(row_name(name, picture), due)
        return None
    return session.under_way.spawn(send, session, environment, name, client, picture, due)


def row_name(name: str, picture: Picture) -> str:
    return name if picture.refusal is None else f"{name} bad"


def send(session: Session, environment: Environment, name: str, client: Client, picture: Picture, due: float) -> None:
    """Send a request, check its answer, and record its time from when it was due."""
    row, sent = row_name(name, picture), clock()
    session.recorder.sent(row, due, sent)
    problem: Exception | None = None
    try:
        answer = client.ask(picture)
        now = clock()
        if answer is not None:
            check_class(session.settings, answer)
            agree(session, name, picture, answer)
    except Exception as error:  # any error is a failure of this request, which must be counted
        now, problem, answer = clock(), error, None
    if problem is None:
        labelled = picture.label is not None and session.settings.knows(picture.label)
        right = answer.label.lower() == picture.label if answer and labelled else None
        model = (answer.version, answer.sha256) if answer else NAMELESS
        session.recorder.answered(row, due, sent, now, right, model)
    else:
        session.recorder.failed(row, due, kind(problem), isinstance(problem, Contradictory))
    # Locust's own tables and web page show the same.
    environment.events.request.fire(
        request_type=name,
        name="a broken picture" if picture.refusal else "a picture",
        response_time=(now - due) * 1000,
        response_length=0,
        exception=problem,
        context={},
        start_time=due,
        url=session.settings.address.url,
    )


def check_class(settings: Settings, answer: Answer) -> None:
    """An answer names one of the model's classes; a model that a rollout brought may have others.

    Raises:
        Contradictory: it names another.
    """
    if answer.sha256 == settings.sha256 and not settings.knows(answer.label):
        raise Contradictory("200: the label is none of the model's classes")


def agree(session: Session, name: str, picture: Picture, answer: Answer) -> None:
    """The same picture must get the same answer: where neighbours in a batch are mixed up, it does not.

    Raises:
        Wrong: it got another one before, from the same model.
    """
    first = session.first.setdefault((name, id(picture), answer.sha256), answer)
    if first.label != answer.label or abs(first.probability - answer.probability) > 0.01:
        raise Wrong("200: the answer differs from an earlier one to the same picture")


def kind(problem: Exception) -> str:
    """Return the name under which a failure is counted, the same for all failures of one kind."""
    if isinstance(problem, Wrong):
        return str(problem)
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, OSError) and problem.errno is not None:
        return f"{type(problem).__name__}: {problem.strerror or problem}"
    return type(problem).__name__


def make_client(session: Session, name: str) -> Any:
    return CLIENTS[name](session.settings.address)
