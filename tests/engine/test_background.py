"""Work beside the conversation: it is counted, woken and ended."""

from __future__ import annotations

import threading

from secure_hfl.engine.background import Background
from secure_hfl.engine.offline_phase import OfflineWorker


class Worker(OfflineWorker):
    """Works until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._over = threading.Event()

    def stop(self) -> None:
        """See the base."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        self._over.wait()
        self.seconds = 3.0


def test_seconds_outlast_the_end_and_go_with_the_reset() -> None:
    background = Background()
    assert background.seconds == 0.0
    background.work_offline(Worker())
    background.stop()
    background.stop()
    assert background.seconds == 3.0
    assert background.reset() == 3.0
    assert background.seconds == 0.0
    assert background.reset() == 0.0


def test_what_was_used_is_made_again() -> None:
    made = threading.Semaphore(0)
    wanted = [2]

    def prepare() -> bool:
        if not wanted[0]:
            return False
        wanted[0] -= 1
        made.release()
        return True

    background = Background()
    background.precompute([prepare])
    assert all(made.acquire(timeout=20) for _ in range(2))
    wanted[0] = 1
    background.wake()
    assert made.acquire(timeout=20)
    background.stop()
