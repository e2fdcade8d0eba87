"""Answers the gateway's questions about health and the model, from one thread however many ask.

A flood of questions costs one look at the workers per FRESH_S. What the server may hold is bounded: connections by
SLOTS, a question's size by MAX_HEAD, threads by three.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from serving.health.endpoints import LIVENESS, PROBLEM, Answer, Model, answer
from serving.health.probe import Health, check, is_live

# An answer about the workers is given again for this long. A heartbeat is far older when it counts as missed.
FRESH_S = 0.05
# The gateway may ask for thousands of clients at once; a connection that waits in the backlog is not refused.
SLOTS = 512
BACKLOG = 1024
# Askers who wait for one look at liveness, which may take 10 s: they leave slots to those who ask about readiness.
PATIENT_SLOTS = 256
# The gateway takes headers of 16 KiB from a client and adds a few.
MAX_HEAD = 32 * 1024
# For the next question on a connection. The gateway closes it after 2 minutes; who closes first may lose a question.
IDLE_S = 300.0
# For a peer to read its answer.
WRITE_S = 10.0
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
METRICS, TEXT = "/metrics", "text/plain; version=0.0.4; charset=utf-8"
# What the gateway reads of the model.
FACTS = ("name", "version", "classes", "size", "sha256", "server")


class Judge:
    """One question about the workers: all who ask meanwhile share one look, in a thread of its own."""

    def __init__(self, look: Callable[[], Health], name: str, max_waiting: int) -> None:
        self.look = look
        self.name = name
        self.max_waiting = max_waiting
        self.waiting = 0
        self.last: Health | None = None
        self.seen = -FRESH_S
        self.looking: asyncio.Future[Health] | None = None

    async def health(self) -> Health:
        if self.last is not None and (time.monotonic() - self.seen < FRESH_S or self.waiting >= self.max_waiting):
            return self.last
        if self.looking is None:
            looking = asyncio.get_running_loop().create_future()
            try:
                threading.Thread(target=self._look, args=(looking,), name=self.name, daemon=True).start()
            except RuntimeError as error:
                return Health(False, 0, f"the workers cannot be looked at: {error}")
            self.looking = looking
        self.waiting += 1
        try:
            return await asyncio.shield(self.looking)
        finally:
            self.waiting -= 1

    def _look(self, looking: "asyncio.Future[Health]") -> None:
        try:
            health = self.look()
        except Exception as error:  # whatever it is, those who wait must hear of it
            health = Health(False, 0, f"the workers cannot be looked at: {error}")
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            looking.get_loop().call_soon_threadsafe(self._tell, looking, health)

    def _tell(self, looking: "asyncio.Future[Health]", health: Health) -> None:
        self.last, self.seen, self.looking = health, time.monotonic(), None
        looking.set_result(health)


class ProbeServer:
    """Answers on `run`/probe.sock from when it is made until `shutdown`.

    It also leaves what the gateway reads by itself: `run`/openapi.json, and `run`/model.json, the model's facts.

    Args:
        metrics: returns the answer to /metrics, which only the gateway asks.
    """

    def __init__(self, run: Path, model: Model, metrics: Callable[[], bytes] | None = None) -> None:
        self.metrics = metrics
        self.model = {**model, "openapi": encode_json(model["openapi"])}
        publish(run / "openapi.json", self.model["openapi"])
        publish(run / "model.json", encode_json({name: model[name] for name in FACTS}))
        self.readiness = Judge(lambda: check(run), "probe-ready", SLOTS)
        self.liveness = Judge(lambda: is_live(run, time.time()), "probe-live", PATIENT_SLOTS)
        self.socket = listen(run / "probe.sock")
        self.loop = asyncio.new_event_loop()
        self.stopping = asyncio.Event()
        self.thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self.thread.start()

    def shutdown(self) -> None:
        """Stop answering, and wait until the thread has ended."""
        with contextlib.suppress(RuntimeError):  # it has ended before
            self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join()

    def server_close(self) -> None:
        self.socket.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        accepting = asyncio.create_task(self._accept())
        await self.stopping.wait()
        accepting.cancel()

    async def _accept(self) -> None:
        slots, talks = asyncio.Semaphore(SLOTS), set[asyncio.Task[None]]()

        def leave(talk: "asyncio.Task[None]") -> None:
            talks.discard(talk)
            slots.release()

        while True:
            await slots.acquire()
            talk = asyncio.create_task(self._talk(await self._next()))
            talks.add(talk)
            talk.add_done_callback(leave)

    async def _next(self) -> socket.socket:
        """Return the next connection."""
        while True:
            try:
                return (await asyncio.get_running_loop().sock_accept(self.socket))[0]
            except OSError:  # no file descriptor is free, or the peer has left again
                await asyncio.sleep(FRESH_S)

    async def _talk(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_HEAD)
        try:
            more = True
            while more:
                async with asyncio.timeout(IDLE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                reply, more = await self._reply(head)
                writer.write(reply)
                async with asyncio.timeout(WRITE_S):
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _reply(self, head: bytes) -> tuple[bytes, bool]:
        """Return the bytes of an answer, and whether the connection goes on."""
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, _, rest = request.partition(" ")
        target, _, protocol = rest.partition(" ")
        if protocol not in ("HTTP/1.0", "HTTP/1.1"):
            return encode(problem(400, "bad_request", "bad request", "The request is not HTTP/1.1."), close=True), False
        # A body is not read, and must not be taken for the next request, which may be another client's.
        close = (
            protocol == "HTTP/1.0"
            or headers.get("connection", "").lower() == "close"
            or not headers.keys().isdisjoint(("content-length", "transfer-encoding"))
        )
        if method in ("GET", "HEAD"):
            path = target.partition("?")[0]
            if path == METRICS and self.metrics is not None:
                made = await self._metrics(self.metrics)
                return encode(made, head_only=method == "HEAD", close=close), not close
            judge = self.liveness if path.removesuffix("/") in LIVENESS else self.readiness
            made = answer(path, await judge.health(), self.model)
        else:
            made = problem(405, "method", "method not allowed", "This path takes GET and HEAD.")
        return encode(made, headers.get("x-request-id", ""), method == "HEAD", close), not close

    async def _metrics(self, metrics: Callable[[], bytes]) -> Answer:
        try:
            return Answer(200, await asyncio.to_thread(metrics), TEXT)
        except Exception:  # whatever it is, the gateway must hear of it
            return problem(503, "overloaded", "overloaded", "The metrics cannot be read now.")


def problem(status: int, code: str, title: str, detail: str) -> Answer:
    document = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    return Answer(status, document, PROBLEM)


def encode(made: Answer, request_id: str = "", head_only: bool = False, close: bool = False) -> bytes:
    """Return the answer as HTTP/1.1 sends it. A problem document names its request."""
    document = made.document
    if made.content_type == PROBLEM and REQUEST_ID.fullmatch(request_id):
        document = {**document, "request_id": request_id}
    body = document if isinstance(document, bytes) else encode_json(document)
    head = (
        f"HTTP/1.1 {made.status} {HTTPStatus(made.status).phrase}\r\n"
        f"Content-Type: {made.content_type}\r\nContent-Length: {len(body)}\r\n"
        + "Allow: GET, HEAD\r\n" * (made.status == 405)
        + "Connection: close\r\n" * close
    )
    return head.encode() + b"\r\n" + body * (not head_only)


def listen(path: Path) -> socket.socket:
    """Return a socket for the owner and the group, with a backlog that takes a flood."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    path.chmod(0o660)
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


def encode_json(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def publish(path: Path, data: bytes) -> None:
    """Write a file that the group may read. It is whole from the first moment."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(data)
    beside.replace(path)
