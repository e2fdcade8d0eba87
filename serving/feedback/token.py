"""Feedback tokens: a prediction, signed, so that nothing needs to be stored until somebody says that it is wrong.

A token is 1.PAYLOAD.SIGNATURE, each part in base64url without padding. The payload is a JSON array: the time, random
letters, by which two predictions of the same picture are told apart, and what the worker says of the picture and its
prediction. The signature is an HMAC-SHA256 of the payload.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler.problem import Problem
from serving.gateway.keys import KEY

VERSION = "1"
# What is signed begins with this, so that a signature made for anything else by the same key is none here.
PURPOSE = b"catsdogs feedback 1\0"
MAX_TOKEN = 4096
# The clocks of two pods may differ by so much.
SKEW_S = 60.0
ID_DIGITS = 32
NONCE_BYTES = 6


@dataclass(frozen=True, slots=True)
class Prediction:
    """The content of a token."""

    id: str
    time: float
    sha256: str
    """Hash of the picture's bytes as they were sent, in hexadecimal."""
    label: str
    probability: float
    model: dict[str, str]
    """Its name, version, sha256 and precision."""


@dataclass(slots=True)
class Keys:
    """The keys of a file, one per line: the first signs, all of them verify. Without a file, one made at random."""

    path: Path | None = None
    seen: tuple[int, int, int] | None = None
    known: tuple[bytes, ...] = field(default_factory=lambda: (secrets.token_bytes(32),))

    def current(self) -> tuple[bytes, ...]:
        """Return the keys, read again where the file has changed.

        A file that cannot be read changes nothing, and a line that is no key of 128 bits is passed over: the file may
        be replaced long after it was checked.
        """
        if self.path is None:
            return self.known
        try:
            status = self.path.stat()
            changed = status.st_mtime_ns, status.st_ino, status.st_size
            if changed != self.seen:
                lines = self.path.read_bytes().decode("ascii", "replace").split()
                self.known = tuple(line.encode() for line in lines if KEY.fullmatch(line)) or self.known
                self.seen = changed
        except OSError:
            pass
        return self.known


def sign(claim: Sequence[Any], keys: Keys, now: float) -> str:
    """Return the token of one prediction.

    Args:
        claim: as handler/payload.py makes it.
    """
    nonce = secrets.token_urlsafe(NONCE_BYTES)
    payload = json.dumps([round(1000 * now), nonce, *claim], separators=(",", ":")).encode()
    return f"{VERSION}.{encode(payload)}.{encode(signature(payload, keys.current()[0]))}"


def read_token(token: str, keys: Keys, max_age_s: float, clock: Callable[[], float] = time.time) -> Prediction:
    """Return the prediction that a token of this server's names.

    Raises:
        Problem: 403, it is not signed by one of the keys, or too old.
    """
    version, _, rest = token.partition(".")
    parts = rest.split(".")
    if len(token) > MAX_TOKEN or version != VERSION or len(parts) != 2:
        raise _forged()
    payload, given = decode(parts[0]), decode(parts[1])
    # Every key is tried, so that the time it takes tells nobody which one fits.
    matches = [hmac.compare_digest(signature(payload, key), given) for key in keys.current()]
    if not any(matches):
        raise _forged()
    milliseconds, _, sha256, label, probability, *model = json.loads(payload)
    age_s = clock() - milliseconds / 1000
    if not -SKEW_S <= age_s <= max_age_s:
        raise Problem(403, "expired_token", "The token has expired: request the prediction again.")
    identity = hashlib.sha256(payload).hexdigest()[:ID_DIGITS]
    described = dict(zip(("name", "version", "sha256", "precision"), model, strict=True))
    return Prediction(identity, milliseconds / 1000, sha256, label, probability, described)


def signature(payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, PURPOSE + payload, "sha256")


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode what `encode` made. One content has one text: what was appended or exchanged is no token."""
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise _forged() from None
    if encode(data) != text:
        raise _forged()
    return data


def _forged() -> Problem:
    return Problem(403, "bad_token", "The token is not from this server: send the member `feedback` unchanged.")
