"""The sha256 that a signed archive must have, by the signature beside it."""

from pathlib import Path

from serving.signature.keys import read_public_keys
from serving.signature.model import SignatureError, read_signature, signature_of, single_sha256
from serving.signature.statement import Statement


def signed_sha256(archive: Path, model_key: Path, sha256: str | None = None) -> str:
    """Return the sha256 of the archive that was signed.

    Args:
        model_key: public keys, one of which must have signed it.
        sha256: what the archive must have, where the caller knows it.

    Raises:
        SignatureError: the signature is missing, not accepted, or that of another archive.
    """
    path = signature_of(archive)
    return archive_sha256(read_signature(path, read_public_keys(model_key)), str(path), sha256)


def archive_sha256(statement: Statement, source: str, sha256: str | None) -> str:
    """Return the sha256 of the archive that a statement is on, which must be `sha256` where that is known."""
    signed = single_sha256(statement, source)
    if sha256 not in (None, signed):
        raise SignatureError(f"{source} is the signature of another archive: it names {signed}, not {sha256}.")
    return signed
