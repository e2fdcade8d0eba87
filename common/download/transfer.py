"""One request to a server, on a thread of its own, so that nothing that a server or a network does can hold its caller.

httpx limits the time of each read and no more. A server that sends its headers a byte at a time, a name that is never
looked up, a handshake through a proxy that trickles: each could go on for ever. So the caller waits for what comes on
a queue, as long as it wants to, and then shuts the connections. The thread has no part in the file that is written.
"""

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from common.download.failures import Again, Late
from common.text import printable

TIMEOUT_S = 30.0  # without a byte
BLOCKS = 8  # that may wait to be written
# For a thread whose connections were shut; one that still looks a name up is left behind.
JOIN_S = 0.5
WITHOUT_EXPLANATION = (200, 206, 416)
# Signs of what a server, or a library in its words, says.
MOST_WORDS = 300


class Abandoned(Exception):
    """Nobody waits for this transfer any more."""


class Watch:
    """The connections of a transfer, which another thread can shut, and the sign that it comes forward."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.abandoned = False
        self.sockets: list[socket.socket] = []
        self.events: queue.Queue[object] = queue.Queue(BLOCKS)

    @property
    def extensions(self) -> dict[str, Any]:
        """Extension of httpx that reports the steps of each request."""
        return {"trace": self._trace}

    def _trace(self, event: str, values: dict[str, Any]) -> None:
        if not event.endswith("connect_tcp.complete"):
            return
        # A copy of the descriptor: TLS takes the original one away, and shutting either shuts the connection.
        with self.lock:
            self.sockets.append(values["return_value"].get_extra_info("socket").dup())
        if self.abandoned:
            self.abandon()

    def put(self, event: object) -> None:
        if self.abandoned:
            raise Abandoned
        self.events.put(event)

    def come_forward(self) -> None:
        """Say that a part of the transfer is done, before its answer begins."""
        self.put(Sign.FORWARD)

    def abandon(self) -> None:
        with self.lock:
            self.abandoned = True
            for connection in self.sockets:
                with contextlib.suppress(OSError):
                    # A reset, when it is closed: a server that still sends would otherwise wait for minutes.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.shutdown(socket.SHUT_RDWR)
        # Room for a block that is being put: after it there is no other.
        with contextlib.suppress(queue.Empty):
            while True:
                self.events.get_nowait()

    def close(self) -> None:
        with self.lock:
            while self.sockets:
                self.sockets.pop().close()


class Response(Protocol):
    """An answer of which the headers have come, as httpx has it."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def is_success(self) -> bool: ...
    def iter_raw(self) -> Iterator[bytes]: ...


R = TypeVar("R", bound=Response)


class Source(Protocol[R]):
    """A place that a file is fetched from. Its str() is for people and logs, and holds no secret."""

    def get(self, headers: dict[str, str], watch: Watch) -> AbstractContextManager[R]:
        """Request the file, with `watch.extensions` in each request.

        Raises:
            Again: another try may mend it.
            Failure: none will.
        """
        ...

    def explain(self, response: R) -> str:
        """Return a refusal's HTTP status, and the reason that the server gives."""
        ...


class Sign(Enum):
    FORWARD = "forward"
    END = "end"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Their names in any case."""
    explained: str


class Transfer:
    """Runs while it is entered.

    Its methods raise Late at the deadline, Again where nothing came for `idle_s`, and what the source raises.
    """

    def __init__(self, source: Source[Any], headers: dict[str, str], deadline: float, idle_s: float) -> None:
        self.source, self.headers = source, headers
        self.deadline, self.idle_s = deadline, idle_s
        self.watch = Watch()
        self.thread = threading.Thread(target=self._run, name="transfer", daemon=True)

    def __enter__(self) -> "Transfer":
        self.thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.watch.abandon()
        self.thread.join(JOIN_S)

    def answer(self) -> Answer:
        event = self._next()
        assert isinstance(event, Answer)
        return event

    def blocks(self) -> Iterator[bytes]:
        """The answer's bytes as they come: to gather larger blocks would lose those at hand when it breaks off."""
        while isinstance(block := self._next(), bytes):
            yield block

    def _next(self) -> object:
        while True:
            left = self.deadline - time.monotonic()
            try:
                event = self.watch.events.get(timeout=max(0.0, min(left, self.idle_s)))
            except queue.Empty:
                if left <= self.idle_s:
                    raise Late from None
                raise Again(f"nothing came for {self.idle_s:g} s") from None
            if isinstance(event, BaseException):
                raise event
            if event is not Sign.FORWARD:
                return event

    def _run(self) -> None:
        try:
            self._transfer()
        except Abandoned:
            pass
        except BaseException as error:
            with contextlib.suppress(Abandoned):
                self.watch.put(error)
        finally:
            self.watch.close()

    def _transfer(self) -> None:
        with self.source.get(self.headers, self.watch) as response:
            explain = response.status_code not in WITHOUT_EXPLANATION
            explained = printable(self.source.explain(response), MOST_WORDS) if explain else ""
            self.watch.put(Answer(response.status_code, response.headers, explained))
            if response.is_success:
                for block in response.iter_raw():
                    self.watch.put(block)
        self.watch.put(Sign.END)
