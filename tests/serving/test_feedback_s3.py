"""Feedback in a bucket: moto stands in for S3, and checks signatures by botocore's own code.

Against AWS itself none of this was run.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from handler.files import UserError
from serving.feedback.bucket import BucketPlace
from serving.feedback.entry import Entry
from serving.feedback.place import Unavailable
from serving.feedback.settings import FeedbackSettings
from serving.feedback.store import Full, Store
from tests import zoo
from tests.aws import SIGNED, Aws
from tests.serving.test_feedback import NOW, entry
from tests.serving.test_fetch_s3 import aws, keys, user
from tests.serving.web import forget_environment

__all__ = ["aws", "user"]
PREFIX = "our feedback/é"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


@pytest.fixture(autouse=True)
def bucket(aws: Aws) -> str:
    """An empty bucket."""
    aws.client.put("/feedback", headers={"Authorization": SIGNED})
    listed = aws.client.get("/feedback", headers={"Authorization": SIGNED}).text
    for key in re.findall(r"<Key>(.*?)</Key>", listed):
        aws.client.delete(f"/feedback/{key}", headers={"Authorization": SIGNED})
    return f"s3://feedback/{PREFIX}"


def store(aws: Aws, bucket: str, user: tuple[str, str], max_files: int = 100) -> Store:
    return Store(BucketPlace(bucket, aws.url, keys(user)), max_files, 1 << 20)


def objects(place: BucketPlace) -> dict[str, int]:
    return dict(place._list(place.prefix))


def content(aws: Aws, user: tuple[str, str], key: str) -> bytes:
    place = BucketPlace("s3://feedback", aws.url, keys(user))
    return place._ask("GET", key)


def test_an_entry_and_its_picture_lie_where_the_contract_says(aws: Aws, bucket: str, user: tuple[str, str]) -> None:
    given = entry(picture=zoo.CAT.read_bytes())
    store(aws, bucket, user).keep(given)
    assert content(aws, user, f"{PREFIX}/2026-11-29/{given.file}") == given.document()
    assert content(aws, user, f"{PREFIX}/2026-11-29/{given.picture_file}") == zoo.CAT.read_bytes()


def test_a_second_label_replaces_the_first_also_by_another_pod(aws: Aws, bucket: str, user: tuple[str, str]) -> None:
    first = entry(picture=zoo.CAT.read_bytes())
    store(aws, bucket, user).keep(first)
    other = store(aws, bucket, user)
    other.keep(Entry(first.prediction, "other", NOW + 5))
    assert isinstance(other.place, BucketPlace)
    assert objects(other.place).keys() == {first.file}
    assert json.loads(content(aws, user, f"{PREFIX}/2026-11-29/{first.file}"))["label"] == "other"
    assert (other.files, other.bytes) == (1, sum(objects(other.place).values()))


def test_a_bucket_without_a_prefix_will_do(aws: Aws, user: tuple[str, str]) -> None:
    given = entry()
    store(aws, "s3://feedback", user).keep(given)
    assert content(aws, user, f"2026-11-29/{given.file}") == given.document()


def test_files_are_counted_over_pages_and_strange_ones_are_not(
    aws: Aws, bucket: str, user: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps = store(aws, bucket, user)
    for second in range(5):
        keeps.keep(entry(now=NOW - second))
    assert isinstance(keeps.place, BucketPlace)
    keeps.place._ask("PUT", f"{PREFIX}/2026-11-29/accepted.csv", content=b"x")
    asked = BucketPlace._ask

    def two_at_a_time(place: BucketPlace, method: str, key: str, **more: dict[str, str]) -> bytes:
        if "params" in more:
            more["params"]["max-keys"] = "2"
        return asked(place, method, key, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(BucketPlace, "_ask", two_at_a_time)
    files, size = keeps.place.count(100)
    assert (files, size) == (5, sum(len(entry(now=NOW - second).document()) for second in range(5)))
    with pytest.raises(Full):
        store(aws, bucket, user, max_files=5).keep(entry(now=NOW - 9))


def test_keys_come_from_a_folder_and_are_read_again_when_they_were_refused(
    aws: Aws, bucket: str, user: tuple[str, str], tmp_path: Path
) -> None:
    for name, value in {**keys(user), "AWS_SECRET_ACCESS_KEY": "old"}.items():
        (tmp_path / name).write_text(f"{value}\n")
    place = BucketPlace(bucket, aws.url, {"CATSDOGS_FEEDBACK_CREDENTIALS": str(tmp_path)})
    with pytest.raises(Unavailable, match="the bucket answers 403 SignatureDoesNotMatch"):
        place.write("2026-11-29", f"{'0' * 32}.json", b"{}")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text(user[1])
    place.write("2026-11-29", f"{'0' * 32}.json", b"{}")
    assert objects(place) == {f"{'0' * 32}.json": 2}


def test_a_bucket_that_is_not_there_is_unavailable(aws: Aws, user: tuple[str, str]) -> None:
    with pytest.raises(Unavailable, match="the bucket answers 404 NoSuchBucket"):
        store(aws, "s3://no-such-bucket/x", user).keep(entry())


def test_a_service_that_cannot_be_reached_is_unavailable(user: tuple[str, str]) -> None:
    # Nobody listens on a port of this number.
    place = BucketPlace("s3://feedback", "http://127.0.0.1:1", keys(user))
    with pytest.raises(Unavailable, match=r"[Cc]onnect"):
        place.write("2026-11-29", "x.json", b"{}")


def test_a_service_whose_answers_have_no_end_is_unavailable_and_costs_no_memory(user: tuple[str, str]) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield bytes(1 << 20)

    again = b"<ListBucketResult><NextContinuationToken>x</NextContinuationToken></ListBucketResult>"
    place = BucketPlace("s3://feedback", "http://127.0.0.1:1", keys(user))
    place.close()
    endless_answer = httpx.MockTransport(lambda request: httpx.Response(500, content=endless()))
    place.session.client = httpx.Client(transport=endless_answer)
    with pytest.raises(Unavailable, match="the bucket answers 500"):
        place.write("2026-11-29", "x.json", b"{}")
    assert sent < 8 << 20
    place.session.client = httpx.Client(
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=iter([again])))
    )
    with pytest.raises(Unavailable, match="has no end"):
        place.count(100)


def test_half_a_pair_of_keys_is_unavailable_and_does_not_end_the_server(aws: Aws) -> None:
    place = BucketPlace("s3://feedback", aws.url, {"AWS_ACCESS_KEY_ID": "x"})
    with pytest.raises(Unavailable, match="AWS_SECRET_ACCESS_KEY is not"):
        place.write("2026-11-29", "x.json", b"{}")


def test_settings_name_a_bucket_and_wrong_ones_are_refused(aws: Aws) -> None:
    FeedbackSettings("s3://feedback/x", endpoint=aws.url).check()
    for place, endpoint in (("s3://-/x", None), ("s3://feedback", "no address")):
        with pytest.raises(UserError):
            FeedbackSettings(place, endpoint=endpoint).check()
