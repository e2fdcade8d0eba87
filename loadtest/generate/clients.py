"""Clients of each protocol. No request is tried again, so every lost one is counted.

Locust's own HTTP clients send a request a second time where a kept connection turned out to be closed, which hides just
what a rollout loses; these are the standard library's, which gevent makes wait for one another without threads.
"""

import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from urllib3.util import wait_for_read

from loadtest.generate.pictures import Picture
from serving.client.answers import STATUS_DETAILS, Contradiction, check_consistent, read_problem
from serving.wire import METHOD, WireError, field, read_bytes_field

BOUNDARY = "catsdogs-load-7d1f0a52"


@dataclass(frozen=True, slots=True)
class Address:
    """The server's addresses, its model, and how clients authenticate."""

    url: str
    grpc: str
    """host:port"""
    model: str
    key: str | None = None
    trust: ssl.SSLContext | None = None
    """The certificates that verify an https server; None takes the system's."""
    ca: bytes | None = None
    """The same for gRPC, as PEM."""
    server_name: str | None = None
    timeout_s: float = 30

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class Answer:
    label: str
    probability: float
    version: str | None = None
    sha256: str | None = None


class Wrong(Exception):
    """An answer that breaks the contract. Its text names the kind of failure, by which failures are counted."""


class Contradictory(Wrong):
    """An answer whose parts contradict each other. A single one is a breach."""


class Client(Protocol):
    def ask(self, picture: Picture) -> Answer | None:
        """The answer; None where a picture that is broken on purpose was refused as it must be.

        Raises:
            Wrong, OSError, http.client.HTTPException: there was none, or another.
        """


class Http:
    """A REST client. It keeps as many connections as requests are under way."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.host = urlsplit(address.url).netloc
        self.idle: list[http.client.HTTPConnection] = []
        self.path = f"/predictions/{address.model}"
        self.headers = {**address.headers, "Content-Type": "application/octet-stream"}

    def connect(self) -> http.client.HTTPConnection:
        if not self.address.tls:
            return http.client.HTTPConnection(self.host, timeout=self.address.timeout_s)
        context = self.address.trust or ssl.create_default_context()
        return Named(self.host, self.address.server_name, self.address.timeout_s, context)

    def body(self, picture: Picture) -> bytes:
        return picture.data

    def read(self, document: Any) -> Any:
        """The answer about the picture, of a document about the request."""
        return document

    def ask(self, picture: Picture) -> Answer | None:
        body = self.body(picture)
        connection = self.kept() or self.connect()
        try:
            connection.request("POST", self.path, body, self.headers)
            response = connection.getresponse()
            text = response.read()
        except BaseException:
            connection.close()
            raise
        # The library has closed a connection that the server will close: it is not kept.
        if not response.will_close:
            self.idle.append(connection)
        if response.status == 200 and picture.refusal is None:
            return understood(parsed(text, response.status), self.read)
        check_refusal(response.status, parsed(text, response.status), picture)
        return None

    def kept(self) -> http.client.HTTPConnection | None:
        """The idle connection that was used last, but for those that the server has closed since.

        It may close them when it likes, after 75 s ours does, and HTTP's clients look before they ask again (RFC 9112,
        9.3.1). A request that is lost because it was closed just then stays lost.
        """
        while self.idle:
            connection = self.idle.pop()
            # What an idle connection has to read is its end.
            if not wait_for_read(connection.sock, timeout=0.0):
                return connection
            connection.close()
        return None

    def close(self) -> None:
        for connection in self.idle:
            connection.close()


class Named(http.client.HTTPSConnection):
    """A connection whose certificate may have to name another host than the one that is dialled."""

    def __init__(self, host: str, name: str | None, timeout_s: float, context: ssl.SSLContext) -> None:
        super().__init__(host, timeout=timeout_s, context=context)
        self.name, self.trust = name or self.host, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self.trust.wrap_socket(self.sock, server_hostname=self.name)


class Multipart(Http):
    """A form with one file, as browsers and `curl -F` send it."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"

    def body(self, picture: Picture) -> bytes:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
        return head.encode() + picture.data + f"\r\n--{BOUNDARY}--\r\n".encode()


