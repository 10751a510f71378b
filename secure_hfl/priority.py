"""Threads that give way to others: what they make is wanted later."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress


def give_way(steps: int) -> None:
    """Raise the nice value of the thread that calls, for good. On Linux each thread has its own; elsewhere nothing."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + steps))
