"""gRPC: unary calls, each an HTTP/1.1 request by the time it is here. A message is read within bounds.

TorchServe's own service lies on top of REST here, because TorchServe parses a message before anybody has looked at
its size, its entries or its compression, and gives no proper status.
"""

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from handler.counts import PROBE
from handler.problem import Problem
from serving.gateway.relay import problems
from serving.gateway.relay.body import MAX_BYTES, Body, receive
from serving.gateway.relay.budget import Ticket
from serving.gateway.relay.health import Health
from serving.gateway.relay.model import Model
from serving.gateway.relay.status import PREFIX, reply
from serving.gateway.relay.upstream import Answer, TorchServe
from serving.wire import WireError, field, number_field, read_all

INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
HEALTH = "/grpc.health.v1.Health/"
SERVICES = ("", "org.pytorch.serve.grpc.inference.InferenceAPIsService", "inference.GRPCInferenceService")
# Names and lengths beside the picture.
SLACK = 64 << 10
# The methods that bring pictures. A message of the others is as small as names are.
LARGE = (f"{INFERENCE}Predictions", "/inference.GRPCInferenceService/ModelInfer")
MAX_TEXT = 1024
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
UNIT_MS = {"H": 3_600_000.0, "M": 60_000.0, "S": 1000.0, "m": 1.0, "u": 1e-3, "n": 1e-6}
SERVING, NOT_SERVING = 1, 2


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its message, and whom to ask."""

    message: memoryview
    headers: dict[str, str]
    """Headers for TorchServe: the request's id, and how long the client waits."""
    torchserve: TorchServe
    health: Health
    gone: Callable[[], bool]
    """Whether the client has left."""
    deadline: float | None
    """Until when it waits, by time.monotonic()."""


async def answer(
    method: "Method | None", request: web.BaseRequest, ticket: Ticket, torchserve: TorchServe, health: Health
) -> web.Response:
    """Answer one call of a method; None is one that is not offered.

    Raises:
        Problem: what is wrong, for the status.
        Overloaded: as `receive`.
    """
    if method is None:
        raise Problem(404, "unimplemented", "This method is not offered.")
    started = time.monotonic()
    message = await receive_message(request, ticket, MAX_BYTES + SLACK if request.path in LARGE else SLACK)
    headers = {"X-Request-Id": request.headers.get("X-Request-Id", "")}
    if request.headers.get(PROBE) == "1":
        headers[PROBE] = "1"
    deadline = None
    if (timeout := timeout_ms(request.headers.get("Grpc-Timeout", ""))) is not None:
        headers["X-Timeout-Ms"] = str(timeout)
        deadline = started + timeout / 1000
    call = Call(message, headers, torchserve, health, lambda: is_gone(request), deadline)
    try:
        return reply(await method(call))
    except (WireError, UnicodeDecodeError) as error:
        # Its words alone: an exception in a variable would hold the frames that hold the message.
        reason = str(error) if isinstance(error, WireError) else "a name is not UTF-8"
        raise Problem(400, "bad_request", f"The message cannot be read: {reason}.") from error


def is_gone(request: web.BaseRequest) -> bool:
    """Whether the gateway has closed the connection, as it does when its client has."""
    return request.transport is None or request.transport.is_closing()


async def receive_message(request: web.BaseRequest, ticket: Ticket, max_bytes: int) -> memoryview:
    """Receive the one message of a call, without a copy of it.

    Raises:
        Problem: it is compressed, too large, or not one message.
        Overloaded: as `receive`.
    """
    if request.headers.get("Grpc-Encoding", "identity") != "identity":
        raise _compressed()
    body = (await receive(request, ticket, max_bytes)).joined()
    if len(body) < PREFIX.size:
        raise Problem(400, "bad_request", "The call has no message.")
    if body[0]:
        raise _compressed()
    _, length = PREFIX.unpack_from(body)
    if length > max_bytes:
        raise problems.too_many_bytes()
    if length != len(body) - PREFIX.size:
        raise Problem(400, "bad_request", "The call must have exactly one message.")
    return memoryview(body)[PREFIX.size :]


