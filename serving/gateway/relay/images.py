"""Image operations at the relay: bounded apart from predictions, and carried out by a process of their own."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from handler.problem import Problem
from serving.gateway.relay import problems
from serving.gateway.relay.body import MAX_BYTES, Body, receive
from serving.gateway.relay.budget import Budget, Overloaded, Ticket
from serving.gateway.relay.connections import Broken, Connections, NotConnected, Reply, TooLarge
from serving.gateway.relay.log import Log
from serving.gateway.relay.problems import code_in
from serving.gateway.relay.upstream import PROBLEM, request_head
from serving.images.parameters import TAKEN
from serving.images.wire import BOUNDARY, MAX_RESULT, PREFIX, REQUEST_ID, SOCKET
from serving.telemetry.images import ImageCounts

# Those that are received, wait, are carried out, or whose result is being read.
MAX_REQUESTS = 8
# Bodies and results: of the largest ones, one of each.
MAX_HELD = MAX_BYTES + MAX_RESULT + (8 << 20)
# For one's turn, and for the operation itself: 5 s of CPU time, which others may need too.
TURN_S, ANSWER_S = 20.0, 30.0
DIAL_S, DIAL_AGAIN_S = 5.0, 0.1
# For the client to read a result.
READ_S = 60.0


@dataclass(slots=True)
class Images:
    """Image operations of one gateway. One event loop has it."""

    run: Path
    log: Log
    counts: ImageCounts = field(default_factory=ImageCounts)
    budget: Budget = field(default_factory=lambda: Budget(MAX_REQUESTS, MAX_HELD, MAX_HELD))
    worker: Connections = field(init=False)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.worker = Connections(self.run / SOCKET, MAX_RESULT)

    def close(self) -> None:
        self.worker.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request to /images/OPERATION, whatever happens, and write its line."""
        started = time.monotonic()
        try:
            ticket = self.budget.admit()
        except Overloaded:
            ticket = Ticket(self.budget, started)
            refused = _problem_reply(problems.overloaded(), request)
            self._note(request, refused, ticket, started)
            return _response(refused)
        with ticket:
            reply = await self._reply(request, ticket)
            self._note(request, reply, ticket, started)
            # Within the budget: a client may read slowly.
            return await _send(request, _response(reply))

    async def _reply(self, request: web.BaseRequest, ticket: Ticket) -> Reply:
        try:
            if request.path.removeprefix(PREFIX) not in TAKEN:
                raise Problem(404, "not_found", f"There is no such operation: POST to {PREFIX}{{{','.join(TAKEN)}}}.")
            reply = await self._ask(request, ticket)
            ticket.grow(len(reply.body))
            return reply
        except Problem as error:
            problem = error.with_traceback(None)
            problem.__cause__ = problem.__context__ = None
        except Overloaded:
            problem = problems.overloaded()
        except Exception as error:
            self.log.note({"event": "image", "reason": repr(error)[:500]})
            problem = problems.failed()
        return _problem_reply(problem, request)

    async def _ask(self, request: web.BaseRequest, ticket: Ticket) -> Reply:
        """Have the worker carry out an operation, when it is this request's turn."""
        body = await receive(request, ticket)
        headers = {name: request.headers.get(name, "") for name in (REQUEST_ID, BOUNDARY)}
        try:
            head = request_head(request.path, body.size, headers, request.query_string)
        except ValueError as error:
            raise problems.not_understood() from error
        try:
            async with asyncio.timeout(TURN_S):
                await self.turn.acquire()
        except TimeoutError as error:
            raise Overloaded from error
        try:
            return await self._asked(head, body)
        except (Broken, TimeoutError, TooLarge) as error:
            # A picture that ends the process, or holds it: the next request finds another one, or waits for it.
            raise problems.failed() from error
        finally:
            self.turn.release()
            body.chunks.clear()

    async def _asked(self, head: bytes, body: Body) -> Reply:
        give_up = time.monotonic() + DIAL_S
        while True:
            try:
                return await self.worker.ask(head, body.chunks, ANSWER_S)
            except NotConnected as error:
                # Nothing was sent: the process is being started.
                if time.monotonic() > give_up:
                    raise problems.no_worker() from error
                await asyncio.sleep(DIAL_AGAIN_S)

    def _note(self, request: web.BaseRequest, reply: Reply, ticket: Ticket, started: float) -> None:
        seconds, path = time.monotonic() - started, request.path
        code = None if reply.status == 200 else code_in(reply.body)
        if code is None:
            self.counts.count(path.removeprefix(PREFIX), seconds)
        else:
            self.counts.count_refused(code)
        entry = {"request_id": request.headers.get(REQUEST_ID, ""), "protocol": "images", "path": path, "code": code}
        self.log.request(reply.status, {**entry, "bytes": ticket.size, "ms": round(1000 * seconds, 1)})


def _problem_reply(problem: Problem, request: web.BaseRequest) -> Reply:
    return Reply(problem.status, PROBLEM, problem.document(request.headers.get(REQUEST_ID, "")))


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": reply.content_type, "X-Content-Type-Options": "nosniff"}
    if reply.status == 503:
        headers["Retry-After"] = "1"
    return web.Response(status=reply.status, body=reply.body, headers=headers)


async def _send(request: web.BaseRequest, response: web.Response) -> web.Response:
    try:
        async with asyncio.timeout(READ_S):
            await response.prepare(request)
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    return response
