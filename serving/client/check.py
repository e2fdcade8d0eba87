"""Does a running server do what it promises? What `helm test` runs, and a person after an install.

catsdogs check --url http://127.0.0.1:8080 --grpc 127.0.0.1:7070 --metrics http://127.0.0.1:8082/metrics
"""

import struct
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import unquote

import httpx

from handler.counts import PROBE
from handler.files import first_line
from serving.client.answers import (
    STATUS_DETAILS,
    Contradiction,
    check_consistent,
    is_class,
    read_problem,
    read_reply,
    some_of,
)
from serving.client.pictures import find_pictures
from serving.wire import METHOD, field

# What the gateway counts, and what TorchServe does.
FAMILIES = (
    "caddy_http_request_duration_seconds_bucket",
    "catsdogs_request_duration_seconds_bucket",
    "ts_inference_requests_total",
)
SAMPLES = Path("docs", "samples")
# Two protocols' batches may differ in size, and kernels for another size round otherwise.
AGREEMENT = 0.01
STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The addresses of a server, and how it is verified. A protocol without an address is not asked."""

    url: str
    grpc: str | None = None
    """host:port"""
    metrics: str | None = None
    key: str | None = None
    trust: SSLContext | None = None
    """The certificates that verify an https server; None takes those that the package certifi lists."""
    server_name: str | None = None
    """Name that its certificate must carry, where that is not the host of the URL."""

    @property
    def scheme(self) -> str:
        """The scheme of both REST and gRPC, which share one certificate."""
        return "https" if self.url.startswith("https:") else "http"

    def client(self, **settings: Any) -> httpx.Client:
        def name(request: httpx.Request) -> None:
            request.extensions = {**request.extensions, "sni_hostname": self.server_name}

        # Known pictures are no users': see monitoring/metrics.yaml.
        headers = {PROBE: "1", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        hooks = {"request": [name]} if self.server_name else {}
        return httpx.Client(
            headers=headers, timeout=30, trust_env=False, verify=self.trust or True, event_hooks=hooks, **settings
        )


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    problem: str | None = None
    allowed: bool = False
    """Whether the problem is a wrong prediction where some are allowed."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The label and the probabilities of a well-formed answer."""

    label: str
    probabilities: Mapping[str, float]


class Wrong(Exception):
    """An answer that is not as it must be."""


class Mistaken(Wrong):
    """A whole answer that predicts the wrong class of a picture."""


Ask = Callable[[bytes], Prediction]


def check(
    target: Target,
    pictures: Path | None = None,
    min_accuracy: float | None = None,
    patience_s: float = 0,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Finding]:
    """Ask for predictions by every protocol, then read the metrics; stop where the server is not ready.

    Pictures in folders named by the model's classes must be predicted right. Where the sample pictures are of other
    classes than the model's, one is sent all the same, and the answers must be well formed and agree.

    Args:
        pictures: a folder with a subfolder for each class; None takes the samples, cats and dogs.
        min_accuracy: the share of the pictures that must be right by every protocol; None allows no wrong prediction.
        patience_s: seconds to wait until the server is ready.
        say: told in a sentence which files of the folder are skipped.

    Raises:
        UserError: there are no pictures.
    """
    folder = pictures or samples()
    paths, names = find_pictures([folder], say) if pictures else find_pictures([folder]), list[str]()
    with target.client(base_url=target.url) as rest, target.client(http1=False, http2=True) as h2:
        finding = attempt("it is ready", partial(ready, rest, patience_s))
        yield finding
        if finding.problem:
            return
        finding = attempt("it names its model", lambda: names.append(model_name(rest)))
        if finding.problem:
            yield finding
            return
        (name,) = names
        classes = class_names(rest, name)
        ways: dict[str, Ask] = {
            "REST": partial(by_rest, rest),
            "KServe v1": partial(by_v1, rest, name),
            "KServe v2": partial(by_v2, rest, name),
        }
        if target.grpc:
            ways["gRPC"] = partial(by_grpc, h2, f"{target.scheme}://{target.grpc}", name)
        folders = sorted({path.parent.name for path in paths})
        if classes and not any(is_class(classes, folder_name) for folder_name in folders):
            other = f"the model's classes are {some_of(classes.split(','))}, and the pictures in {folder} are in"
            other += f" folders named {some_of(folders)}. By --pictures, name a folder with a subfolder for each class"
            if pictures is not None or min_accuracy is not None:
                yield Finding("the pictures are of the model's classes", other)
            else:
                say(f"Labels are not compared: {other}.")
            if pictures is None:
                yield from agreement(paths[0], ways)
        else:
            yield from known(paths, ways, min_accuracy)
    if target.metrics:
        yield attempt("its metrics", partial(metrics, target.metrics))


