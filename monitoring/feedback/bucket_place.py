"""Feedback in a bucket that speaks S3: its list, and objects of bounded size."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from common.download.failures import Again, Failure, Late
from common.download.resume import PASSING
from common.download.transfer import Transfer, Watch
from common.review_csv import ID
from handler.files import UserError
from monitoring.feedback.place import Entry, Unreadable
from serving.feedback.place import DAY
from serving.fetch.s3 import Bucket, address, find_keys
from serving.fetch.s3_list import MAX_BYTES, list_objects
from serving.fetch.web import failures

TRIES = 3
WAIT_S = 0.5
REQUEST_S = 120.0
"""Seconds for one object, whatever the server does."""
IDLE_S = 30.0
KEYS_S = 600.0
"""Seconds that the keys of a role are used before they are asked for again; they last for 15 minutes or more."""
KEY = re.compile(rf"(?P<day>{DAY.pattern})/(?P<id>{ID.pattern})\.json")


class Missing(Failure):
    """There is no such object."""


class TooLarge(Failure):
    """The object is larger than it may be."""


class BucketPlace(Bucket):
    """A prefix in a bucket."""

    def __init__(self, name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        # Bucket is an object: the last character stands for its name.
        super().__init__(f"{name.rstrip('/')}/x", endpoint, environment)
        self.prefix = self.key[:-1]
        self.name = name.rstrip("/")
        self.given, self.keys_until = environment, 0.0

    def __enter__(self) -> "BucketPlace":
        return self

    def __str__(self) -> str:
        return self.name + f" at {self.endpoint}" * bool(self.endpoint)

    @contextmanager
    def get(self, headers: dict[str, str], watch: Watch) -> Iterator[httpx.Response]:
        """Request an object; the keys of a role are kept for a while, since there may be thousands of objects."""
        if time.monotonic() > self.keys_until:
            with failures():
                keys = find_keys(self.client, self.region, self.given, watch)
            if keys is not None:
                held = {"AWS_ACCESS_KEY_ID": keys.access, "AWS_SECRET_ACCESS_KEY": keys.secret}
                self.environment = {**held, **({"AWS_SESSION_TOKEN": keys.token} if keys.token else {})}
            self.keys_until = time.monotonic() + KEYS_S
        with super().get(headers, watch) as response:
            yield response

    def entries(self) -> Iterator[Entry]:
        """Yield the files of records by day and id.

        Raises:
            UserError: the bucket cannot be listed.
        """
        try:
            for key, _ in list_objects(lambda query: self._ask("", MAX_BYTES, query), self.prefix):
                parts = KEY.fullmatch(key.removeprefix(self.prefix))
                if key.startswith(self.prefix) and parts:
                    yield Entry(parts["day"], parts["id"])
        except Failure as failure:
            raise UserError(f"{self} cannot be listed: {failure}.") from failure

    def read(self, day: str, name: str, limit: int) -> bytes:
        """Return the bytes of an object.

        Raises:
            Unreadable: it is missing or larger than `limit` bytes.
            UserError: the bucket does not answer.
        """
        try:
            return self._ask(f"{self.prefix}{day}/{name}", limit)
        except (Missing, TooLarge) as failure:
            raise Unreadable(str(failure)) from failure
        except Failure as failure:
            raise UserError(f"{self}/{day}/{name} cannot be read: {failure}.") from failure

    def path(self, day: str, name: str) -> Path | None:
        return None

    def _ask(self, key: str, limit: int, query: bytes | None = None) -> bytes:
        """Return the body of an answer, after a few tries."""
        self.key = key
        self.url = address(self.bucket, self.key, self.region, self.endpoint).copy_with(query=query)
        for number in range(1, TRIES + 1):
            try:
                return self._try(limit)
            except Late:
                reason = f"it takes longer than {REQUEST_S:g} s"
            except Again as again:
                reason = again.reason
            if number < TRIES:
                time.sleep(WAIT_S * number)
        raise Failure(f"{reason}, in {TRIES} tries")

    def _try(self, limit: int) -> bytes:
        data = bytearray()
        headers = {"Accept-Encoding": "identity"}
        with Transfer(self, headers, time.monotonic() + REQUEST_S, IDLE_S) as transfer:
            answer = transfer.answer()
            if answer.status == 404 and "NoSuchKey" in answer.explained:
                raise Missing("there is no such object")
            if answer.status in PASSING or answer.status >= 500:
                raise Again(f"the server answers {answer.explained}")
            if answer.status != 200:
                raise Failure(f"the server answers {answer.explained}")
            for block in transfer.blocks():
                data += block
                if len(data) > limit:
                    raise TooLarge(f"it has more than {limit} bytes")
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) != len(data):
            raise Again("the answer was cut off")
        return bytes(data)
