"""A gRPC server that answers Predictions as the real one does, or refuses with a status and a problem document."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from serving.wire import METHOD, field, number_field, read_bytes_field

ERROR_INFO, HTTP_BODY = (
    b"type.googleapis.com/google.rpc.ErrorInfo",
    b"type.googleapis.com/google.api.HttpBody",
)


def details(code: grpc.StatusCode, problem: dict[str, Any]) -> bytes:
    """Encode a google.rpc.Status: the reason in capitals, and the problem document as REST gives it."""
    reason = field(1, str(problem["code"]).upper().encode()) + field(2, b"catsdogs")
    body = field(1, b"application/problem+json") + field(2, json.dumps(problem).encode())
    return (
        number_field(1, code.value[0])
        + field(2, str(problem["detail"]).encode())
        + field(3, field(1, ERROR_INFO) + field(2, reason))
        + field(3, field(1, HTTP_BODY) + field(2, body))
    )


class Refusal(Exception):
    def __init__(self, code: grpc.StatusCode, problem: dict[str, Any] | None, message: str = "") -> None:
        super().__init__(message)
        self.code, self.problem = code, problem
        self.message = message or str((problem or {}).get("detail", ""))


def problem(status: int, code: str, detail: str = "It is no picture: 100 % text.") -> dict[str, Any]:
    return {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}


@contextmanager
def grpc_server(answer: Callable[[str, bytes], bytes]) -> Iterator[str]:
    """Yield the address, HOST:PORT.

    Args:
        answer: model and picture -> the bytes of the prediction; may raise Refusal.
    """

    def predictions(message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            picture = read_bytes_field(read_bytes_field(message, 3), 2)
            return field(1, answer(read_bytes_field(message, 1).decode(), picture))
        except Refusal as refusal:
            metadata: list[tuple[str, str | bytes]] = [("x-request-id", "0123456789abcdef")]
            if refusal.problem is not None:
                metadata.append(("grpc-status-details-bin", details(refusal.code, refusal.problem)))
            context.set_trailing_metadata(metadata)
            context.abort(refusal.code, refusal.message)  # raises
            raise

    service, _, method = METHOD.partition("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(predictions)})
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
