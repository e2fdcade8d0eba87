"""A bucket that is listed, read and written: for thousands of objects, by several threads."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, TypeVar

import httpx

from common.download.failures import Again, CutOff, Failure, Refused
from common.download.resume import PASSING
from common.text import printable
from handler.files import UserError
from serving.fetch.s3 import BUCKET, MOST_BYTES, code_of
from serving.fetch.s3_list import MAX_BYTES, Object, list_objects
from serving.fetch.s3_session import Session
from serving.fetch.web import failures, read_at_most

TRIES = 5
WAIT_S = 0.5
TIMEOUT_S = 30.0
"""Seconds without a byte."""
REQUEST_S = 300.0
"""Seconds for one object that is read as a whole."""
BREAKS = 100
"""Times that the connection of one large object may break off."""

T = TypeVar("T")


class Missing(Failure):
    """There is no such object."""


class TooLarge(Failure):
    """The object is larger than it may be."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it has {size} bytes")
        self.size = size


class Exists(Failure):
    """There is such an object already."""


class Store:
    """A bucket. Each method makes a few tries, and raises Again when the last one failed, or Failure.

    Args:
        name: of the bucket.
    """

    def __init__(self, name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        if not BUCKET.fullmatch(name):
            raise UserError(f"{name} is not a bucket's name: an address must have the form s3://BUCKET/PREFIX.")
        self.session = Session(name, endpoint, environment)

    def close(self) -> None:
        self.session.close()

    def list(self, prefix: str) -> Iterator[Object]:
        """Yield the objects below a prefix, page after page."""
        return list_objects(lambda query: self._again(lambda: self._body("", MAX_BYTES, query=query)) or b"", prefix)

    def read(self, key: str, limit: int, sniff: Callable[[bytes], bool] | None = None) -> bytes | None:
        """Return an object's bytes; None where `sniff`, told the first ones, does not want the rest.

        Raises:
            Missing: there is no such object.
            TooLarge: it has more than `limit` bytes.
        """
        return self._again(lambda: self._body(key, limit, sniff=sniff))

    def write(self, key: str, data: bytes, new: bool = False) -> None:
        """Write an object.

        Raises:
            Exists: `new` is true, and there is one already.
        """
        headers = {"Content-Type": "application/octet-stream", **({"If-None-Match": "*"} if new else {})}

        def put() -> None:
            with self._ask("PUT", key, headers=headers, content=data) as response:
                read_at_most(response, MOST_BYTES)

        self._again(put)

    def remove(self, key: str) -> None:
        def delete() -> None:
            with self._ask("DELETE", key) as response:
                read_at_most(response, MOST_BYTES)

        self._again(delete)

    def open(self, key: str) -> "ObjectStream":
        """Open a large object, to be read forwards."""
        return ObjectStream(self, key)

    def answer_from(self, key: str, offset: int, etag: str) -> "Answer":
        """Return the answer with an object's bytes from an offset on; whoever asks closes it."""
        headers = {"Range": f"bytes={offset}-", "If-Match": etag} if offset else {}

        def get() -> Answer:
            with ExitStack() as stack:
                response = stack.enter_context(self._ask("GET", key, headers=headers))
                if offset and response.status_code != 206:
                    raise Failure("the server does not answer with a part of an object")
                return Answer(response, stack.pop_all())

        return self._again(get)

    def _body(
        self, key: str, limit: int, query: bytes | None = None, sniff: Callable[[bytes], bool] | None = None
    ) -> bytes | None:
        data, deadline = bytearray(), time.monotonic() + REQUEST_S
        with self._ask("GET", key, query=query) as response:
            length = response.headers.get("Content-Length", "")
            for block in response.iter_raw():
                data += block
                if sniff is not None and (len(data) >= 4096 or len(data) == int(length or -1)):
                    if not sniff(bytes(data)):
                        return None
                    sniff = None
                if len(data) > limit:
                    raise TooLarge(int(length) if length.isdecimal() else len(data))
                if time.monotonic() > deadline:
                    raise Again(f"it takes longer than {REQUEST_S:g} s")
        if length.isdecimal() and int(length) != len(data):
            raise Again("the answer was cut off")
        return None if sniff is not None and not sniff(bytes(data)) else bytes(data)

    def _again(self, work: Callable[[], T]) -> T:
        for number in range(1, TRIES + 1):
            try:
                return work()
            except (Again, CutOff):
                if number == TRIES:
                    raise
            time.sleep(WAIT_S * number)
        raise AssertionError

    @contextmanager
    def _ask(
        self,
        method: str,
        key: str,
        *,
        query: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Iterator[httpx.Response]:
        with (
            failures(),
            self.session.ask(
                method, key, query=query, headers=headers, content=content, timeout_s=TIMEOUT_S
            ) as response,
        ):
            if not response.is_success:
                self._refuse(response)
            yield response

    def _refuse(self, response: httpx.Response) -> None:
        """Raise what an answer other than success means."""
        status = response.status_code
        code = code_of(read_at_most(response, MOST_BYTES))
        said = f"{status} {code or printable(response.reason_phrase, 100)}".rstrip()
        if status == 404 and code != "NoSuchBucket":
            raise Missing("there is no such object")
        if status == 412:
            raise Exists("it is there already, or was changed meanwhile")
        if status in PASSING or status >= 500 or code in ("ExpiredToken", "RequestTimeTooSkewed"):
            self.session.forget_keys()
            raise Again(f"the server answers {said}")
        if status in (401, 403) and not self.session.signed:
            said += " (there are no credentials in the environment, so it was asked without)"
        elsewhere = response.headers.get("x-amz-bucket-region", self.session.region)
        if elsewhere != self.session.region:
            said += f" (the bucket lies in {elsewhere}: set AWS_REGION to it, which is {self.session.region})"
        raise Refused(f"the server answers {said}")


class Answer(NamedTuple):
    """An answer whose body is still to come, and what keeps its connection open."""

    response: httpx.Response
    opened: ExitStack


class ObjectStream:
    """An object that is read forwards, and asked for again from where its connection broke off."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.offset, self.breaks = 0, 0
        self.buffer = b""
        self.etag = ""
        self._open()
        headers = self.answer.response.headers
        self.etag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
        self.size = int(length) if length.isdecimal() else None

    def _open(self) -> None:
        self.answer = self.store.answer_from(self.key, self.offset, self.etag)
        self.blocks = self.answer.response.iter_raw()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        while not self.buffer:
            try:
                with failures():
                    self.buffer = next(self.blocks, b"")
                if not self.buffer and self.size is not None and self.offset < self.size:
                    raise CutOff("the answer was cut off")
            except (Again, CutOff):
                self.breaks += 1
                if self.breaks > BREAKS:
                    raise
                self.close()
                self._open()
                continue
            if not self.buffer:
                return b""
            self.offset += len(self.buffer)
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def close(self) -> None:
        self.answer.opened.close()
