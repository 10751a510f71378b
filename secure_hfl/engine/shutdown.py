"""SIGTERM ends a run in an orderly way.

A party that trains goes on to the next checkpoint and one batch beyond, by which all others have made it too, tells its
peers, and exits with code 143. They wait for its return.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from secure_hfl.log import logger

SIGTERM_PATIENCE = 20.0
"""Seconds that a party which is told to stop goes on, if no checkpoint comes before."""


class ShuttingDown(SystemExit):
    """SIGTERM. Not an `Exception`, so that the user's code does not swallow it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Shutdown:
    """SIGTERM during one run. A run in the main thread hears of it by itself; for others somebody calls `request`.

    Attributes:
        requested: whether the run is to end.
    """

    def __init__(self) -> None:
        self.requested = self._checkpointed = self._is_training = False
        self._timer: threading.Timer | None = None
        self._process = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the run goes on."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._process = os.getpid()
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
        if os.getpid() != self._process:  # a fork has inherited this handler, not the run
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if self.requested or not self.request():
            raise ShuttingDown
        logger.warning("SIGTERM: stopping after the next checkpoint.")
        self._timer = threading.Timer(SIGTERM_PATIENCE, os.kill, (os.getpid(), signal.SIGTERM))
        self._timer.daemon = True
        self._timer.start()
