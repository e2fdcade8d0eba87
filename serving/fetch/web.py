"""A file of a web server, and the client that asks for it."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from common.download.failures import Again, CutOff, Refused
from common.download.transfer import MOST_WORDS, TIMEOUT_S, Watch
from common.text import printable
from handler.files import UserError, first_line
from serving.gateway.keys import read_secret

HEADER = "CATSDOGS_FETCH_HEADER"
REDIRECTS = 10


class Web:
    """A file of a web server."""

    def __init__(self, address: str, environment: Mapping[str, str] = os.environ) -> None:
        self.url = parse(address)
        header = read_secret(HEADER, environment).strip()
        name, colon, value = (part.strip() for part in header.partition(":"))
        if header and not (colon and value and re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name)):
            raise UserError(f"{HEADER} is not a header such as `Authorization: Bearer …`.")
        if not (value.isascii() and value.isprintable()):
            raise UserError(f"The value in {HEADER} has characters that no header may have.")
        self.secret = (name, value) if header else None
        self.client = open_client(environment)
        self.client.event_hooks = {"request": [self._authorize]}

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *reason: object) -> None:
        self.client.close()

    def __str__(self) -> str:
        # A query may be a signature.
        return str(self.url.copy_with(query=None, fragment=None))

    def _authorize(self, request: httpx.Request) -> None:
        """Called for each request of a chain of redirects: the secret is for the first one's server alone."""
        if self.secret is None:
            return
        name, value = self.secret
        request.headers.pop(name, None)
        if _origin(request.url) == _origin(self.url):
            request.headers[name] = value

    @contextmanager
    def get(self, headers: dict[str, str], watch: Watch) -> Iterator[httpx.Response]:
        """Follow redirects, whose bodies are not read: httpx would read them, however long they are."""
        with failures():
            yield from self._get(headers, watch)

    def _get(self, headers: dict[str, str], watch: Watch) -> Iterator[httpx.Response]:
        request = self.client.build_request(
            "GET", self.url, headers=headers, timeout=TIMEOUT_S, extensions=watch.extensions
        )
        for _ in range(REDIRECTS + 1):
            response = self.client.send(request, stream=True, follow_redirects=False)
            try:
                if response.next_request is None:
                    yield response
                    return
                request = response.next_request
            finally:
                response.close()
            watch.come_forward()
        raise Refused(f"it leads through more than {REDIRECTS} redirects")

    def explain(self, response: httpx.Response) -> str:
        hint = ""
        if response.status_code in (401, 403):
            hint = f" (with the header of {HEADER})" if self.secret else f" (no {HEADER} is set)"
        return f"{response.status_code} {response.reason_phrase}".strip() + hint


@contextmanager
def failures() -> Iterator[None]:
    """Turn httpx's errors into failures of a download."""
    try:
        yield
    except UserError:
        raise
    except (httpx.ReadError, httpx.RemoteProtocolError) as error:
        raise CutOff(describe(error)) from error
    except httpx.UnsupportedProtocol as error:
        raise Refused("it leads to an address that is neither http nor https") from error
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            hint = "Name a file with its authority by SSL_CERT_FILE"
            raise Refused(f"{describe(error)}. {hint}") from error
        raise Again(describe(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Refused(describe(error)) from error
    except ValueError as error:
        # Such as a cookie of signs that no header may have.
        raise Refused(f"the answer is not valid HTTP: {describe(error)}") from error


def describe(error: Exception) -> str:
    """Return what a library says of an answer, which may be in the server's words."""
    return printable(first_line(error), MOST_WORDS).rstrip(".") or type(error).__name__


def read_at_most(response: httpx.Response, limit: int) -> bytes:
    """Return the beginning of a body as it was sent, however much more of it there is."""
    body = bytearray()
    for block in response.iter_raw():
        body += block
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def parse(address: str) -> httpx.URL:
    """Return an address in its parts.

    Raises:
        UserError: it is no address, or has a password in it.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise UserError(f"{address.partition('?')[0]} is not a URL: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"{address.partition('?')[0]} is not the URL of a web server.")
    if url.userinfo:
        raise UserError(f"The address at {url.host} has a password in it, which logs would show: set {HEADER} instead.")
    return url


def open_client(environment: Mapping[str, str], *authorities: str) -> httpx.Client:
    """Open an HTTP client that uses the environment's proxies and CA bundle.

    The bundle is the file that the first set variable of `authorities` names, else the one of SSL_CERT_FILE, else
    certifi's.

    Raises:
        UserError: they cannot be used.
    """
    trusted: ssl.SSLContext | bool = True
    for variable in (*authorities, "SSL_CERT_FILE"):
        if path := environment.get(variable):
            try:
                trusted = ssl.create_default_context(cafile=path)
                break
            except OSError as error:
                raise UserError(f"{variable} is {path}, which holds no certificates that can be read.") from error
    try:
        return httpx.Client(verify=trusted)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise UserError(f"The proxy that the environment names cannot be used: {first_line(error)}") from error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
