"""The relay's server on RUN/relay.sock: one task per request, all within one budget."""

import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from handler.counts import EXPLANATION, PROBE, traffic_of
from handler.problem import Problem
from serving.feedback.settings import FeedbackSettings
from serving.gateway.relay import explain, grpc, kserve, problems, rest, status
from serving.gateway.relay.budget import Budget, Overloaded
from serving.gateway.relay.feedback import PATH as FEEDBACK_PATH
from serving.gateway.relay.feedback import Feedback
from serving.gateway.relay.health import Health
from serving.gateway.relay.images import Images
from serving.gateway.relay.log import Log
from serving.gateway.relay.model import Model
from serving.gateway.relay.telemetry import Telemetry, serve_telemetry
from serving.gateway.relay.upstream import PROBLEM, TorchServe
from serving.images.wire import PREFIX
from serving.telemetry.requests import LEFT, Requests

logger = logging.getLogger(__name__)

BACKLOG = 1024
MAX_QUESTIONS = 64
READ_BUFFER = 1 << 16
# More than find room in the gateway's 16 KiB: aiohttp would answer in text, and log a traceback for each request.
MAX_HEADERS = 8192
# Longer than the gateway keeps an idle connection, so that it is never the relay that closes one.
KEEPALIVE_S = 300
# A refused upload is read for so long, so that the gateway gets the answer and not a broken connection.
LINGERING_S = 2.0
# A client that gives up sooner than any server promises to answer says nothing about this one.
OWN_DEADLINE_MS = 100
METHODS = {**grpc.METHODS, **kserve.METHODS}


