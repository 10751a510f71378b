"""Which failures a run outlives.

A lost connection is not the end of a task: the party drops what it has half done, waits for its peers (the host at its
port, a collaborator by connecting again and again) for its `schedule_timeout`, and goes on with them from the newest
checkpoint that all have. A peer that breaks the protocol, a timeout of a peer that is there, or an error of the user's
code ends the task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from protocols.core.envelope import Phase
from protocols.core.errors import SecureHflError
from protocols.task.abort import AbortCode
from protocols.task.resumption import ResumePoint
from secure_hfl.checkpoints.resume_count import MAX_RESUMES
from secure_hfl.engine.shutdown import Shutdown, ShuttingDown
from secure_hfl.errors import ConnectionLost, PeerAborted, PeerRefused

T = TypeVar("T")

RESUMABLE: frozenset[AbortCode | str] = frozenset({AbortCode.CONNECTION_LOST, AbortCode.SHUTTING_DOWN})
"""Codes of an Abort after which the sender, or whom it speaks of, may come back."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0
"""Seconds between two attempts to connect again."""


class Recovery:
    """The loop of a run over its interruptions.

    Args:
        is_resuming: whether the run goes on with what an earlier process left.

    Attributes:
        is_resuming: the same; after an interruption, it does.
        interrupted_by: what interrupted this process last, or None.
        shutdown: whether, and when, the run is to end.
    """

    def __init__(self, is_resuming: bool) -> None:
        self.is_resuming = is_resuming
        self.interrupted_by: BaseException | None = None
        self.shutdown = Shutdown()
        self._interruptions = 0
        self._interrupted_at: float | None = None

    def go_through(
        self,
        work: Callable[[], None],
        cause_of: Callable[[BaseException], BaseException],
        suspend: Callable[[BaseException], None],
    ) -> None:
        """Work until it is done, again after everything that a run outlives.

        Args:
            work: from joining to the last message.
            cause_of: what is behind an error that came out of it.
            suspend: lets go of everything that belongs to a broken conversation, given the cause.

        Raises:
            ShuttingDown: the run was interrupted when it was to end anyway.
            BaseException: whatever a run does not outlive.
        """
        while True:
            try:
                work()
                return
            except BaseException as error:
                cause = cause_of(error)
                if is_resumable(cause) and self.shutdown.requested:
                    raise ShuttingDown from None
                if not is_resumable(cause) or self._interruptions >= MAX_RESUMES:
                    raise
                self._interrupted(cause)
                suspend(cause)
                self.is_resuming = True

    def _interrupted(self, cause: BaseException) -> None:
        self._interruptions += 1
        self.interrupted_by = cause
        if self._interrupted_at is None:
            self._interrupted_at = time.perf_counter()

    def checkpoint_made(self) -> None:
        """There was progress."""
        self._interruptions = 0
        self.shutdown.checkpoint_made()

    def resumed(self, started: float) -> float:
        """The run goes on: how many seconds after it was interrupted, or (the first time) its process started."""
        seconds = time.perf_counter() - (started if self._interrupted_at is None else self._interrupted_at)
        self._interrupted_at = None
        return seconds


def is_resumable(error: BaseException) -> bool:
    """Whether the task may go on once the parties are connected again."""
    if isinstance(error, PeerAborted):
        return error.code in RESUMABLE
    return isinstance(error, ConnectionLost)


def retry(connect: Callable[[float], T], seconds: float) -> T:
    """Try to connect until it works, with growing pauses.

    Args:
        connect: given how many seconds it may take.
        seconds: for all attempts.

    Raises:
        PeerRefused: the last attempt's.
    """
    deadline, delay = time.monotonic() + seconds, FIRST_DELAY
    while True:
        try:
            return connect(max(0.1, round(deadline - time.monotonic(), 1)))
        except PeerRefused:
            if time.monotonic() + delay >= deadline:
                raise
        time.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)


def did_not_return(error: SecureHflError, cause: BaseException) -> PeerRefused:
    """Why a task that was interrupted does not go on."""
    return PeerRefused(f"{cause} (interrupted, and not all came back in time; --resume goes on later: {error})")


def first_round(point: ResumePoint | None) -> tuple[int, Phase | None, int]:
    """Where rounds begin: the round, what of it is over (training, or the test too), and how many of its batches."""
    if point is None or not point.round:
        return 1, None, 0
    if point.batch:
        return point.round, None, point.batch
    return point.round, point.phase, 0
