"""Does a running server do what it promises? What `helm test` runs, and a person after an install.

catsdogs check --url http://127.0.0.1:8080 --grpc 127.0.0.1:7070 --metrics http://127.0.0.1:8082/metrics
"""

import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from handler.files import first_line
from serving.client import golden
from serving.client.answers import Contradiction, is_class, some_of
from serving.client.pictures import find_pictures
from serving.client.protocols import Prediction, Wrong, by_grpc, by_rest, by_v1, by_v2, document
from serving.client.samples import SAMPLES
from serving.client.target import Target

# What the gateway counts, and what TorchServe does.
FAMILIES = (
    "caddy_http_request_duration_seconds_bucket",
    "catsdogs_request_duration_seconds_bucket",
    "ts_inference_requests_total",
)
# Two protocols' batches may differ in size, and kernels for another size round otherwise.
AGREEMENT = 0.01


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    problem: str | None = None
    allowed: bool = False
    """Whether the problem is a wrong prediction where some are allowed."""


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

    The golden pictures must get the answers that the release recorded, whatever the model's classes are.
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
    folder = pictures or SAMPLES
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
        if recorded := golden.read_golden(rest):
            for way, ask in ways.items():
                what = f"the golden pictures get the answers that the release recorded by {way}"
                yield attempt(what, partial(golden.compare, recorded, ask))
        folders = sorted({path.parent.name for path in paths})
        if classes and not any(is_class(classes, folder_name) for folder_name in folders):
            other = f"the model's classes are {some_of(classes.split(','))}, and the pictures in {folder} are in"
            other += f" folders named {some_of(folders)}. By --pictures, name a folder with a subfolder for each class"
            if pictures is not None or min_accuracy is not None:
                yield Finding("the pictures are of the model's classes", other)
            else:
                say(f"Labels are not compared: {other}.")
            if pictures is None:
                yield from compare_protocols(paths[0], ways)
        else:
            yield from compare_labels(paths, ways, min_accuracy)
    if target.metrics:
        yield attempt("its metrics", partial(metrics, target.metrics))


def compare_labels(paths: Sequence[Path], ways: Mapping[str, Ask], min_accuracy: float | None) -> Iterator[Finding]:
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


def compare_protocols(path: Path, ways: Mapping[str, Ask]) -> Iterator[Finding]:
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
        first, reference = next(iter(answers.items()))
        apart = abs(reference.probabilities[reference.label] - answer.probabilities.get(reference.label, 0))
        if apart > AGREEMENT:
            raise Wrong(
                f"{first} says {reference.label} and {way} {answer.label}; their probabilities are {apart:.3f} apart"
            )


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
