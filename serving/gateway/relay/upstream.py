"""TorchServe's REST socket, asked with complete bodies and a fixed set of headers."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from handler.counts import PROBE
from handler.problem import Problem
from handler.unsure import HEADER as UNSURE
from serving.gateway.relay import problems
from serving.gateway.relay.body import Body
from serving.gateway.relay.connections import Broken, Connections, NotConnected, TooLarge
from serving.gateway.relay.model import Model

DIAL_S = 5.0
DIAL_AGAIN_S = 0.1
# Longer than TorchServe gives a worker, 10 s, and what waits before it in the queue.
ANSWER_S = 30.0
# A worker that takes this long is ended by TorchServe (responseTimeout in model-config.yaml).
HUNG_S = 10.0
JSON, PROBLEM = "application/json", "application/problem+json"
# Asks the handler for what a feedback token says of a prediction.
FEEDBACK = "X-Catsdogs-Feedback"
# What a request may say besides its body; everything else that a client sent ends here. Each header costs a worker's
# protocol reader two system calls.
PASSED = ("x-timeout-ms", "x-top-k", UNSURE, "x-catsdogs-protocol", "x-catsdogs-boundary")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the handler: a document, or a problem document."""

    status: int
    content_type: str
    body: bytes

    @property
    def is_problem(self) -> bool:
        return self.status != 200


class TorchServe:
    """The TorchServe whose run folder this is."""

    def __init__(self, run: Path, model: Model, sign: Callable[[bytes], bytes] | None = None) -> None:
        """Open the client.

        Args:
            sign: puts feedback tokens into an answer; None where the server takes no feedback.
        """
        self.sign = sign
        self.run = run
        self.model = model
        self.connections = Connections(run / "inference.sock")
        self.token = ""

    def close(self) -> None:
        self.connections.close()

    async def predict(self, path: str, body: Body, headers: Mapping[str, str]) -> Answer:
        """Ask for a prediction, or for an explanation.

        Args:
            path: /predictions/MODEL, or /predictions/MODEL/VERSION; or the same of /explanations.
            headers: X-Request-Id, those of PASSED, and those that say what is to be explained.

        Raises:
            Problem: TorchServe did not answer, or refused the request itself; or the answer does not say whether it is
                unsure, as it should, because the handler of an older archive passes over that question.
        """
        if not self.token:
            self._read_token()
        # Nobody gives feedback to a probe, or to an explanation.
        signs = self.sign if path.startswith("/predictions") and headers.get(PROBE) != "1" else None
        if signs is not None:
            headers = {**headers, FEEDBACK: "1"}
        give_up = time.monotonic() + DIAL_S
        while True:
            status, content_type, answer, seconds = await self._ask(path, body, headers)
            if not _is_refused_token(status, content_type, answer):
                break
            # TorchServe was started again. It has made a new one, which may take a moment to arrive.
            if not self._read_token():
                if time.monotonic() > give_up:
                    raise problems.no_worker()
                await asyncio.sleep(DIAL_AGAIN_S)
        if status == 200 and content_type == JSON and headers.get(UNSURE) == "true" and b'"unsure":' not in answer:
            raise problems.no_threshold()
        if status == 200 and signs is not None:
            answer = signs(answer)
        if status == 200 or content_type.startswith(PROBLEM):
            return Answer(status, content_type, answer)
        raise self._translated(status, seconds)

    async def _ask(self, path: str, body: Body, headers: Mapping[str, str]) -> tuple[int, str, bytes, float]:
        try:
            head = request_head(path, body.size, {**headers, **self._own_headers()})
        except ValueError as error:
            raise problems.not_understood() from error
        started = time.monotonic()
        while True:
            try:
                status, content_type, answer = await self.connections.ask(head, body.chunks, ANSWER_S)
                return status, content_type, answer, time.monotonic() - started
            except NotConnected as error:
                # Nothing was sent, so it may be tried again. What was sent never is: it may be what killed a worker.
                if time.monotonic() - started > DIAL_S:
                    raise problems.no_worker() from error
                await asyncio.sleep(DIAL_AGAIN_S)
            except TimeoutError as error:
                raise problems.hung() from error
            except TooLarge as error:
                raise problems.failed() from error
            except Broken as error:
                raise problems.no_worker() from error

    def _own_headers(self) -> dict[str, str]:
        """Return what a client does not say, but we."""
        own = {"Content-Type": "application/octet-stream", "X-Request-Start": str(int(1000 * time.time()))}
        return {**own, "Authorization": f"Bearer {self.token}"} if self.token else own

    def _translated(self, status: int, seconds: float) -> Problem:
        """Translate an error of TorchServe's own into a problem of the API."""
        if status == 404:
            return problems.unknown_model(self.model.facts())
        if status == 503:
            return problems.queue_full()
        if status < 500:
            return problems.not_understood()
        return problems.hung() if seconds >= HUNG_S else problems.WorkerDied()

    def _read_token(self) -> bool:
        """Read the token. Returns whether it is another one."""
        before = self.token
        try:
            # 20 characters; whatever else lies there is no token.
            self.token = (self.run / "inference.key").read_text()[:200].strip()
        except (OSError, UnicodeDecodeError):
            self.token = ""
        if not self.token.isprintable():
            self.token = ""
        return self.token != before


def _is_refused_token(status: int, content_type: str, answer: bytes) -> bool:
    if status != 400 or content_type.startswith(PROBLEM):
        return False
    try:
        return bool(json.loads(answer)["type"] == "InvalidKeyException")
    except (ValueError, LookupError, TypeError):
        return False


def request_head(path: str, length: int, headers: Mapping[str, str], query: str = "") -> bytes:
    """Return a request's first part.

    Args:
        query: of the path, decoded.

    Raises:
        ValueError: a header holds what none may hold.
    """
    target = f"{quote(path)}?{quote(query, safe='=&,;+')}" if query else quote(path)
    lines = [f"POST {target} HTTP/1.1", "Host: torchserve", f"Content-Length: {length}"]
    for name, value in headers.items():
        if not value.isprintable():
            raise ValueError(name)
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()
