"""The signature of an archive that is fetched: it says which sha256 the archive must have, before that is asked for."""

import urllib.parse
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from common.download.resume import Limits, Say
from common.download.transfer import Source
from handler.files import UserError, write_atomic
from serving.fetch.download import fetch_small
from serving.fetch.sources import find_source
from serving.signature.archive import archive_sha256
from serving.signature.bundle import MAX_BYTES
from serving.signature.keys import read_public_keys
from serving.signature.model import SignatureError, check_signature, read_signature, signature_of

SUFFIX = ".sig"


class Signature:
    """The signature of the archive `out`, which was verified."""

    def __init__(self, out: Path, sha256: str, data: bytes | None) -> None:
        self.out, self.sha256, self.data = out, sha256, data

    def keep(self) -> None:
        """Write it beside the archive, where a server looks for it, unless it lies there already."""
        if self.data is not None:
            write_atomic(signature_of(self.out), self.data)


def find_signature(
    source: str, out: Path, model_key: Path, sha256: str | None, endpoint: str | None, limits: Limits, say: Say
) -> Signature:
    """Return the signature that lies beside `out`, else the one beside the source, once one of the keys has made it.

    Args:
        sha256: what the archive must have, where the caller knows it.

    Raises:
        UserError: there is none, or it is not accepted.
    """
    keys = read_public_keys(model_key)
    beside = signature_of(out)
    if out.is_file() and beside.is_file():
        try:
            return Signature(out, archive_sha256(read_signature(beside, keys), str(beside), sha256), None)
        except SignatureError:
            pass  # of an archive that was fetched before, or by a key that was replaced since
    with signature_source(source, endpoint) as origin:
        where = str(origin)
        small = Limits(limits.seconds, MAX_BYTES, first_wait_s=limits.first_wait_s)
        try:
            data = fetch_small(origin, beside, small, say)
        except UserError as error:
            raise SignatureError(f"No signature of the archive: {error}") from error
    return Signature(out, archive_sha256(check_signature(data, where, keys), where, sha256), data)


def signature_source(source: str, endpoint: str | None) -> AbstractContextManager[Source[Any]]:
    """Return the source of the signature: the archive's address with .sig behind it.

    Raises:
        UserError: the address has a query, which may be a signature of its own that holds for that address alone.
    """
    if not source.lower().startswith("s3://") and urllib.parse.urlsplit(source).query:
        raise UserError(
            "The signature is fetched from the archive's address with .sig behind it, and this address has a query: "
            "name an address without one."
        )
    return find_source(f"{source}{SUFFIX}", endpoint)