class KServe(Http):
    """KServe's protocol v1: JSON with the picture in base64."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.path = f"/v1/models/{address.model}:predict"
        self.headers["Content-Type"] = "application/json"

    def body(self, picture: Picture) -> bytes:
        return b'{"instances":[{"b64":"' + b64encode(picture.data) + b'"}]}'

    def read(self, document: Any) -> Any:
        return document["predictions"][0]


class Grpc:
    """A gRPC client with one channel. The channel repeats no call that was sent."""

    def __init__(self, address: Address) -> None:
        import grpc

        self.error, self.invalid = grpc.RpcError, grpc.StatusCode.INVALID_ARGUMENT
        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        if address.server_name:
            options.append(("grpc.ssl_target_name_override", address.server_name))
        if address.tls:
            credentials = grpc.ssl_channel_credentials(address.ca)
            self.channel = grpc.secure_channel(address.grpc, credentials, options=options)
        else:
            self.channel = grpc.insecure_channel(address.grpc, options=options)
        self.call = self.channel.unary_unary(f"/{METHOD}")
        self.model = field(1, address.model.encode())
        self.metadata = tuple((name.lower(), value) for name, value in address.headers.items())
        self.timeout_s = address.timeout_s

    def ask(self, picture: Picture) -> Answer | None:
        message = self.model + field(3, field(1, b"data") + field(2, picture.data))
        try:
            reply = self.call(message, timeout=self.timeout_s, metadata=self.metadata)
        except self.error as error:
            self.check_status(error, picture)
            return None
        try:
            document = parsed(read_bytes_field(reply, 1), 200)
        except WireError as error:
            raise Wrong("200: the answer is not a PredictionResponse") from error
        if picture.refusal is not None:
            check_refusal(200, document, picture)
        return understood(document)

    def check_status(self, error: Any, picture: Picture) -> None:
        """Compare the problem document in a call's status with what the picture must get.

        Raises:
            Wrong: it is another, or there is none.
        """
        status = error.code()
        details = dict(error.trailing_metadata() or ()).get(STATUS_DETAILS)
        problem = read_problem(details) if isinstance(details, bytes) else None
        if problem is None or (picture.refusal is not None and status is not self.invalid):
            raise Wrong(f"gRPC {status.name}") from error
        check_refusal(problem.get("status"), problem, picture)

    def close(self) -> None:
        self.channel.close()


def unready(address: Address) -> str | None:
    """Return the reason why the server cannot be asked yet; None where it can."""
    asking = Http(address).connect()
    try:
        asking.request("GET", "/readyz", headers=address.headers)
        response = asking.getresponse()
        text = response.read(300).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{address.url} does not answer: {error or type(error).__name__}."
    finally:
        asking.close()
    return None if response.status == 200 else f"{address.url}/readyz answers {response.status}: {text}"


CLIENTS: Mapping[str, type[Http] | type[Grpc]] = {
    "rest": Http,
    "multipart": Multipart,
    "kserve": KServe,
    "grpc": Grpc,
}


def parsed(text: bytes, status: int) -> Any:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Wrong(f"{status}: the answer is not JSON") from error
    if not isinstance(document, dict):
        raise Wrong(f"{status}: the answer is not a JSON object")
    return document


def understood(document: Any, read: Callable[[Any], Any] = lambda document: document) -> Answer:
    try:
        document = read(document)
        label, probability = str(document["label"]), float(document["probability"])
        # Rivals' servers and stubs may name the label alone.
        if "probabilities" in document:
            shares = {str(name): float(share) for name, share in document["probabilities"].items()}
            check_consistent(label, probability, shares)
        model = document.get("model") or {}
        return Answer(label, probability, model.get("version"), model.get("sha256"))
    except Contradiction as error:
        raise Contradictory(f"200: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Wrong("200: the answer has not the form of a prediction") from error


def check_refusal(status: Any, document: Any, picture: Picture) -> None:
    """Is this the answer that a picture broken on purpose must get?

    Raises:
        Wrong: it is not, or the picture was whole.
    """
    code = document.get("code")
    if picture.refusal is None:
        raise Wrong(f"{status} {code}" if code else f"{status}")
    if (status, code) != picture.refusal:
        wanted = " ".join(str(word) for word in picture.refusal)
        raise Wrong(f"{status} {code or 'with a prediction'} for a picture that must get {wanted}")
