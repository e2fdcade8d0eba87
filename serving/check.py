"""Does a running server do what it promises? What `helm test` runs, and a person after an install.

catsdogs check --url http://127.0.0.1:8080 --grpc 127.0.0.1:7070 --metrics http://127.0.0.1:8082/metrics
"""

import json
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

import httpx

from handler.files import first_line
from serving.predict import find_pictures
from serving.wire import METHOD, field

# What the gateway counts, and what TorchServe does.
FAMILIES = ("caddy_http_request_duration_seconds_bucket", "ts_inference_requests_total")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is. What has no address is not asked."""

    url: str
    grpc: str | None = None
    """host:port"""
    metrics: str | None = None
    key: str | None = None
    trust: SSLContext | None = None
    """Whom to believe over https; None believes those that the package certifi lists."""
    server_name: str | None = None
    """Whom its certificate must name, where that is not the host of the URL."""

    @property
    def scheme(self) -> str:
        """Of REST and gRPC, which have one certificate."""
        return "https" if self.url.startswith("https:") else "http"

    def client(self, **settings: Any) -> httpx.Client:
        def name(request: httpx.Request) -> None:
            request.extensions = {**request.extensions, "sni_hostname": self.server_name}

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        hooks = {"request": [name]} if self.server_name else {}
        return httpx.Client(
            headers=headers, timeout=30, trust_env=False, verify=self.trust or True, event_hooks=hooks, **settings
        )


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    problem: str | None = None
    allowed: bool = False
    """Of a problem: a wrong verdict, where some may be."""


class Wrong(Exception):
    """An answer that is not as it must be."""


class Mistaken(Wrong):
    """A whole answer, whose verdict on a picture is wrong."""


def check(
    target: Target, pictures: Path, least_accuracy: float | None = None, patience_s: float = 0
) -> Iterator[Finding]:
    """Asks for the verdict on each picture by every protocol, then reads the metrics; stops where none is ready.

    Args:
        pictures: a folder of folders, each named by the class of its pictures.
        least_accuracy: the share of the pictures that must be right by every protocol; None allows no wrong verdict.
        patience_s: how long to wait for it to be ready.

    Raises:
        UserError: there are no pictures.
    """
    paths = find_pictures([pictures])
    with target.client(base_url=target.url) as rest, target.client(http1=False, http2=True) as h2:
        finding = attempt("it is ready", partial(ready, rest, patience_s))
        yield finding
        if finding.problem:
            return
        right = 0
        for path in paths:
            truth, data = path.parent.name.lower(), path.read_bytes()
            ways: dict[str, Callable[[], str]] = {
                "REST": partial(by_rest, rest, data),
                "KServe v1": partial(by_v1, rest, data),
                "KServe v2": partial(by_v2, rest, data),
            }
            if target.grpc:
                ways["gRPC"] = partial(by_grpc, h2, f"{target.scheme}://{target.grpc}", model_name(rest), data)
            findings = [
                attempt(f"{path.name} is a {truth} by {way}", partial(expect, truth, ask), least_accuracy is not None)
                for way, ask in ways.items()
            ]
            yield from findings
            right += not any(finding.problem for finding in findings)
    if least_accuracy is not None:
        yield accuracy(right, len(paths), least_accuracy)
    if target.metrics:
        yield attempt("its metrics", partial(metrics, target.metrics))


def attempt(what: str, step: Callable[[], None], mistakes_allowed: bool = False) -> Finding:
    try:
        step()
    except Mistaken as error:
        return Finding(what, str(error), mistakes_allowed)
    except (httpx.HTTPError, httpx.InvalidURL, Wrong) as error:
        return Finding(what, first_line(error) or type(error).__name__)
    except (ValueError, LookupError, TypeError, struct.error) as error:
        return Finding(what, f"the answer is not as ours are: {error!r}")
    return Finding(what)


def accuracy(right: int, count: int, least: float) -> Finding:
    problem = None if right / count >= least else f"that is {right / count:.3f}, and {least:g} is the least"
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


def expect(truth: str, ask: Callable[[], str]) -> None:
    if (label := ask()) != truth:
        raise Mistaken(f"the answer is {label}")


def document(response: httpx.Response) -> Any:
    if response.status_code != 200:
        raise Wrong(f"{response.url} answers {response.status_code}: {response.text[:200].strip()}")
    return response.json()


def by_rest(client: httpx.Client, data: bytes) -> str:
    return str(document(client.post("/predictions", content=data))["label"])


def by_v1(client: httpx.Client, data: bytes) -> str:
    body = {"instances": [{"b64": b64encode(data).decode()}]}
    return str(document(client.post(f"/v1/models/{model_name(client)}:predict", json=body))["predictions"][0]["label"])


def by_v2(client: httpx.Client, data: bytes) -> str:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64encode(data).decode()]}
    answer = document(client.post(f"/v2/models/{model_name(client)}/infer", json={"inputs": [tensor]}))
    return str(next(output for output in answer["outputs"] if output["name"] == "label")["data"][0])


def by_grpc(client: httpx.Client, url: str, model: str, data: bytes) -> str:
    """One unary call, its two messages written by hand: a check is no reason to install gRPC on every server."""
    entry = field(1, b"data") + field(2, data)
    message = field(1, model.encode()) + field(3, entry)
    response = client.post(
        f"{url}/{METHOD}",
        content=struct.pack(">BI", 0, len(message)) + message,
        headers={"Content-Type": "application/grpc", "TE": "trailers"},
    )
    if not response.content:
        raise Wrong(f"gRPC status {response.headers.get('grpc-status')}: {response.headers.get('grpc-message', '')}")
    # One frame (5 bytes of flag and length), one field (a tag and a length of 7 bits a byte) of JSON.
    answer = json.loads(response.content[response.content.index(b"{") :])
    if "code" in answer:
        raise Wrong(str(answer["detail"]))
    return str(answer["label"])


def metrics(url: str) -> None:
    base, _, path = url.partition("/metrics")
    found = ""
    for address in (f"{base}/metrics{path}", f"{base}/torchserve/metrics"):
        response = httpx.get(address, timeout=30, trust_env=False)
        if response.status_code != 200:
            raise Wrong(f"{address} answers {response.status_code}")
        found += response.text
    if missing := [family for family in FAMILIES if family not in found]:
        raise Wrong(f"there is no {missing[0]}")
