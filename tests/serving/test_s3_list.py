"""Lists of a bucket's objects, by answers in the form of ListObjectsV2. tests/serving/test_feedback_s3.py asks moto."""

from urllib.parse import parse_qs

import pytest

from common.download.failures import Failure
from serving.fetch.s3_list import Object, list_objects


def page(*keys: str, following: str = "") -> bytes:
    entries = "".join(f"<Contents><Key>{key}</Key><Size>{len(key)}</Size></Contents>" for key in keys)
    more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    return f"<ListBucketResult>{entries}{more}</ListBucketResult>".encode()


def test_pages_are_asked_one_after_the_other() -> None:
    queries: list[bytes] = []
    pages = iter([page("a", "b%20c", following="x&amp;y"), page("d&amp;e")])

    def ask(query: bytes) -> bytes:
        queries.append(query)
        return next(pages)

    assert list(list_objects(ask, "our feedback/")) == [Object("a", 1), Object("b c", 5), Object("d&e", 7)]
    assert all(b"prefix=our%20feedback%2F" in query for query in queries)
    assert ["continuation-token" in parse_qs(query.decode()) for query in queries] == [False, True]
    assert parse_qs(queries[1].decode())["continuation-token"] == ["x&y"]


def test_a_page_that_names_itself_as_the_next_ends_the_list() -> None:
    listed = list_objects(lambda query: page("a", following="same"), "")
    assert [next(listed).key, next(listed).key] == ["a", "a"]
    with pytest.raises(Failure, match="the bucket's list has no end"):
        next(listed)
