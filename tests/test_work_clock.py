"""The work clock: whose time it is, on a clock that goes one second further each time it is read."""

from __future__ import annotations

import itertools
import threading

import pytest

from secure_hfl import work_clock
from secure_hfl.work_clock import WORK, WorkClock, span


@pytest.fixture(autouse=True)
def one_second_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(work_clock, "perf_counter", lambda: float(next(seconds)))


def spent(clock: WorkClock) -> dict[str, float]:
    """Seconds by work, without the zeros."""
    return {work: seconds for work, seconds in clock.seconds.items() if seconds}


def test_what_is_inside_is_taken_off_what_is_around() -> None:
    with WorkClock() as clock, span("top"):
        with span("wait"):
            pass
        with span("scheme, other"), span("encrypt"):
            pass
    assert spent(clock) == {"top": 3.0, "wait": 1.0, "scheme, other": 2.0, "encrypt": 1.0, "other": 2.0}
    assert clock.total == 9.0
    assert tuple(clock.seconds) == WORK


def test_a_work_inside_itself_is_counted_once() -> None:
    with WorkClock() as clock, span("wait"), span("wait"):
        pass
    assert spent(clock) == {"wait": 3.0, "other": 2.0}


def fail() -> None:
    with span("product"), span("wait"):
        raise ValueError("wrong")


def test_time_is_whose_it_was_after_an_error() -> None:
    with WorkClock() as clock, span("scheme, other"), pytest.raises(ValueError, match="wrong"):
        fail()
    assert spent(clock) == {"product": 2.0, "wait": 1.0, "scheme, other": 2.0, "other": 2.0}


def test_an_error_through_the_clock_stops_it() -> None:
    clock = WorkClock()
    with pytest.raises(ValueError, match="wrong"), clock, span("top"):
        raise ValueError("wrong")
    before = dict(clock.seconds)
    with span("top"):
        pass
    assert clock.seconds == before
    with WorkClock() as other, span("wait"):
        pass
    assert spent(other) == {"wait": 1.0, "other": 2.0}


def test_a_span_without_a_clock_lets_errors_through() -> None:
    with pytest.raises(ValueError, match="wrong"), span("top"):
        raise ValueError("wrong")


def test_threads_do_not_count_for_each_other() -> None:
    clocks: list[WorkClock] = []

    def work() -> None:
        with span("decrypt"):
            pass
        with WorkClock() as own, span("encrypt"):
            pass
        clocks.append(own)

    with WorkClock() as clock, span("wait"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert spent(clocks[0]) == {"encrypt": 1.0, "other": 2.0}
    assert set(spent(clock)) == {"wait", "other"}


def test_an_inner_clock_hands_back_to_the_outer() -> None:
    with WorkClock() as outer:
        with WorkClock() as inner, span("top"):
            pass
        with span("wait"):
            pass
    assert spent(inner) == {"top": 1.0, "other": 2.0}
    assert spent(outer) == {"wait": 1.0, "other": 6.0}
