"""A user's method that goes on after the task has failed elsewhere is interrupted; nothing else is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.harness.limits import seconds
from secure_hfl.engine import interrupt
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.errors import ConnectionLost, PeerAborted

FAILED = PeerAborted("bank", "bank stopped", "UserCodeError")
SOON = 0.05


class HandTimer:
    """A timer that goes off when the test says so."""

    def __init__(self, patience: float, function: Callable[[], None]) -> None:
        self.patience, self.fire = patience, function
        self.is_started = self.is_cancelled = self.daemon = False

    def start(self) -> None:
        """See `threading.Timer`."""
        self.is_started = True

    def cancel(self) -> None:
        """See `threading.Timer`."""
        self.is_cancelled = True


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[HandTimer]:
    """Those that were made in place of real ones."""
    made: list[HandTimer] = []

    def make(*arguments: Any) -> HandTimer:
        made.append(HandTimer(*arguments))
        return made[-1]

    monkeypatch.setattr(interrupt.threading, "Timer", make)
    return made


def test_a_method_that_hangs_is_interrupted_with_the_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE", SOON)
    interrupter = Interrupter()
    interrupter.task_failed(FAILED)
    interrupter.task_failed(ConnectionLost("a later one"))
    with pytest.raises(PeerAborted, match="bank stopped"), interrupter.user_code():
        time.sleep(seconds(60))
    assert interrupter.reason is FAILED
    interrupter.stop()


def test_a_method_that_returns_in_time_is_left_alone(timers: list[HandTimer]) -> None:
    interrupter = Interrupter()
    with interrupter.user_code():
        interrupter.task_failed(FAILED)
    (timer,) = timers
    assert (timer.patience, timer.is_started, timer.daemon) == (interrupt.PATIENCE, True, True)
    timer.fire()
    assert interrupter.reason is None


def test_a_method_that_returns_while_it_is_interrupted_is_interrupted(
    timers: list[HandTimer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal is on its way: it arrives before the engine goes on, and not somewhere in its code."""
    begins, kill = threading.Event(), signal.pthread_kill

    def slow_kill(thread: int, number: int) -> None:
        begins.set()
        time.sleep(4 * SOON)
        kill(thread, number)

    monkeypatch.setattr(interrupt.signal, "pthread_kill", slow_kill)
    interrupter = Interrupter()
    interrupter.task_failed(FAILED)
    firing = threading.Thread(target=timers[0].fire)
    raised: list[object] = []
    try:
        try:
            with interrupter.user_code():
                firing.start()
                assert begins.wait(seconds(20))
        except PeerAborted as error:
            raised.append(error)
        firing.join()
    except KeyboardInterrupt:
        raised.append("it arrived when the method was over")
    assert raised == [FAILED]


def test_a_run_that_has_ended_is_left_alone(timers: list[HandTimer]) -> None:
    interrupter = Interrupter()
    with interrupter.user_code():
        interrupter.task_failed(FAILED)
        interrupter.stop()
        timers[0].fire()
    assert timers[0].is_cancelled
    assert interrupter.reason is None
    assert interrupter.renewed() is not interrupter


def test_the_users_own_interruption_is_not_ours() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupter().user_code():
        raise KeyboardInterrupt


def test_a_run_in_another_thread_is_left_to_its_supervisor(timers: list[HandTimer]) -> None:
    ended: list[object] = []

    def run() -> None:
        interrupter = Interrupter()
        with interrupter.user_code():
            interrupter.task_failed(FAILED)
        ended.append(interrupter.reason)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == [None]
    assert timers == []
