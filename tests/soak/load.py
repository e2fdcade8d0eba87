"""Clients of every kind at once, good and bad, until they are stopped."""

import base64
import itertools
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import grpc
import httpx
from PIL import Image

from serving.gateway.caddy import Ports
from tests import zoo
from tests.e2e.support import PATH

# Of each: how many clients, and how long one waits after an answer. Together they leave no core idle.
PACE = {
    "good": (3, 0.0),
    "bad": (1, 0.02),
    "kserve": (1, 0.2),
    "grpc": (2, 0.0),
    "page": (1, 0.2),
    "metrics": (1, 5.0),
    "cut off": (1, 0.1),
    "slow": (2, 0.0),
    "large": (1, 5.0),
}
# A client connects anew after so many requests.
STAY = 50
PAGES = ["/", "/page.js", "/page.css", "/docs", "/openapi.json", "/readyz", "/livez", "/v2/models/catsdogs", "/nothing"]

# In the details of an error.
PROBLEM_CODE = re.compile(rb'"code": ?"(\w+)"')

Answers = Generator[bool, None, None]


class Load:
    """Begins at once and ends with `stop`.

    Attributes:
        answers: how many of each kind were answered as they should be.
        refused: how many met a full queue, as may be.
        wrong: what else was answered, in words.
    """

    def __init__(self, ports: Ports, stubs: tuple[Any, Any]) -> None:
        self.ports, self.stubs = ports, stubs
        self.answers: Counter[str] = Counter()
        self.refused = 0
        self.wrong: Counter[str] = Counter()
        self.over = threading.Event()
        self.pictures = [*zoo.accepted().values(), zoo.DOG.read_bytes()]
        self.bad_pictures = zoo.refused()
        photo = zoo.photo().resize((5200, 3900), Image.Resampling.BILINEAR)
        self.large_pictures = [zoo.encode(photo, "JPEG"), zoo.encode(Image.new("RGBA", photo.size), "PNG")]
        kinds: dict[str, Callable[[], Answers]] = {
            "good": self.good,
            "bad": self.bad,
            "kserve": self.kserve,
            "grpc": self.grpc,
            "page": self.page,
            "metrics": self.metrics,
            "cut off": self.cut_off,
            "slow": self.slow,
            "large": self.large,
        }
        self.threads = [
            threading.Thread(target=self.run, args=(kind, kinds[kind], pause), daemon=True)
            for kind, (count, pause) in PACE.items()
            for _ in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def run(self, kind: str, client: Callable[[], Answers], pause: float) -> None:
        while not self.over.is_set():
            try:
                with closing(client()) as answers:
                    for right in itertools.islice(answers, STAY):
                        self.answers[kind] += right
                        if self.over.wait(pause):
                            break
            except Exception as error:
                self.wrong[f"{kind}: {error!r}"[:200]] += 1
                self.over.wait(1)

    def expect(self, response: httpx.Response, status: int) -> bool:
        if response.status_code == 503 and response.json().get("code") == "overloaded":
            self.refused += 1
            return False
        assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:100]}"
        return True

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.ports.rest}", timeout=60, trust_env=False)

    def good(self) -> Answers:
        with self.http() as client:
            for body in itertools.cycle(self.pictures):
                yield self.expect(client.post(PATH, content=body), 200)

    def bad(self) -> Answers:
        with self.http() as client:
            for body, status, _ in itertools.cycle(self.bad_pictures.values()):
                yield self.expect(client.post(PATH, content=body), status)

    def kserve(self) -> Answers:
        pictures = [base64.b64encode(path.read_bytes()).decode() for path in (zoo.CAT, zoo.DOG, zoo.CAT)]
        body = json.dumps({"instances": [{"b64": picture} for picture in pictures]})
        with self.http() as client:
            while True:
                yield self.expect(client.post("/v1/models/catsdogs:predict", content=body), 200)

    def large(self) -> Answers:
        """20 megapixels, as a phone takes them and as nobody should send them."""
        with self.http() as client:
            for body in itertools.cycle(self.large_pictures):
                yield self.expect(client.post(PATH, content=body), 200)

    def page(self) -> Answers:
        with self.http() as client:
            for path in itertools.cycle(PAGES):
                yield self.expect(client.get(path), 404 if path == "/nothing" else 200)

    def metrics(self) -> Answers:
        """Prometheus, and somebody who reads the summary."""
        address = f"http://127.0.0.1:{self.ports.metrics}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            while True:
                text = client.get("/metrics").text
                assert "catsdogs_torchserve_up 1.0" in text, text[:200]
                yield self.expect(client.get("/stats"), 200)

    def grpc(self) -> Answers:
        messages, services = self.stubs
        expected = [(zoo.CAT.read_bytes(), None), *((body, code) for body, _, code in self.bad_pictures.values())]
        with grpc.insecure_channel(f"127.0.0.1:{self.ports.grpc}", [("grpc.enable_retries", 0)]) as channel:
            service = services.InferenceAPIsServiceStub(channel)
            for body, code in itertools.cycle(expected):
                message = messages.PredictionsRequest(model_name="catsdogs", input={"data": body})
                try:
                    service.Predictions(message, timeout=60)
                    answered = None
                except grpc.RpcError as error:
                    answered = problem_code(error)
                assert answered in (code, "overloaded"), f"{answered} instead of {code}"
                self.refused += answered == "overloaded"
                yield answered == code

    def post_by_hand(self, length: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.ports.rest), 60)
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        return connection

    def cut_off(self) -> Answers:
        """Leaves in the middle of its upload."""
        body = zoo.CAT.read_bytes()
        while True:
            with closing(self.post_by_hand(len(body))) as connection:
                connection.sendall(body[: len(body) // 2])
            yield True

    def slow(self) -> Answers:
        """A phone at the edge of its cell: five seconds for a picture."""
        body = zoo.CAT.read_bytes()
        while True:
            with closing(self.post_by_hand(len(body))) as connection:
                step = len(body) // 20
                for start in range(0, len(body), step):
                    connection.sendall(body[start : start + step])
                    time.sleep(0.25)
                status = connection.recv(100).split(b" ")[1]
            assert status in (b"200", b"503"), status
            yield status == b"200"


def problem_code(error: grpc.RpcError) -> str:
    """Return the code of the problem document in the details of an error.

    Raises:
        RpcError: it has none.
    """
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    code = PROBLEM_CODE.search(details)
    if code is None:
        raise error
    return code[1].decode()
