"""A server without a model: it knows the samples, and answers by REST and KServe as it is told to."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.client.golden import golden_pictures
from serving.client.samples import SAMPLES

TRUTHS = {path.read_bytes(): path.parent.name for path in SAMPLES.rglob("*.jpg")}
SIZE = 32
GOLDEN = golden_pictures(SIZE)
Change = Callable[[dict[str, Any]], dict[str, Any]]


def same(answer: dict[str, Any]) -> dict[str, Any]:
    return answer


def predicted(label: str, classes: Sequence[str] = ("cat", "dog"), probability: float = 0.9) -> dict[str, Any]:
    rest = (1 - probability) / (len(classes) - 1)
    probabilities = {name: probability if name == label else rest for name in classes}
    return {"label": label, "probability": probability, "probabilities": probabilities}


class Server(ThreadingHTTPServer):
    """A server that knows the samples.

    Args:
        mistaken: pictures that it calls by the other name.
        unready: questions after which it is ready.
        broken: whether predictions by REST are refused.
        classes: where these are not cat and dog, it predicts the first one of every picture.
        change: made to each answer; `by_v1` to those of KServe v1 alone.
        golden: probability of the first class that it records for the golden pictures; None where it records none.
        answered: probability that it answers for them.
        sha256: of the weights that its answers name.
    """

    def __init__(
        self,
        mistaken: Collection[str] = (),
        unready: int = 0,
        broken: bool = False,
        classes: Sequence[str] = ("cat", "dog"),
        change: Change = same,
        by_v1: Change = same,
        golden: float | None = None,
        answered: float | None = None,
        sha256: str = "a",
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mistaken = {path.read_bytes() for path in SAMPLES.rglob("*.jpg") if path.name in mistaken}
        self.unready = iter(range(unready))
        self.broken, self.classes, self.change, self.by_v1 = broken, classes, change, by_v1
        self.golden, self.answered, self.sha256 = golden, answered or golden, sha256

    def predict(self, picture: bytes) -> dict[str, Any]:
        if picture in GOLDEN:
            assert self.answered is not None
            answer = predicted(self.classes[0], self.classes, self.answered)
            return self.change({**answer, "model": {"sha256": self.sha256}})
        other = {"cat": "dog", "dog": "cat"}
        truth = TRUTHS[picture] if "cat" in self.classes else self.classes[0]
        return self.change(predicted(other[truth] if picture in self.mistaken else truth, self.classes))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.answer(200 if next(self.server.unready, None) is None else 503, {})
        elif self.path == "/v1/models":
            self.answer(200, {"models": ["catsdogs"]})
        elif self.path == "/v2/models/catsdogs":
            self.answer(200, {"parameters": {"classes": ",".join(self.server.classes)}})
        elif self.path == "/openapi.json" and self.server.golden is not None:
            row = {"label": self.server.classes[0], "probability": self.server.golden}
            recorded = {"size": SIZE, "sha256": "a", "answers": {"fp32": [row] * 4}}
            self.answer(200, {"info": {"x-golden-answers": recorded}})
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/predictions":
            self.answer(503 if self.server.broken else 200, self.server.predict(body))
        elif self.path == "/v1/models/catsdogs:predict":
            picture = b64decode(json.loads(body)["instances"][0]["b64"])
            self.answer(200, {"predictions": [self.server.by_v1(self.server.predict(picture))]})
        else:
            assert self.path == "/v2/models/catsdogs/infer"
            answer = self.server.predict(b64decode(json.loads(body)["inputs"][0]["data"][0]))
            classes = {"classes": ",".join(self.server.classes)}
            shares = {"data": list(answer["probabilities"].values()), "parameters": classes}
            outputs = [{"name": name, "data": [answer[name]]} for name in ("label", "probability")]
            parameters = {"parameters": answer["model"]} if "model" in answer else {}
            self.answer(200, {**parameters, "outputs": [*outputs, {"name": "probabilities", **shares}]})


@contextmanager
def server(mistaken: Collection[str] = (), **options: Any) -> Iterator[str]:
    """Run a `Server` with these options, and yield its address."""
    with Server(mistaken, **options) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http_server.server_port}"
        finally:
            http_server.shutdown()
            thread.join()
