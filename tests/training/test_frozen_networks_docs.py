"""The measurement of frozen networks in the benchmarks page."""

from docs import frozen_networks


def test_both_ways_are_timed_and_answer_alike() -> None:
    by_torch, by_openvino, difference = frozen_networks.measure("baseline", 32, batch=4, rounds=1)
    assert by_torch > 0
    assert by_openvino > 0
    assert difference < 1e-4