def samples() -> Path:
    """Return the folder of sample pictures: in the working directory, or else in the repository."""
    return SAMPLES if SAMPLES.is_dir() else Path(__file__).resolve().parents[2] / SAMPLES


def known(paths: Sequence[Path], ways: Mapping[str, Ask], min_accuracy: float | None) -> Iterator[Finding]:
    """Ask by each protocol for the class that the name of each picture's folder says."""
    right = 0
    for path in paths:
        truth, data = path.parent.name.lower(), path.read_bytes()
        findings = [
            attempt(f"{path.name} is a {truth} by {way}", partial(expect, truth, ask, data), min_accuracy is not None)
            for way, ask in ways.items()
        ]
        yield from findings
        right += not any(finding.problem for finding in findings)
    if min_accuracy is not None:
        yield accuracy(right, len(paths), min_accuracy)


def agreement(path: Path, ways: Mapping[str, Ask]) -> Iterator[Finding]:
    """Ask about one picture by each protocol: each answer is well formed, and all say the same."""
    data, answers = path.read_bytes(), dict[str, Prediction]()
    for way, ask in ways.items():

        def step(way: str = way, ask: Ask = ask) -> None:
            answers[way] = ask(data)

        yield attempt(f"{path.name} gets a well-formed answer by {way}", step)
    if len(answers) == len(ways):
        yield attempt("the protocols agree", partial(agree, answers))


def agree(answers: Mapping[str, Prediction]) -> None:
    """Compare the answers to one picture: the probability of what the first one predicts, as all of them say it."""
    for way, answer in answers.items():
        first, one = next(iter(answers.items()))
        apart = abs(one.probabilities[one.label] - answer.probabilities.get(one.label, 0))
        if apart > AGREEMENT:
            raise Wrong(f"{first} says {one.label} and {way} {answer.label}; their probabilities are {apart:.3f} apart")


def attempt(what: str, step: Callable[[], None], mistakes_allowed: bool = False) -> Finding:
    try:
        step()
    except Mistaken as error:
        return Finding(what, str(error), mistakes_allowed)
    except (httpx.HTTPError, httpx.InvalidURL, Wrong) as error:
        return Finding(what, first_line(error) or type(error).__name__)
    except Contradiction as error:
        return Finding(what, f"the answer contradicts itself: {error}")
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        return Finding(what, f"the answer has not the form of a prediction: {error!r}")
    return Finding(what)


def accuracy(right: int, count: int, least: float) -> Finding:
    problem = None if right / count >= least else f"the accuracy is {right / count:.3f}, below the minimum of {least:g}"
    return Finding(f"{right} of {count} pictures are right", problem)


def ready(client: httpx.Client, patience_s: float = 0) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            document(client.get("/readyz", timeout=10))
            return
        except (httpx.TransportError, Wrong):
            if time.monotonic() >= deadline:
                raise
        time.sleep(1)


def model_name(client: httpx.Client) -> str:
    return str(document(client.get("/v1/models"))["models"][0])


def class_names(client: httpx.Client, model: str) -> str:
    """Return the model's classes, joined by commas; nothing where the server does not say."""
    try:
        return str(document(client.get(f"/v2/models/{model}"))["parameters"]["classes"])
    except (httpx.HTTPError, Wrong, ValueError, LookupError, TypeError):
        return ""


def expect(truth: str, ask: Ask, data: bytes) -> None:
    if (label := ask(data).label).lower() != truth:
        raise Mistaken(f"the answer is {label}")


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
    return Prediction(str(answer["label"]), probabilities)


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
    return prediction({"label": label, "probability": probability, "probabilities": probabilities})


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


def metrics(url: str) -> None:
    base, _, path = url.partition("/metrics")
    pages = ""
    for address in (f"{base}/metrics{path}", f"{base}/torchserve/metrics"):
        response = httpx.get(address, timeout=30, trust_env=False)
        if response.status_code != 200:
            raise Wrong(f"{address} answers {response.status_code}")
        pages += response.text
    if missing := [family for family in FAMILIES if family not in pages]:
        raise Wrong(f"there is no {missing[0]}")
