"""One prediction by each protocol, as a client asks for it."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx

from serving.client.answers import STATUS_DETAILS, check_consistent, read_problem, read_reply
from serving.wire import METHOD, field

STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The label and the probabilities of a well-formed answer, and the sha256 of the weights where it names them."""

    label: str
    probabilities: Mapping[str, float]
    sha256: str | None = None


class Wrong(Exception):
    """An answer that is not as it must be."""


def document(response: httpx.Response) -> Any:
    if response.status_code != 200:
        raise Wrong(f"{response.url} answers {response.status_code}: {response.text[:200].strip()}")
    return response.json()


def prediction(answer: Any) -> Prediction:
    """Return what a document says, after comparing its parts.

    Raises:
        Contradiction: they do not go together.
        ValueError, LookupError, TypeError, AttributeError: it is no prediction.
    """
    probabilities = {str(label): float(share) for label, share in answer["probabilities"].items()}
    check_consistent(str(answer["label"]), float(answer["probability"]), probabilities)
    sha256 = (answer.get("model") or {}).get("sha256")
    return Prediction(str(answer["label"]), probabilities, sha256)


def by_rest(client: httpx.Client, data: bytes) -> Prediction:
    return prediction(document(client.post("/predictions", content=data)))


def by_v1(client: httpx.Client, model: str, data: bytes) -> Prediction:
    body = {"instances": [{"b64": b64encode(data).decode()}]}
    return prediction(document(client.post(f"/v1/models/{model}:predict", json=body))["predictions"][0])


def by_v2(client: httpx.Client, model: str, data: bytes) -> Prediction:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64encode(data).decode()]}
    answer = document(client.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]}))
    outputs = {output["name"]: output for output in answer["outputs"]}
    label, probability = outputs["label"]["data"][0], outputs["probability"]["data"][0]
    shares, classes = outputs["probabilities"]["data"], outputs["probabilities"]["parameters"]["classes"].split(",")
    if len(classes) != len(shares):
        # The name of a class has a comma in it: only the label's place is known.
        classes = [str(number) for number in range(len(shares))]
        classes[shares.index(max(shares))] = label
    probabilities = dict(zip(classes, shares, strict=True))
    weights = {"sha256": (answer.get("parameters") or {}).get("sha256")}
    return prediction({"label": label, "probability": probability, "probabilities": probabilities, "model": weights})


def by_grpc(client: httpx.Client, url: str, model: str, data: bytes) -> Prediction:
    """One unary call, its two messages written by hand: a check is no reason to install gRPC on every server."""
    entry = field(1, b"data") + field(2, data)
    message = field(1, model.encode()) + field(3, entry)
    response = client.post(
        f"{url}/{METHOD}",
        content=struct.pack(">BI", 0, len(message)) + message,
        headers={"Content-Type": "application/grpc", "TE": "trailers"},
    )
    if response.status_code != 200 or response.headers.get("grpc-status", "0") != "0":
        raise Wrong(refusal(response))
    if not response.content:
        raise Wrong("gRPC gives neither an answer nor a status")
    flag, size = struct.unpack_from(">BI", response.content)
    if flag or size != len(response.content) - 5:
        raise Wrong("gRPC's answer is not one message")
    return prediction(read_reply(response.content[5:]))


def refusal(response: httpx.Response) -> str:
    """Describe a call that failed, by its status, its message and the code of the problem document."""
    if "grpc-status" not in response.headers:
        return f"{response.url} answers {response.status_code}, and not as gRPC does"
    number = response.headers["grpc-status"]
    status = STATUSES[int(number)] if number.isdecimal() and int(number) < len(STATUSES) else number
    details = response.headers.get(STATUS_DETAILS, "")
    problem = read_problem(b64decode(details + "=" * (-len(details) % 4)))
    code = f" {problem['code']}" if problem and "code" in problem else ""
    return f"gRPC {status}{code}: {unquote(response.headers.get('grpc-message', ''))}"
