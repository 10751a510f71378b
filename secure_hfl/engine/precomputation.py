"""Makes precomputed randomness in the background while a party waits for its peers.

One thread per run. It works in small units and only while there is something to make, so that it is stopped within a
unit and holds no more than what the roles ask for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from protocols.core.errors import SecureHflError
from secure_hfl.errors import BackgroundFailed
from secure_hfl.log import logger, of_this_task


class Precomputation:
    """Calls `prepare` functions until each says that there is enough; again after every `wake`.

    Args:
        prepares: `prepare` of the roles whose stock to keep.

    Attributes:
        cpu_seconds: processor time spent so far.
    """

    def __init__(self, prepares: Iterable[Callable[[], bool]]) -> None:
        self._prepares = tuple(prepares)
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=of_this_task(self._run), name="precomputation", daemon=True)
        self.error: SecureHflError | None = None
        self.cpu_seconds = 0.0

    def start(self) -> None:
        """Begin with nothing made."""
        self._wanted.set()
        self._thread.start()

    def wake(self) -> None:
        """Something was used. Raises what went wrong in the background, if anything did."""
        if self.error is not None:
            raise self.error
        self._wanted.set()

    def stop(self) -> None:
        """Finish the unit in hand and end. Safe to call twice, or before `start`."""
        self._stopping = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                while not self._stopping and any([prepare() for prepare in self._prepares]):
                    self.cpu_seconds = time.thread_time()
            except Exception as error:
                logger.debug("Making randomness ahead of time failed.", exc_info=error)
                self.error = BackgroundFailed.of(error, "randomness was made ahead of time")
                return
            if self._stopping:
                return
