"""The loop over interruptions, and what it counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocols.core.envelope import Phase
from protocols.task.resumption import ResumePoint
from secure_hfl.checkpoints.resume_count import MAX_RESUMES
from secure_hfl.engine import recovery
from secure_hfl.engine.recovery import Recovery, first_round, is_resumable, retry
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.errors import ConnectionLost, PeerAborted, PeerFault, PeerRefused, PeerTimeout

LOST = ConnectionLost("the cable is out")


def failing(times: int, error: Exception = LOST) -> Callable[[], None]:
    """Work that fails so often before it is done."""
    left = [error] * times

    def work() -> None:
        if left:
            raise left.pop()

    return work


@pytest.mark.parametrize(
    ("error", "may_go_on"),
    [
        (LOST, True),
        (PeerAborted("bank", "was shut down", "ShuttingDown"), True),
        (PeerAborted("bank", "lost somebody", "ConnectionLost"), True),
        (PeerAborted("bank", "raised", "UserCodeError"), False),
        (PeerAborted("bank", "something new", "InventedLater"), False),
        (PeerTimeout("owed a message"), False),
        (PeerFault("bank", LOST), False),
    ],
)
def test_what_a_run_outlives(error: Exception, may_go_on: bool) -> None:
    assert is_resumable(error) is may_go_on


def test_it_works_again_after_every_interruption() -> None:
    suspended: list[BaseException] = []
    state = Recovery(is_resuming=False)
    state.go_through(failing(3), lambda error: error, suspended.append)
    assert suspended == [LOST] * 3
    assert state.is_resuming
    assert state.interrupted_by is LOST


def test_it_gives_up_without_progress_and_a_checkpoint_is_progress() -> None:
    with pytest.raises(ConnectionLost):
        Recovery(False).go_through(failing(MAX_RESUMES + 1), lambda error: error, lambda cause: None)
    state = Recovery(False)
    state.go_through(failing(MAX_RESUMES + 1), lambda error: error, lambda cause: state.checkpoint_made())


def test_the_cause_decides_and_not_what_came_out() -> None:
    Recovery(False).go_through(failing(1, ValueError("the method was interrupted")), lambda error: LOST, lambda _: None)
    with pytest.raises(ConnectionLost):
        Recovery(False).go_through(failing(1), lambda error: ValueError("a bug"), lambda _: None)


def test_an_interruption_of_a_run_that_is_to_end_ends_it() -> None:
    state = Recovery(False)
    state.shutdown.request()
    with pytest.raises(ShuttingDown):
        state.go_through(failing(1), lambda error: error, lambda cause: None)


def test_recovery_is_timed_from_the_first_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 17.0, 100.0])
    monkeypatch.setattr(recovery.time, "perf_counter", lambda: next(clock))
    state = Recovery(False)
    state.go_through(failing(2), lambda error: error, lambda cause: None)
    assert state.resumed(started=0.0) == 7.0
    assert state.resumed(started=60.0) == 40.0, "a process that has just started"


def test_connecting_is_tried_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(recovery.time, "sleep", pauses.append)
    left = [PeerRefused("nobody listens")] * 5

    def connect(seconds: float) -> str:
        if left:
            raise left.pop()
        return "connected"

    assert retry(connect, 100.0) == "connected"
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6]
    left.append(PeerRefused("nobody listens"))
    with pytest.raises(PeerRefused):
        retry(connect, 0.0)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (None, (1, None, 0)),
        (ResumePoint(Phase.SETUP), (1, None, 0)),
        (ResumePoint(Phase.TRAIN, 2, 5), (2, None, 5)),
        (ResumePoint(Phase.TRAIN, 2), (2, Phase.TRAIN, 0)),
        (ResumePoint(Phase.TEST, 2), (2, Phase.TEST, 0)),
    ],
)
def test_where_rounds_begin(point: ResumePoint | None, expected: tuple[int, Phase | None, int]) -> None:
    assert first_round(point) == expected
