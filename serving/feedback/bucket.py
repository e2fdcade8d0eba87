"""Feedback in a bucket that speaks S3: PREFIX/YYYY-MM-DD/ID.json, and the picture beside it.

It needs s3:PutObject and s3:DeleteObject on the prefix, and s3:ListBucket to count and to replace.
"""

import os
import time
from collections.abc import Iterator, Mapping

import httpx

from common.download.failures import Again, Failure
from common.download.transfer import Watch
from common.text import printable
from handler.files import UserError
from serving.feedback.place import DAY, FILE, Unavailable
from serving.fetch.s3 import BUCKET, Keys, address, code_of, find_keys, region_of
from serving.fetch.s3_list import MAX_BYTES, list_objects
from serving.fetch.sources import with_credentials
from serving.fetch.web import describe, open_client, read_at_most

CREDENTIALS = "CATSDOGS_FEEDBACK_CREDENTIALS"
TIMEOUT_S = 5.0
# Credentials of a role are good for 15 minutes at least, and those of a folder may be replaced.
KEYS_S = 300.0
NAMES = {".json": "application/json"}


class BucketPlace:
    """A prefix in a bucket.

    Raises:
        UserError: the address is not one, or a client for it cannot be opened.
    """

    def __init__(self, name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self.bucket, _, prefix = name.partition("://")[2].partition("/")
        if not BUCKET.fullmatch(self.bucket):
            raise UserError(f"{name} is not a place for feedback: it must have the form s3://BUCKET/PREFIX.")
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.endpoint = endpoint or ""
        self.environment = environment
        self.region = region_of(environment)
        self._address("")
        self.client = open_client(environment, "AWS_CA_BUNDLE")
        self.keys: Keys | None = None
        self.keys_at = -KEYS_S

    def close(self) -> None:
        self.client.close()

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

    def _address(self, key: str) -> httpx.URL:
        return address(self.bucket, key, self.region, self.endpoint)

    def _ask(
        self,
        method: str,
        key: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: bytes | None = None,
    ) -> bytes:
        from httpx_auth import AWS4Auth

        try:
            keys = self._credentials()
            auth = keys and AWS4Auth(keys.access, keys.secret, self.region, "s3", security_token=keys.token)
            with self.client.stream(
                method,
                self._address(key).copy_with(query=query),
                content=content,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                timeout=TIMEOUT_S,
                auth=auth,
                follow_redirects=False,
            ) as response:
                body = read_at_most(response, MAX_BYTES)
        except (httpx.HTTPError, Again, Failure, UserError, OSError, ValueError) as error:
            raise Unavailable(describe(error)) from None
        if not response.is_success:
            # Credentials that were replaced are looked for anew.
            self.keys_at = -KEYS_S
            code = code_of(body[: 1 << 16]) or printable(response.reason_phrase, 100)
            raise Unavailable(f"the bucket answers {response.status_code} {code}".rstrip())
        return body

    def _credentials(self) -> Keys | None:
        now = time.monotonic()
        if now - self.keys_at >= KEYS_S:
            watch = Watch()
            try:
                environment = with_credentials(self.environment, CREDENTIALS)
                self.keys = find_keys(self.client, self.region, environment, watch)
            finally:
                watch.close()
            self.keys_at = now
        return self.keys
