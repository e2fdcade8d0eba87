"""The body of a request, received in full within the budget."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from serving.gateway.relay import problems
from serving.gateway.relay.budget import Overloaded, Ticket

MAX_BYTES = 16 << 20
# The gateway ends an upload of HTTP/1.1 after 60 s; a little earlier, so that the client gets an answer.
MAX_SECONDS = 55.0


@dataclass(slots=True)
class Body:
    """Received chunks, which are never joined unless someone asks for that."""

    chunks: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0

    def joined(self) -> bytes | memoryview:
        """All of it in one piece, which replaces the chunks."""
        if len(self.chunks) != 1:
            self.chunks = [b"".join(self.chunks)]
        return self.chunks[0]


async def receive(
    request: web.BaseRequest, ticket: Ticket, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS
) -> Body:
    """Receive the body.

    Raises:
        Problem: 413 it is too large, 400 it did not arrive in time or in full.
        Overloaded: it had to make room for others.
    """
    body = Body()
    if (request.content_length or 0) > max_bytes:
        raise problems.too_many_bytes()
    task = asyncio.current_task()
    assert task is not None
    ticket.interrupt = task.cancel
    try:
        async with asyncio.timeout(max_seconds):
            while chunk := await request.content.readany():
                body.size += len(chunk)
                if body.size > max_bytes:
                    raise problems.too_many_bytes()
                ticket.grow(len(chunk))
                body.chunks.append(chunk)
        ticket.finish()
    except TimeoutError as error:
        raise problems.incomplete() from error
    except asyncio.CancelledError as error:
        if not ticket.refused or task.uncancel() > 0:
            raise
        raise Overloaded from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise problems.incomplete() from error
    finally:
        ticket.interrupt = None
        if not ticket.complete:
            # The stream keeps the exception, whose traceback keeps this frame.
            body.chunks.clear()
    return body
