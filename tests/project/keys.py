"""Keys of clouds, made up by a test: they look like real ones, and open nothing."""

import json
import secrets
import string
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# Base32's letters, as in AWS' identifiers.
BASE32 = string.ascii_uppercase + "234567"
ACCOUNT = "trainer@catsdogs-123456.iam.gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Key:
    """A file as a cloud's console hands it out."""

    name: str
    content: str
    secrets: tuple[str, ...]
    """The parts of it that nobody else may see."""

    def is_in(self, data: bytes | str) -> bool:
        data = data.encode() if isinstance(data, str) else data
        return any(secret.encode() in data for secret in self.secrets)


def google() -> Key:
    """Return a service account's key file, with a private RSA key that nobody has registered."""
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    id = secrets.token_hex(20)
    content = {
        "type": "service_account",
        "project_id": "catsdogs-123456",
        "private_key_id": id,
        "private_key": private.decode(),
        "client_email": ACCOUNT,
        "client_id": "".join(secrets.choice(string.digits) for _ in range(21)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    lines = private.decode().splitlines()[1:-1]
    return Key(f"catsdogs-123456-{id[:12]}.json", json.dumps(content, indent=2), (id, *lines))


def amazon() -> Key:
    """Return a user's credentials, as `aws configure` stores them."""
    id = "AKIA" + "".join(secrets.choice(BASE32) for _ in range(16))
    secret = secrets.token_urlsafe(30).replace("-", "+").replace("_", "/")
    content = f"[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
    return Key("credentials", content, (id, secret))
