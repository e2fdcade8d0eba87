"""Reports of several processes add up to what a single one would have recorded."""

import random

import pytest

from loadtest.generate.recorder import Collector, Recorder, histogram

SEEN = tuple[str, float, float, float]


def sample(count: int = 2000) -> list[SEEN]:
    """Protocol, due, sent, answered."""
    rng, seen = random.Random(5), []
    for _ in range(count):
        due = 1000 + rng.random() * 20
        sent = due + rng.expovariate(1000)
        seen.append((rng.choice(("rest", "grpc")), due, sent, sent + rng.expovariate(20)))
    return seen


def record(recorder: Recorder, seen: SEEN) -> None:
    name, due, sent, now = seen
    recorder.due(name, due)
    recorder.sent(name, due, sent)
    if now - due > 0.2:
        recorder.failed(name, due, "no answer in time")
    else:
        recorder.answered(name, due, sent, now, right=now - due < 0.15, model=("1", "abc"))


def collected(parts: list[list[SEEN]]) -> Collector:
    """Told by as many processes as there are parts, each in two messages."""
    collector = Collector()
    for number, part in enumerate(parts):
        recorder = Recorder({"rest": 0.1, "grpc": 0.1})
        for index, seen in enumerate(part):
            record(recorder, seen)
            if index == len(part) // 2:
                collector.add(str(number), recorder.take())
        collector.add(str(number), recorder.take())
    return collector


def test_the_histogram_of_three_processes_equals_that_of_one() -> None:
    seen = sample()
    one, three = collected([seen]), collected([seen[0::3], seen[1::3], seen[2::3]])
    for name in ("rest", "grpc"):
        for what in ("latency", "service", "lag"):
            for seconds in (range(1000, 1020), [1007]):
                assert one.merged(name, what, seconds).encode() == three.merged(name, what, seconds).encode()
    assert one.counts == three.counts
    assert one.failures == three.failures


def test_quantiles_are_right_to_three_digits() -> None:
    seen = [one for one in sample() if one[0] == "rest"]
    answered = sorted(now - due for _, due, _, now in seen if now - due <= 0.2)
    made = collected([seen]).merged("rest", "latency", range(1000, 1020))
    for share in (50, 90, 99):
        exact = answered[min(round(share / 100 * len(answered)), len(answered) - 1)]
        assert made.get_value_at_percentile(share) / 1e6 == pytest.approx(exact, rel=0.03)
    assert made.get_max_value() / 1e6 == pytest.approx(answered[-1], rel=0.002)


def test_every_request_is_counted_once() -> None:
    seen = sample()
    collector = collected([seen])
    total = collector.total("rest", range(1000, 1020)) + collector.total("grpc", range(1000, 1020))
    assert total["due"] == len(seen) == total["answered"] + total["failed"]
    assert total["slow"] == sum(0.1 < now - due <= 0.2 for _, due, _, now in seen)
    assert total["mistaken"] == sum(0.15 <= now - due <= 0.2 for _, due, _, now in seen)


def test_a_request_belongs_to_the_second_in_which_it_was_due() -> None:
    recorder, collector = Recorder({"rest": 0.1}), Collector()
    recorder.due("rest", 10.9)
    recorder.answered("rest", 10.9, 10.9, 14.2, right=None, model=(None, None))
    collector.add("one", recorder.take())
    assert collector.total("rest", [10]) == {"due": 1, "answered": 1, "slow": 1}
    assert not collector.total("rest", [11, 12, 13, 14])


def test_what_was_told_is_not_told_again() -> None:
    recorder = Recorder({})
    recorder.due("rest", 1.0)
    assert recorder.take()["counts"] == [[1, "rest", {"due": 1}]]
    assert recorder.take()["counts"] == []


def test_times_beyond_the_histogram_are_kept_at_its_ends() -> None:
    made = histogram([0.0, 10_000.0])
    assert made.get_total_count() == 2
    assert made.get_max_value() >= 3_599_000_000
