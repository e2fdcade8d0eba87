"""The objects below a prefix of a bucket, as ListObjectsV2 answers them, page after page."""

import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

from common.download.failures import Failure

# The most objects of a page. Their list takes less than a quarter of MAX_BYTES.
PAGE = 1000
MAX_BYTES = 4 << 20
ENTRY = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
KEY = re.compile(r"<Key>([^<]*)</Key>")
SIZE = re.compile(r"<Size>(\d{1,15})</Size>")
NEXT = re.compile(r"<NextContinuationToken>([^<]+)</NextContinuationToken>")


class Object(NamedTuple):
    """An object: its key, and its size in bytes."""

    key: str
    size: int


def list_objects(ask: Callable[[bytes], bytes], prefix: str) -> Iterator[Object]:
    """Yield the objects below a prefix.

    Args:
        ask: requests the bucket's own address with this query and returns the answer's body.

    Raises:
        Failure: a page names itself as the next one.
    """
    following = ""
    while True:
        text = ask(list_query(prefix, following)).decode(errors="replace")
        for entry in ENTRY.findall(text):
            key, size = KEY.search(entry), SIZE.search(entry)
            if key is not None and size is not None:
                yield Object(unquote(html.unescape(key[1])), int(size[1]))
        more = NEXT.search(text)
        if more is None:
            return
        before, following = following, html.unescape(more[1])
        if following == before:
            raise Failure("the bucket's list has no end")


def list_query(prefix: str, token: str = "") -> bytes:
    """Return the query of a page, encoded: httpx would write a space as +, which S3 takes for a plus sign."""
    query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", "max-keys": str(PAGE)}
    if token:
        query["continuation-token"] = token
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items())).encode()