class Relay:
    """Answers what the gateway passes on. One event loop has it."""

    def __init__(
        self,
        run: Path,
        budget: Budget,
        log: Log,
        feedback: FeedbackSettings | None = None,
        image_operations: bool = False,
    ) -> None:
        self.budget = budget
        # Calls that bring no picture need no key: they take no room from those that do.
        self.questions = Budget(MAX_QUESTIONS, MAX_QUESTIONS * grpc.SLACK, MAX_QUESTIONS * grpc.SLACK)
        self.log = log
        model = Model(run)
        self.feedback = None if feedback is None else Feedback(feedback, model, log)
        sign = None if self.feedback is None else self.feedback.sign
        self.torchserve = TorchServe(run, model, sign)
        self.explanations = explain.Explanations()
        self.health = Health(run)
        self.requests = Requests()
        self.images = Images(run, log) if image_operations else None
        counts = None if self.feedback is None else self.feedback.counts
        image_counts = None if self.images is None else self.images.counts
        self.telemetry = Telemetry(run, self.requests, model, self.in_flight, counts, image_counts)

    async def close(self) -> None:
        self.torchserve.close()
        await self.health.close()
        await self.telemetry.close()
        if self.images is not None:
            self.images.close()
        if self.feedback is not None:
            self.feedback.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens, and write its line."""
        if self.feedback is not None and request.path == FEEDBACK_PATH:
            return await self.feedback.handle(request)
        if self.images is not None and request.path.startswith(PREFIX):
            return await self.images.handle(request)
        started, outcome = time.monotonic(), Outcome()
        response = await self._answer(request, outcome)
        by_grpc = is_grpc(request)
        self._count(request, outcome, time.monotonic() - started)
        entry = {
            "request_id": request.headers.get("X-Request-Id", ""),
            "protocol": "grpc" if by_grpc else request.headers.get("X-Catsdogs-Protocol", "rest"),
            "path": request.path,
            "code": outcome.problem or outcome.code,
            "bytes": outcome.bytes,
            "ms": round(1000 * (time.monotonic() - started), 1),
        }
        if self.log.access:
            entry |= {"time": round(time.time(), 3), "label": label(response) if not by_grpc else None}
        self.log.request(outcome.status, entry)
        return response

    def in_flight(self) -> tuple[int, int]:
        """Return the numbers of requests whose body is still arriving, and of those that TorchServe was asked."""
        complete = sum(ticket.complete for ticket in self.budget.tickets)
        return len(self.budget.tickets) - complete, complete

    def _count(self, request: web.BaseRequest, outcome: "Outcome", seconds: float) -> None:
        protocol = protocol_of(request)
        if protocol is None:
            return
        traffic = EXPLANATION if is_explanation(request) else traffic_of(request.headers.get(PROBE))
        problem = outcome.problem or outcome.code
        gave_up = problem == "deadline" and has_short_deadline(request)
        status = LEFT if gave_up or grpc.is_gone(request) else outcome.status
        self.requests.count(protocol, status, problem, traffic, seconds)

    async def _answer(self, request: web.BaseRequest, outcome: "Outcome") -> web.Response:
        by_grpc = is_grpc(request)
        request_id = request.headers.get("X-Request-Id", "")
        try:
            budget = self.questions if by_grpc and request.path not in grpc.LARGE else self.budget
            with budget.admit() as ticket:
                try:
                    if by_grpc:
                        method = METHODS.get(request.path)
                        return await grpc.answer(method, request, ticket, self.torchserve, self.health)
                    answer = self.explanations.explain if is_explanation(request) else rest.predict
                    response = await answer(request, ticket, self.torchserve)
                    outcome.status, outcome.problem = response.status, problem_of(response)
                    return response
                finally:
                    outcome.bytes = ticket.size
        except Problem as error:
            # Without what led to it: a traceback holds this frame, and the request's body, in a cycle.
            problem = error.with_traceback(None)
            problem.__cause__ = problem.__context__ = None
        except Overloaded:
            problem = problems.overloaded()
        except grpc.RemoteProblem as error:
            outcome.status, outcome.problem = error.answer.status, problems.code_in(error.answer.body)
            return status.passed_on(error.answer, request_id)
        except Exception:
            logger.exception("request %s failed in the relay", request_id)
            problem = problems.failed()
        outcome.status, outcome.code = problem.status, problem.code
        if by_grpc:
            return status.error(problem, request_id)
        return rest.problem_response(problem, request_id, "X-Catsdogs-Protocol" in request.headers)


@dataclass(slots=True)
class Outcome:
    """The end of a request: its HTTP status, the code of its problem, and the bytes received."""

    status: int = 200
    code: str | None = None
    problem: str | None = None
    """The code of a problem document that came from the handler."""
    bytes: int = 0


def is_grpc(request: web.BaseRequest) -> bool:
    """Whether it is a call; the gateway passes on nothing else but predictions and explanations."""
    return not request.path.startswith("/predictions") and not is_explanation(request)


def is_explanation(request: web.BaseRequest) -> bool:
    return request.path.startswith(explain.PATH)


def protocol_of(request: web.BaseRequest) -> str | None:
    """Return the protocol by which a prediction is asked for, or None for a call that asks for none."""
    if is_grpc(request):
        return "grpc" if request.path in grpc.LARGE else None
    if "X-Catsdogs-Protocol" in request.headers:
        return "kserve"
    return "multipart" if request.headers.get("X-Catsdogs-Boundary") else "rest"


def has_short_deadline(request: web.BaseRequest) -> bool:
    """Return whether the client itself asked to be answered within 100 ms or less."""
    text = request.headers.get("X-Timeout-Ms", "")
    limit = grpc.timeout_ms(request.headers.get("Grpc-Timeout", ""))
    if limit is None and text.isascii() and text.isdecimal() and len(text) <= 9:
        limit = int(text)
    return limit is not None and limit <= OWN_DEADLINE_MS


def problem_of(response: web.Response) -> str | None:
    """Return the code of the problem in an answer of REST, where it is one."""
    if response.status == 200 or response.content_type != PROBLEM or not isinstance(response.body, bytes):
        return None
    return problems.code_in(response.body)


def label(response: web.Response) -> str | None:
    """The prediction in an answer of REST, where it has one."""
    try:
        assert isinstance(response.body, bytes)
        return str(json.loads(response.body)["label"])
    except (AssertionError, ValueError, LookupError, TypeError):
        return None


@asynccontextmanager
async def serve(
    run: Path,
    budget: Budget | None = None,
    log: Log | None = None,
    feedback: FeedbackSettings | None = None,
    image_operations: bool = False,
) -> AsyncIterator[Relay]:
    """Serve on RUN/relay.sock while the context is entered."""
    relay = Relay(run, budget or Budget(), log or Log(), feedback, image_operations)
    runner = web.ServerRunner(
        # Bodies are passed on as they come: nothing is decompressed here.
        web.Server(
            relay.handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGERING_S,
            read_bufsize=READ_BUFFER,
            max_field_size=32 << 10,
            max_line_size=32 << 10,
            max_headers=MAX_HEADERS,
        )
    )
    await runner.setup()
    path = run / "relay.sock"
    path.unlink(missing_ok=True)
    try:
        await web.UnixSite(runner, str(path), backlog=BACKLOG).start()
        path.chmod(0o660)
        async with serve_telemetry(run, relay.telemetry):
            yield relay
    finally:
        await runner.cleanup()
        await relay.close()
        path.unlink(missing_ok=True)