def _compressed() -> Problem:
    return Problem(415, "unimplemented", "Compressed messages are not accepted: send them with identity encoding.")


def text_field(message: memoryview, number: int) -> str:
    """Return a name in a message, which is short: a character of a str may take four times its bytes.

    Raises:
        WireError: it has more than MAX_TEXT bytes, or the message is broken.
        UnicodeDecodeError: it is not UTF-8.
    """
    value = next(reversed(read_all(message, number)), message[:0])
    if len(value) > MAX_TEXT:
        raise WireError(f"a name has more than {MAX_TEXT} bytes")
    return str(value, "utf-8")


def timeout_ms(header: str) -> int | None:
    """Parse gRPC's header grpc-timeout: return the client's time limit in milliseconds, or None."""
    if not (match := TIMEOUT.fullmatch(header)):
        return None
    return min(int(int(match[1]) * UNIT_MS[match[2]]), 999_999_999)


async def predictions(call: Call) -> bytes:
    """Answer InferenceAPIsService/Predictions."""
    path = model_path(call.torchserve.model, text_field(call.message, 1), text_field(call.message, 2))
    entries = read_all(call.message, 3)
    inputs = {text_field(entry, 1): next(reversed(read_all(entry, 2)), entry[:0]) for entry in entries}
    headers = dict(call.headers)
    if "top_k" in inputs:
        headers["x-top-k"] = digits(inputs.pop("top_k"))
    answer = await call.torchserve.predict(path, picture_body(inputs), headers)
    return field(1, checked(answer))


def picture_body(inputs: dict[str, memoryview]) -> Body:
    """The picture among the entries of a request: `data`, `body`, or the only one."""
    named = [inputs[name] for name in ("data", "body") if name in inputs]
    pictures = named or list(inputs.values())
    if len(pictures) > 1:
        raise Problem(400, "no_image", "The call has more than one picture: send one per call, as the input `data`.")
    if not pictures:
        return Body()
    if len(pictures[0]) > MAX_BYTES:
        raise problems.too_many_bytes()
    return Body([pictures[0]], len(pictures[0]))


def digits(value: memoryview) -> str:
    """A number for TorchServe's header; the handler refuses 0."""
    text = bytes(value[:8])
    return text.decode() if text.isdigit() else "0"


def model_path(served: Model, model: str, version: str) -> str:
    """TorchServe's path for a model and, where one is named, its version.

    Raises:
        Problem: no model is named, or another one.
    """
    if not model:
        raise Problem(400, "bad_request", "The call must name a model: set model_name.")
    facts = served.facts()
    if not facts:
        raise problems.no_worker()
    if model != facts["name"] or (version and not VERSION.fullmatch(version)):
        raise problems.unknown_model(facts)
    return f"/predictions/{model}/{version}" if version else f"/predictions/{model}"


def checked(answer: Answer) -> bytes:
    """The document of a good answer.

    Raises:
        RemoteProblem: the handler refused the picture.
    """
    if answer.is_problem:
        raise RemoteProblem(answer)
    return answer.body


class RemoteProblem(Exception):
    """A problem document of the handler, which goes into the details as it is."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


async def ping(call: Call) -> bytes:
    """Answer InferenceAPIsService/Ping, in TorchServe's words."""
    ready = await call.health.is_ready()
    return field(1, b'{"status": "Healthy"}' if ready else b'{"status": "Unhealthy"}')


async def health_check(call: Call) -> bytes:
    """Answer grpc.health.v1.Health/Check."""
    if text_field(call.message, 1) not in SERVICES:
        raise Problem(404, "not_found", "This service is not offered.")
    return number_field(1, SERVING if await call.health.is_ready() else NOT_SERVING)


Method = Callable[[Call], Awaitable[bytes]]
METHODS: dict[str, Method] = {
    f"{INFERENCE}Predictions": predictions,
    f"{INFERENCE}Ping": ping,
    f"{HEALTH}Check": health_check,
}
