"""The shard of a picture follows from its name alone, and --shard says which one a process has."""

import pytest

from handler.files import UserError
from serving.bulk.shard import Shard, read_shard, shard_of


def test_a_names_shard_is_the_same_in_every_version() -> None:
    # Another hash would classify pictures twice where a job was begun before an upgrade.
    assert [shard_of(name, 3) for name in ("Cat/1.jpg", "Cat/2.jpg", "Dog/1.jpg", "é.jpg")] == [2, 0, 2, 0]
    assert shard_of("a\udcff.jpg", 1000) == shard_of("a\udcff.jpg", 1000)


def test_shards_are_of_about_the_same_size() -> None:
    counts = [0] * 8
    for number in range(8000):
        counts[shard_of(f"photos/{number}.jpg", 8)] += 1
    # Six standard deviations of a binomial count.
    assert all(abs(count - 1000) < 6 * (8000 * 1 / 8 * 7 / 8) ** 0.5 for count in counts)


def test_the_index_is_given_or_that_of_the_job() -> None:
    assert read_shard("2/8", {}) == Shard(2, 8)
    assert read_shard("8", {"JOB_COMPLETION_INDEX": "2"}) == Shard(2, 8)
    assert read_shard("3/8", {"JOB_COMPLETION_INDEX": "2"}) == Shard(3, 8)
    assert read_shard(None, {}) == Shard(0, 1)


@pytest.mark.parametrize(
    ("text", "environment", "reason"),
    [
        ("8/8", {}, "the index counts from 0, so the last one is 7"),
        ("8", {}, "JOB_COMPLETION_INDEX is not set"),
        (None, {"JOB_COMPLETION_INDEX": "2"}, "by --shard COUNT"),
        ("0/0", {}, "is not a shard"),
        ("-1/2", {}, "is not a shard"),
        ("a/b", {}, "is not a shard"),
        ("1/123456", {}, "is not a shard"),
    ],
)
def test_what_is_no_shard_is_refused(text: str | None, environment: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_shard(text, environment)
