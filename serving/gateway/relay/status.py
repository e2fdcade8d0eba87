"""gRPC's side of an answer: frames, status codes, and the problem document in the details of an error.

The gateway speaks HTTP/2 with the client and HTTP/1.1 with the relay, so an error is a response of headers alone
("Trailers-Only"), and the status of a good answer is added by the gateway as a trailer.
Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import json
import struct
from base64 import b64encode
from enum import IntEnum
from urllib.parse import quote

from aiohttp import web

from handler.problem import Problem
from serving.gateway.relay.problems import WorkerDied
from serving.gateway.relay.upstream import PROBLEM, Answer
from serving.wire import field, number_field

DOMAIN = "catsdogs"
ERROR_INFO = b"type.googleapis.com/google.rpc.ErrorInfo"
HTTP_BODY = b"type.googleapis.com/google.api.HttpBody"
# Compressed, then the length of the message.
PREFIX = struct.Struct(">?I")
# What a message holds as it is; everything else is percent-encoded.
PRINTABLE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


class Code(IntEnum):
    """The status codes that are used here."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


BY_PROBLEM = {
    "too_many_bytes": Code.RESOURCE_EXHAUSTED,
    "unauthorized": Code.UNAUTHENTICATED,
    "not_found": Code.NOT_FOUND,
    "internal": Code.INTERNAL,
    "overloaded": Code.UNAVAILABLE,
    "deadline": Code.DEADLINE_EXCEEDED,
    "unimplemented": Code.UNIMPLEMENTED,
}


def code_of(problem: Problem) -> Code:
    """The status code for a problem; what is wrong with the request itself is INVALID_ARGUMENT."""
    if isinstance(problem, WorkerDied):
        return Code.UNAVAILABLE
    return BY_PROBLEM.get(problem.code, Code.INVALID_ARGUMENT)


def reply(message: bytes) -> web.Response:
    """A good answer: one message."""
    body = PREFIX.pack(False, len(message)) + message
    return web.Response(body=body, headers={"Content-Type": "application/grpc"})


def error(problem: Problem, request_id: str) -> web.Response:
    """An error of the relay's own."""
    return trailers_only(problem, problem.document(request_id), request_id)


def passed_on(answer: Answer, request_id: str) -> web.Response:
    """An error of the handler, whose problem document goes into the details as it is."""
    values = json.loads(answer.body)
    problem = Problem(int(values["status"]), str(values["code"]), str(values["detail"]))
    return trailers_only(problem, answer.body, request_id)


def trailers_only(problem: Problem, document: bytes, request_id: str) -> web.Response:
    """A response of headers alone: gRPC's status, its message and its details."""
    code = code_of(problem)
    headers = {
        "Content-Type": "application/grpc",
        "Grpc-Status": str(int(code)),
        "Grpc-Message": quote(problem.detail, safe=PRINTABLE),
        "Grpc-Status-Details-Bin": b64encode(details(problem, code, document, request_id)).rstrip(b"=").decode(),
    }
    if code is Code.UNIMPLEMENTED:
        headers["Grpc-Accept-Encoding"] = "identity"
    return web.Response(headers=headers)


def details(problem: Problem, code: Code, document: bytes, request_id: str) -> bytes:
    """google.rpc.Status with an ErrorInfo and, as an HttpBody, the problem document that REST answers."""
    pairs = {"status": str(problem.status), "request_id": request_id}
    metadata = b"".join(field(3, field(1, key.encode()) + field(2, value.encode())) for key, value in pairs.items())
    info = field(1, problem.code.upper().encode()) + field(2, DOMAIN.encode()) + metadata
    body = field(1, PROBLEM.encode()) + field(2, document)
    entries = [field(1, ERROR_INFO) + field(2, info), field(1, HTTP_BODY) + field(2, body)]
    return number_field(1, int(code)) + field(2, problem.detail.encode()) + b"".join(field(3, one) for one in entries)
