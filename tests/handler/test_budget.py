import signal
import threading
import time

import pytest

from handler.budget import Exhausted, within


def spin(cpu_s: float) -> str:
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass
    return "done"


def test_what_takes_less_gives_its_result_and_what_it_raises() -> None:
    assert within(5, lambda: spin(0.01)) == "done"
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_what_takes_more_is_ended() -> None:
    started = time.process_time()
    with pytest.raises(Exhausted):
        within(0.05, lambda: spin(60))
    assert time.process_time() - started < 1


def test_waiting_costs_nothing() -> None:
    assert within(0.05, lambda: threading.Event().wait(0.2)) is False


def test_what_takes_every_exception_for_a_broken_picture_is_ended_too() -> None:
    def stubborn() -> None:
        swallowed = False
        while True:
            try:
                spin(60)
            except BaseException:
                if swallowed:
                    raise
                swallowed = True

    with pytest.raises(Exhausted):
        within(0.05, stubborn)


def test_nothing_comes_afterwards() -> None:
    before = signal.getsignal(signal.SIGPROF)
    for _ in range(200):  # of these some end just when the signal comes
        try:
            within(0.004, lambda: spin(0.004))
        except Exhausted:
            continue
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
    spin(0.3)


def test_another_thread_is_left_alone() -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(within(0.01, lambda: spin(0.2))))
    thread.start()
    thread.join()
    assert results == ["done"]
