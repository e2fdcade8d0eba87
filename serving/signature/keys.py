"""Keys of signatures: PEM files with elliptic-curve keys, of the curves that model-signing takes."""

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from handler.files import UserError

HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""Hash of a signature by the key's curve."""
MAX_BYTES = 1 << 16
MAX_KEYS = 16
BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)
MAKE = "Make a pair by: openssl ecparam -name prime256v1 -genkey -noout"


def read_public_keys(path: Path) -> list[ec.EllipticCurvePublicKey]:
    """Return the keys of a PEM file: the trust root. A second key is for the time in which the first is replaced.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """
    data = _read(path)
    if b"PRIVATE KEY" in data:
        raise UserError(f"{path} holds a private key. Name the public key, made by: openssl ec -pubout")
    blocks = BLOCK.findall(data)
    if not 1 <= len(blocks) <= MAX_KEYS:
        raise UserError(f"{path} must hold 1 to {MAX_KEYS} public keys in PEM; it holds {len(blocks)}.")
    keys = []
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UserError(f"{path} holds a public key that cannot be read. {MAKE}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise UserError(f"{path} holds a key of another kind than elliptic curve. {MAKE}")
        _check_curve(path, key)
        keys.append(key)
    return keys


def read_private_key(path: Path, password: str | None = None) -> ec.EllipticCurvePrivateKey:
    """Return the key that signs.

    Raises:
        UserError: the file cannot be read, or the password is missing or wrong.
    """
    try:
        key = serialization.load_pem_private_key(_read(path), password.encode() if password else None)
    except TypeError as error:
        if password:
            raise UserError(f"{path} is not encrypted: leave the password out.") from error
        raise UserError(f"{path} is encrypted: set CATSDOGS_SIGNING_PASSWORD, or _FILE for a file.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        why = "cannot be read with this password" if password else "is not a private key in PEM"
        raise UserError(f"{path} {why}. {MAKE}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{path} is a key of another kind than elliptic curve. {MAKE}")
    _check_curve(path, key.public_key())
    return key


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """Return what a bundle names its key by: the sha256 of its PEM."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _check_curve(path: Path, key: ec.EllipticCurvePublicKey) -> None:
    if key.curve.name not in HASHES:
        raise UserError(f"{path} has a key of the curve {key.curve.name}; {', '.join(HASHES)} are supported.")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"The key {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is no key: it has more than {MAX_BYTES} bytes.")
    return data
