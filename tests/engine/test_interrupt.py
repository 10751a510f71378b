"""A user's method that goes on after the task has failed elsewhere is interrupted; nothing else is."""

from __future__ import annotations

import threading
import time

import pytest

from secure_hfl.engine import interrupt
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.errors import ConnectionLost, PeerAborted

FAILED = PeerAborted("bank", "bank stopped", "UserCodeError")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE", 0.05)


def test_a_method_that_hangs_is_interrupted_with_the_first_error() -> None:
    interrupter = Interrupter()
    interrupter.task_failed(FAILED)
    interrupter.task_failed(ConnectionLost("a later one"))
    with pytest.raises(PeerAborted, match="bank stopped"), interrupter.user_code():
        time.sleep(60)
    assert interrupter.reason is FAILED
    interrupter.stop()


def test_a_method_that_returns_in_time_is_left_alone() -> None:
    interrupter = Interrupter()
    with interrupter.user_code():
        interrupter.task_failed(FAILED)
    time.sleep(0.15)
    assert interrupter.reason is None


def test_a_run_that_has_ended_is_left_alone() -> None:
    interrupter = Interrupter()
    with interrupter.user_code():
        interrupter.task_failed(FAILED)
        interrupter.stop()
        time.sleep(0.15)
    assert interrupter.reason is None
    assert interrupter.renewed() is not interrupter


def test_the_users_own_interruption_is_not_ours() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupter().user_code():
        raise KeyboardInterrupt


def test_a_run_in_another_thread_is_left_to_its_supervisor() -> None:
    reasons: list[object] = []

    def run() -> None:
        interrupter = Interrupter()
        with interrupter.user_code():
            interrupter.task_failed(FAILED)
            time.sleep(0.15)
        reasons.append(interrupter.reason)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert reasons == [None]
