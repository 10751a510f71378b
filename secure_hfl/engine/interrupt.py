"""Ends user code that goes on, or hangs, after the task has failed elsewhere: nobody waits for ever.

A party that is in one of the user's methods does not look at its channels. When one of them fails, the method gets
some seconds to return; then it is interrupted as Ctrl-C would interrupt it, and the party reports the peer's reason.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from protocols.core.errors import SecureHflError

PATIENCE = 3.0
"""Seconds that a user's method may go on once the task has failed."""

ARRIVAL = 1.0
"""Seconds within which a signal that was sent has surely arrived; it does so at once."""


class Interrupter:
    """Watches the user's methods of one run. Acts only on a run in the main thread, which alone can be interrupted."""

    def __init__(self) -> None:
        self._can_act = threading.current_thread() is threading.main_thread()
        self._in_user_code = 0
        self._was_sent = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._error: SecureHflError | None = None
        self.reason: SecureHflError | None = None
        """What ended the task, once a method was interrupted for it."""

    def renewed(self) -> Interrupter:
        """One for the next conversation, after this one was interrupted and stopped."""
        return Interrupter()

    def task_failed(self, error: SecureHflError) -> None:
        """A channel failed; called from its thread. The first error counts."""
        if self._error is None and self._can_act:
            self._error = error
            self._timer = threading.Timer(PATIENCE, self._interrupt)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """The run is ending by itself."""
        with self._lock:
            self._can_act = False
        if self._timer is not None:
            self._timer.cancel()

    @contextmanager
    def user_code(self) -> Iterator[None]:
        """Around a user's method. Raises the channel's error in place of the interruption."""
        self._in_user_code += 1
        try:
            try:
                yield
            finally:
                self._leave()
        except KeyboardInterrupt:
            if self.reason is None:
                raise
            raise self.reason from self.reason.__cause__

    def _leave(self) -> None:
        """The method is over: nothing is interrupted any more. What was sent meanwhile must not arrive later."""
        with self._lock:
            self._in_user_code -= 1
            was_sent, self._was_sent = self._was_sent, False
        if was_sent and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            time.sleep(ARRIVAL)

    def _interrupt(self) -> None:
        with self._lock:
            if self._can_act and self._in_user_code:
                self.reason, self._was_sent = self._error, True
                # Not _thread.interrupt_main(): a signal to the thread also wakes it from a lock or a system call.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
