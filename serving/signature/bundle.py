"""Sigstore bundles of version 0.3 around a statement, signed by an elliptic-curve key (DSSE)."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from serving.signature.keys import HASHES, key_hint
from serving.signature.statement import Statement, parse_statement, read_json, shown

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
# The statement on a thousand files takes 200 kB.
MAX_BYTES = 4 << 20


def make_bundle(statement: Statement, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the signature of a statement, as `model_signing sign key` writes it."""
    payload = statement.to_bytes()
    signature = key.sign(signed_bytes(payload), ec.ECDSA(HASHES[key.curve.name]))
    document = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key_hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


def open_bundle(data: bytes, keys: Sequence[ec.EllipticCurvePublicKey]) -> Statement:
    """Return the statement of a bundle that one of these keys signed.

    Raises:
        ValueError: one sentence says why it is not accepted.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    document = read_json(data)
    if document.get("mediaType") != BUNDLE:
        raise ValueError(f"it is no sigstore bundle of version 0.3, but {shown(document.get('mediaType'))}")
    material, envelope = _members(document.get("verificationMaterial")), _members(document.get("dsseEnvelope"))
    if "publicKey" not in material:
        raise ValueError("it was not made with a key: sign with catsdogs sign, or model_signing sign key")
    hint = _members(material["publicKey"]).get("hint")
    if hint and hint not in map(key_hint, keys):
        raise ValueError("it was made with another key")
    if envelope.get("payloadType") != PAYLOAD:
        raise ValueError(f"it signs {shown(envelope.get('payloadType'))}, not {PAYLOAD}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise ValueError("it must have one signature")
    payload, signature = _bytes(envelope.get("payload")), _bytes(_members(signatures[0]).get("sig"))
    if not any(is_signed(payload, signature, key) for key in keys if not hint or key_hint(key) == hint):
        raise ValueError("the signature does not match: it, or what it signs, was changed")
    return parse_statement(payload)


def is_signed(payload: bytes, signature: bytes, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        key.verify(signature, signed_bytes(payload), ec.ECDSA(HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def signed_bytes(payload: bytes) -> bytes:
    """Return what the key signs: DSSE's encoding of a payload and its type."""
    return f"DSSEv1 {len(PAYLOAD)} {PAYLOAD} {len(payload)} ".encode() + payload


def _members(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a member of it is missing")
    return value


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a member of it is not base64") from error
