"""TorchServe's REST socket, asked with complete bodies and a fixed set of headers."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from handler.counts import PROBE
from handler.problem import Problem
from serving.gateway.relay import problems
from serving.gateway.relay.body import Body
from serving.gateway.relay.model import Model

DIAL_S = 5.0
DIAL_AGAIN_S = 0.1
# Longer than TorchServe gives a worker, 10 s, and what waits before it in the queue.
ANSWER_S = 30.0
# A worker that takes this long is ended by TorchServe (responseTimeout in model-config.yaml).
HUNG_S = 10.0
MAX_ANSWER = 1 << 20
PROBLEM = "application/problem+json"
# The client library would add these, and each header costs a worker's protocol reader two system calls.
UNWANTED = ("User-Agent", "Accept", "Accept-Encoding")
# Asks the handler for what a feedback token says of a prediction.
FEEDBACK = "X-Catsdogs-Feedback"
# What a request may say besides its body; everything else that a client sent ends here.
PASSED = ("x-timeout-ms", "x-top-k", "x-catsdogs-protocol", "x-catsdogs-boundary")


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

    def __init__(self, run: Path, model: Model, connections: int, sign: Callable[[bytes], bytes] | None = None) -> None:
        """Open the client.

        Args:
            sign: puts feedback tokens into an answer; None where the server takes no feedback.
        """
        self.sign = sign
        self.run = run
        self.model = model
        connector = aiohttp.UnixConnector(str(run / "inference.sock"), limit=connections, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=1, sock_read=ANSWER_S)
        self.session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=UNWANTED,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=MAX_ANSWER,
        )
        self.token = ""

    async def close(self) -> None:
        await self.session.close()

    async def predict(self, path: str, body: Body, headers: Mapping[str, str]) -> Answer:
        """Ask for a prediction.

        Args:
            path: /predictions/MODEL, or /predictions/MODEL/VERSION.
            headers: X-Request-Id, and those of PASSED.

        Raises:
            Problem: TorchServe did not answer, or refused the request itself.
        """
        if not self.token:
            self._read_token()
        # Nobody gives feedback to a probe.
        signs = self.sign if headers.get(PROBE) != "1" else None
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
        if status == 200 and signs is not None:
            answer = signs(answer)
        if status == 200 or content_type.startswith(PROBLEM):
            return Answer(status, content_type, answer)
        raise self._translated(status, seconds)

    async def _ask(self, path: str, body: Body, headers: Mapping[str, str]) -> tuple[int, str, bytes, float]:
        sent = {
            **headers,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(body.size),
            "X-Request-Start": str(int(1000 * time.time())),
        }
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        started = time.monotonic()
        while True:
            try:
                data = body.stream() if body.size else None
                async with self.session.post(f"http://torchserve{path}", data=data, headers=sent) as response:
                    answer = await response.content.read(MAX_ANSWER + 1)
                    while not response.content.at_eof():
                        answer += await response.content.read(MAX_ANSWER + 1)
                        if len(answer) > MAX_ANSWER:
                            raise problems.failed()
                    content_type = response.headers.get("Content-Type", "")
                    return response.status, content_type, answer, time.monotonic() - started
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                # Nothing was sent, so it may be tried again. What was sent never is: it may be what killed a worker.
                if time.monotonic() - started > DIAL_S:
                    raise problems.no_worker() from error
                await asyncio.sleep(DIAL_AGAIN_S)
            except aiohttp.ServerTimeoutError as error:
                raise problems.hung() from error
            except aiohttp.ClientError as error:
                raise problems.no_worker() from error
            except UnicodeEncodeError as error:
                raise problems.not_understood() from error

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
