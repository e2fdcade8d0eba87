"""Feedback in a bucket that speaks S3: PREFIX/YYYY-MM-DD/ID.json, and the picture beside it.

It needs s3:PutObject and s3:DeleteObject on the prefix, and s3:ListBucket to count and to replace.
"""

import html
import os
import re
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

import httpx

from common.download.failures import Again, Failure
from common.download.transfer import Watch
from common.text import printable
from handler.files import UserError
from serving.feedback.place import DAY, FILE, Unavailable
from serving.fetch.s3 import BUCKET, Keys, address, code_of, find_keys, region_of
from serving.fetch.sources import with_credentials
from serving.fetch.web import describe, open_client, read_at_most

CREDENTIALS = "CATSDOGS_FEEDBACK_CREDENTIALS"
TIMEOUT_S = 5.0
# A list of a thousand objects, the most that S3 gives at once, takes less than a quarter of it.
MOST_BYTES = 4 << 20
# Credentials of a role are good for 15 minutes at least, and those of a folder may be replaced.
KEYS_S = 300.0
NAMES = {".json": "application/json"}
ENTRY = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
OBJECT_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
OBJECT_SIZE = re.compile(r"<Size>(\d{1,15})</Size>")
NEXT = re.compile(r"<NextContinuationToken>([^<]+)</NextContinuationToken>")


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
        following = ""
        while True:
            params = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
            if following:
                params["continuation-token"] = following
            text = self._ask("GET", "", params=params).decode(errors="replace")
            for entry in ENTRY.findall(text):
                key, size = OBJECT_KEY.search(entry), OBJECT_SIZE.search(entry)
                if key is None or size is None:
                    continue
                day, _, name = unquote(html.unescape(key[1])).removeprefix(self.prefix).partition("/")
                if DAY.fullmatch(day) and FILE.fullmatch(name):
                    yield name, int(size[1])
            more = NEXT.search(text)
            if more is None:
                return
            before, following = following, html.unescape(more[1])
            if following == before:
                raise Unavailable("the bucket's list has no end")

    def _address(self, key: str) -> httpx.URL:
        return address(self.bucket, key, self.region, self.endpoint)

    def _ask(
        self,
        method: str,
        key: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        from httpx_auth import AWS4Auth

        url = self._address(key)
        if params:
            # httpx would write a space as +, which S3 takes for a plus sign.
            query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in params.items())
            url = url.copy_with(query=query.encode())
        try:
            keys = self._credentials()
            auth = keys and AWS4Auth(keys.access, keys.secret, self.region, "s3", security_token=keys.token)
            with self.client.stream(
                method,
                url,
                content=content,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                timeout=TIMEOUT_S,
                auth=auth,
                follow_redirects=False,
            ) as response:
                body = read_at_most(response, MOST_BYTES)
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
