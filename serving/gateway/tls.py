"""The gateway's certificate, read anew at each handshake: replaced without a restart, and without losing a request.

Caddy reads files of certificates with its configuration alone. Reloading that closes every idle connection, and resets
those that wait at the old socket. So it is given none, and asks for one at each handshake, by HTTP on loopback.
"""

import hashlib
import hmac
import re
import secrets
import socketserver
import ssl
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from handler.files import UserError

CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----.+?-----END ([A-Z]+ )?PRIVATE KEY-----", re.DOTALL)
USER = "gateway"


@dataclass(frozen=True, slots=True)
class Pair:
    """Files in PEM format: a certificate with what it is signed by, and its key."""

    certificate: Path
    key: Path

    def options(self) -> tuple[str, str]:
        """The options of `catsdogs gateway` that name both files."""
        return f"--tls-cert={self.certificate.absolute()}", f"--tls-key={self.key.absolute()}"

    def read(self) -> bytes:
        """Both, as Caddy takes them.

        Raises:
            UserError: one cannot be read, is half-written, or does not belong to the other.
        """
        return self.checked(self.contents())

    def checked(self, contents: tuple[bytes, bytes]) -> bytes:
        """Check the contents of both files, and that the files still hold them; return both as one PEM text."""
        chain, key = CERTIFICATE.findall(contents[0]), KEY.search(contents[1])
        if not chain:
            raise UserError(f"{self.certificate} holds no certificate in PEM format.")
        if key is None:
            raise UserError(f"{self.key} holds no private key in PEM format.")
        if b"ENCRYPTED" in key[0]:
            raise UserError(f"The key in {self.key} is encrypted: give one without a password.")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise UserError(
                    f"The key in {self.key} is not that of the certificate in {self.certificate}."
                ) from error
            raise UserError(f"{self.certificate} and {self.key} cannot be used: {error.reason or error}") from error
        except OSError as error:
            raise UserError(f"{self.certificate} and {self.key} are being replaced.") from error
        if self.contents() != contents:
            raise UserError(f"{self.certificate} and {self.key} are being replaced.")
        return b"\n".join([*chain, key[0], b""])

    def contents(self) -> tuple[bytes, bytes]:
        contents = []
        for path in (self.certificate, self.key):
            try:
                contents.append(path.read_bytes())
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}.") from error
        return contents[0], contents[1]


class Keeper:
    """The newest pair that can be used. One that cannot is refused in a sentence, and the last one is kept."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.lock = threading.Lock()
        contents = pair.contents()
        self.served = pair.checked(contents)
        self.seen: tuple[bytes, bytes] | str = contents
        """The pair that was read last, or why none was."""

    def current(self) -> bytes:
        with self.lock:
            try:
                contents: tuple[bytes, bytes] | str = self.pair.contents()
            except UserError as error:
                contents = str(error)
            if contents != self.seen:
                self.seen = contents
                self._take(contents)
            return self.served

    def _take(self, contents: tuple[bytes, bytes] | str) -> None:
        try:
            if isinstance(contents, str):
                raise UserError(contents)
            new = self.pair.checked(contents)
        except UserError as error:
            say(f"{error} The last certificate is served on: sha256 {fingerprint(self.served)}.")
            return
        if new != self.served:
            say(f"The certificate in {self.pair.certificate} is served now: sha256 {fingerprint(new)}.")
        self.served = new


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """Return a client's TLS context that verifies servers with this CA bundle; with None it verifies nothing.

    Raises:
        UserError: the file cannot be read, or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise UserError(f"{authorities} holds no certificate in PEM format.") from error
    except OSError as error:
        raise UserError(f"{authorities} cannot be read: {error.strerror}.") from error
    return context


def say(sentence: str) -> None:
    print(f"catsdogs: {sentence}", file=sys.stderr, flush=True)


def fingerprint(pem: bytes) -> str:
    """Return the SHA-256 fingerprint of the first certificate, as `openssl x509 -fingerprint -sha256` prints it."""
    first = CERTIFICATE.search(pem)
    assert first is not None
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0].decode())).hexdigest()


@contextmanager
def answer_handshakes(pair: Pair) -> Iterator[str]:
    """Yields the URL at which Caddy gets the pair. Its password keeps out who else can reach loopback.

    Raises:
        UserError: the pair cannot be used.
    """
    keeper, password = Keeper(pair), secrets.token_urlsafe(32)
    allowed = f"Basic {b64encode(f'{USER}:{password}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: the body would wait for a delayed acknowledgement of the headers.
        wbufsize = -1

        def do_GET(self) -> None:
            admitted = hmac.compare_digest(self.headers.get("Authorization", "").encode(), allowed.encode())
            body = keeper.current() if admitted else b""
            self.send_response(200 if admitted else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="certificates", daemon=True).start()
        try:
            yield f"http://{USER}:{password}@127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
