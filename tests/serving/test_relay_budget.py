"""Admission: what is refused when there is no room, and what never is."""

from collections.abc import Callable

import pytest

from serving.gateway.relay.budget import LARGE, Budget, Overloaded, Ticket

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def interrupted(ticket: Ticket) -> Callable[[], bool]:
    calls: list[None] = []
    ticket.interrupt = lambda: calls.append(None)
    return lambda: bool(calls)


def test_requests_are_admitted_up_to_their_number(clock: Clock) -> None:
    budget = Budget(max_requests=2, clock=clock)
    with budget.admit(), budget.admit(), pytest.raises(Overloaded):
        budget.admit()
    with budget.admit():
        assert len(budget.tickets) == 1


def test_the_oldest_upload_makes_room_for_a_new_request(clock: Clock) -> None:
    budget = Budget(max_requests=2, clock=clock)
    first, second = budget.admit(), budget.admit()
    woken = interrupted(first)
    clock.now = 2.0
    third = budget.admit()
    assert woken()
    assert list(budget.tickets) == [second, third]
    with pytest.raises(Overloaded):
        first.grow(1)
    with pytest.raises(Overloaded):
        first.finish()


def test_a_request_whose_body_is_complete_is_never_refused(clock: Clock) -> None:
    budget = Budget(max_requests=1, clock=clock)
    with budget.admit() as ticket:
        ticket.grow(5)
        ticket.finish()
        clock.now = 100.0
        with pytest.raises(Overloaded):
            budget.admit()
        assert not ticket.refused


def test_bytes_that_do_not_fit_cost_the_oldest_upload_its_place(clock: Clock) -> None:
    budget = Budget(max_bytes=10, max_large_bytes=10, clock=clock)
    first, second = budget.admit(), budget.admit()
    woken = interrupted(first)
    first.grow(6)
    second.grow(6)
    assert woken()
    assert budget.bytes == 6
    with pytest.raises(Overloaded):
        second.grow(5)
    assert (budget.bytes, budget.tickets) == (0, {})


def test_the_largest_bodies_leave_room_for_ordinary_ones(clock: Clock) -> None:
    budget = Budget(max_bytes=24 * MIB, max_large_bytes=16 * MIB, clock=clock)
    for _ in range(2):
        large = budget.admit()
        large.grow(8 * MIB)
        large.finish()
    with pytest.raises(Overloaded), budget.admit() as another:
        another.grow(LARGE + 1)
    with budget.admit() as ordinary:
        ordinary.grow(LARGE)
        assert budget.bytes == 17 * MIB


def test_a_large_body_that_does_not_fit_costs_no_ordinary_upload_its_place(clock: Clock) -> None:
    budget = Budget(max_bytes=24 * MIB, max_large_bytes=8 * MIB, clock=clock)
    ordinary = budget.admit()
    ordinary.grow(100)
    with pytest.raises(Overloaded), budget.admit() as large:
        large.grow(9 * MIB)
    assert not ordinary.refused
    assert (budget.bytes, budget.large_bytes) == (100, 0)


def test_what_is_left_gives_its_room_back_once(clock: Clock) -> None:
    budget = Budget(clock=clock)
    with budget.admit() as ticket:
        ticket.grow(2 * MIB)
        ticket.refuse()
    assert (budget.bytes, budget.large_bytes, budget.tickets) == (0, 0, {})
