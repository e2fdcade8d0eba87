"""Reports of several processes add up to what a single one would have recorded."""

import random

import pytest

from loadtest.generate.recorder import Collector, Recorder, histogram

Request = tuple[str, float, float, float]


def sample(count: int = 2000) -> list[Request]:
    """Protocol, due, sent, answered."""
    rng, requests = random.Random(5), []
    for _ in range(count):
        due = 1000 + rng.random() * 20
        sent = due + rng.expovariate(1000)
        requests.append((rng.choice(("rest", "grpc")), due, sent, sent + rng.expovariate(20)))
    return requests


def record(recorder: Recorder, request: Request) -> None:
    name, due, sent, now = request
    recorder.due(name, due)
    recorder.sent(name, due, sent)
    if now - due > 0.2:
        recorder.failed(name, due, "no answer in time")
    else:
        recorder.answered(name, due, sent, now, right=now - due < 0.15, model=("1", "abc"))


def collected(parts: list[list[Request]]) -> Collector:
    """Told by as many processes as there are parts, each in two messages."""
    collector = Collector()
    for number, part in enumerate(parts):
        recorder = Recorder({"rest": 0.1, "grpc": 0.1})
        for index, request in enumerate(part):
            record(recorder, request)
            if index == len(part) // 2:
                collector.add(str(number), recorder.take())
        collector.add(str(number), recorder.take())
    return collector


def test_the_histogram_of_three_processes_equals_that_of_one() -> None:
    requests = sample()
    one, three = collected([requests]), collected([requests[0::3], requests[1::3], requests[2::3]])
    for name in ("rest", "grpc"):
        for kind in ("latency", "service", "lag"):
            for seconds in (range(1000, 1020), [1007]):
                assert one.merged(name, kind, seconds).encode() == three.merged(name, kind, seconds).encode()
    assert one.counts == three.counts
    assert one.failures == three.failures


def test_quantiles_are_right_to_three_digits() -> None:
    requests = [request for request in sample() if request[0] == "rest"]
    answered = sorted(now - due for _, due, _, now in requests if now - due <= 0.2)
    merged = collected([requests]).merged("rest", "latency", range(1000, 1020))
    for share in (50, 90, 99):
        exact = answered[min(round(share / 100 * len(answered)), len(answered) - 1)]
        assert merged.get_value_at_percentile(share) / 1e6 == pytest.approx(exact, rel=0.03)
    assert merged.get_max_value() / 1e6 == pytest.approx(answered[-1], rel=0.002)


def test_every_request_is_counted_once() -> None:
    requests = sample()
    collector = collected([requests])
    total = collector.total("rest", range(1000, 1020)) + collector.total("grpc", range(1000, 1020))
    assert total["due"] == len(requests) == total["answered"] + total["failed"]
    assert total["slow"] == sum(0.1 < now - due <= 0.2 for _, due, _, now in requests)
    assert total["mistaken"] == sum(0.15 <= now - due <= 0.2 for _, due, _, now in requests)


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
    recorded = histogram([0.0, 10_000.0])
    assert recorded.get_total_count() == 2
    assert recorded.get_max_value() >= 3_599_000_000
