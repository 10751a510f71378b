"""Which failures a run outlives, and how it is shut down in an orderly way.

A lost connection is not the end of a task: the party drops what it has half done, waits for its peers (the host at its
port, a collaborator by connecting again and again) for its `schedule_timeout`, and goes on with them from the newest
checkpoint that all have. A peer that breaks the protocol, a timeout of a peer that is there, or an error of the user's
code ends the task.

SIGTERM: a party that trains goes on to the next checkpoint and one batch beyond, by which all others have made it too,
tells its peers, and exits with code 143. They wait for its return.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from protocols.core.envelope import Phase
from protocols.core.errors import SecureHflError
from protocols.task.abort import AbortCode
from protocols.task.resumption import ResumePoint
from secure_hfl.errors import ConnectionLost, PeerAborted, PeerRefused
from secure_hfl.log import logger

T = TypeVar("T")

RESUMABLE: frozenset[AbortCode | str] = frozenset({AbortCode.CONNECTION_LOST, AbortCode.SHUTTING_DOWN})
"""Codes of an Abort after which the sender, or whom it speaks of, may come back."""

SIGTERM_PATIENCE = 20.0
"""Seconds that a party which is told to stop goes on, if no checkpoint comes before."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0
"""Seconds between two attempts to connect again."""


class ShuttingDown(SystemExit):
    """SIGTERM. Not an `Exception`, so that the user's code does not swallow it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


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


class Shutdown:
    """SIGTERM during one run. A run in the main thread hears of it by itself; for others somebody calls `request`.

    Attributes:
        requested: whether the run is to end.
    """

    def __init__(self) -> None:
        self.requested = self._checkpointed = self._is_training = False
        self._timer: threading.Timer | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the run goes on."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            if self._timer is not None:
                self._timer.cancel()

    @contextmanager
    def training(self) -> Iterator[None]:
        """While checkpoints come: there is something to wait for."""
        self._is_training = True
        try:
            yield
        finally:
            self._is_training = False

    def checkpoint_made(self) -> None:
        """One more checkpoint is on the disk here."""
        self._checkpointed = self.requested

    def after_batch(self) -> None:
        """A batch of training was done after everything before. Raises `ShuttingDown` if it is time."""
        if self.requested and self._checkpointed:
            raise ShuttingDown

    def request(self) -> bool:
        """End the run after the next checkpoint; whether there is one to wait for."""
        self.requested = True
        return self._is_training

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self.request():
            raise ShuttingDown
        logger.warning("SIGTERM: stopping after the next checkpoint.")
        self._timer = threading.Timer(SIGTERM_PATIENCE, os.kill, (os.getpid(), signal.SIGTERM))
        self._timer.daemon = True
        self._timer.start()


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
