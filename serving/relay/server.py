"""The relay's server on RUN/relay.sock: one task per request, all within one budget."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from handler.problem import Problem
from serving.relay import grpc, kserve, problems, rest, status
from serving.relay.budget import Budget, Overloaded
from serving.relay.health import Health
from serving.relay.model import Model
from serving.relay.upstream import TorchServe

logger = logging.getLogger(__name__)

BACKLOG = 1024
READ_BUFFER = 1 << 16
# Longer than the gateway keeps an idle connection, so that it is never the relay that closes one.
KEEPALIVE_S = 300
# A refused upload is read for so long, so that the gateway gets the answer and not a broken connection.
LINGERING_S = 2.0
METHODS = {**grpc.METHODS, **kserve.METHODS}


class Relay:
    """Answers what the gateway passes on. One event loop has it."""

    def __init__(self, run: Path, budget: Budget) -> None:
        self.budget = budget
        self.torchserve = TorchServe(run, Model(run), budget.max_requests)
        self.health = Health(run)

    async def close(self) -> None:
        await self.torchserve.close()
        await self.health.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens."""
        by_grpc = not request.path.startswith("/predictions")
        request_id = request.headers.get("X-Request-Id", "")
        try:
            with self.budget.admit() as ticket:
                if by_grpc:
                    return await grpc.answer(METHODS.get(request.path), request, ticket, self.torchserve, self.health)
                return await rest.predict(request, ticket, self.torchserve)
        except Problem as error:
            problem = error
        except Overloaded:
            problem = problems.overloaded()
        except grpc.RemoteProblem as error:
            return status.passed_on(error.answer, request_id)
        except Exception:
            logger.exception("request %s failed in the relay", request_id)
            problem = problems.failed()
        if by_grpc:
            return status.error(problem, request_id)
        return rest.problem_response(problem, request_id, "X-Catsdogs-Protocol" in request.headers)


@asynccontextmanager
async def serve(run: Path, budget: Budget | None = None) -> AsyncIterator[Relay]:
    """Serve on RUN/relay.sock while the context is entered."""
    relay = Relay(run, budget or Budget())
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
        )
    )
    await runner.setup()
    path = run / "relay.sock"
    path.unlink(missing_ok=True)
    try:
        await web.UnixSite(runner, str(path), backlog=BACKLOG).start()
        path.chmod(0o660)
        yield relay
    finally:
        await runner.cleanup()
        await relay.close()
        path.unlink(missing_ok=True)
