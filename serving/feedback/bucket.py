"""Feedback in a bucket that speaks S3: PREFIX/YYYY-MM-DD/ID.json, and the picture beside it.

It needs s3:PutObject and s3:DeleteObject on the prefix, and s3:ListBucket to count and to replace.
"""

import os
from collections.abc import Iterator, Mapping

import httpx

from common.download.failures import Again, Failure
from common.text import printable
from handler.files import UserError
from serving.feedback.place import DAY, FILE, Unavailable
from serving.fetch.s3 import BUCKET, code_of
from serving.fetch.s3_list import MAX_BYTES, list_objects
from serving.fetch.s3_session import Session
from serving.fetch.web import describe, read_at_most

CREDENTIALS = "CATSDOGS_FEEDBACK_CREDENTIALS"
TIMEOUT_S = 5.0
NAMES = {".json": "application/json"}


class BucketPlace:
    """A prefix in a bucket.

    Raises:
        UserError: the address is not one, or a client for it cannot be opened.
    """

    def __init__(self, name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        bucket, _, prefix = name.partition("://")[2].partition("/")
        if not BUCKET.fullmatch(bucket):
            raise UserError(f"{name} is not a place for feedback: it must have the form s3://BUCKET/PREFIX.")
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.session = Session(bucket, endpoint, environment, CREDENTIALS)

    def close(self) -> None:
        self.session.close()

    def find(self, day: str, identity: str) -> dict[str, int]:
        return dict(self._list(f"{self.prefix}{day}/{identity}."))

    def write(self, day: str, name: str, data: bytes) -> None:
        kind = NAMES.get(name[name.rfind(".") :], "application/octet-stream")
        self._ask("PUT", f"{self.prefix}{day}/{name}", content=data, headers={"Content-Type": kind})

    def remove(self, day: str, name: str) -> None:
        self._ask("DELETE", f"{self.prefix}{day}/{name}")

    def count(self, max_files: int) -> tuple[int, int]:
        files = size = 0
        for _, bytes_of_one in self._list(self.prefix):
            files, size = files + 1, size + bytes_of_one
            if files > max_files:
                break
        return files, size

    def _list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List the files of feedback: their names and sizes."""
        try:
            for key, size in list_objects(lambda query: self._ask("GET", "", query=query), prefix):
                day, _, name = key.removeprefix(self.prefix).partition("/")
                if DAY.fullmatch(day) and FILE.fullmatch(name):
                    yield name, size
        except Failure as failure:
            raise Unavailable(str(failure)) from None

    def _ask(
        self,
        method: str,
        key: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: bytes | None = None,
    ) -> bytes:
        try:
            with self.session.ask(
                method, key, query=query, headers=headers, content=content, timeout_s=TIMEOUT_S
            ) as response:
                body = read_at_most(response, MAX_BYTES)
        except (httpx.HTTPError, Again, Failure, UserError, OSError, ValueError) as error:
            raise Unavailable(describe(error)) from None
        if not response.is_success:
            # Credentials that were replaced are looked for anew.
            self.session.forget_keys()
            code = code_of(body[: 1 << 16]) or printable(response.reason_phrase, 100)
            raise Unavailable(f"the bucket answers {response.status_code} {code}".rstrip())
        return body
