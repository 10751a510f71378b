"""How long a test waits before it says that something hangs, on a machine that may be slow or busy.

Limits are given in seconds of a quiet machine. A small known piece of work is timed now and then; as much as it takes
longer than it would there, so much longer is every limit. `seconds` is for what takes a number once, `Limit` for who
waits in a loop: it is measured again before it is over, so that load which came later counts.
"""

from __future__ import annotations

import subprocess
import threading
import time

from benchmarks.harness.processes import Process

QUIET_SECONDS = 0.09
"""What `_known_work` takes on a quiet core of the machine that the limits were set on."""

VALID_SECONDS = 15.0
"""For how long a measurement counts."""

START = 30.0
"""Quiet seconds in which a process of ours imports PyTorch and begins, several at once: five times what it takes."""

TASK = 30.0
"""Quiet seconds in which one tiny task between running processes ends: a task of a minute waits for its own timeout."""

PARTY = START + TASK
"""Quiet seconds from the start of a party's process to its end, if it runs one tiny task."""

_lock = threading.Lock()
_measured: list[tuple[float, float]] = []


def _known_work() -> int:
    value = 0
    for number in range(1_500_000):
        value = (value * 1_103_515_245 + number) & 0xFFFFFFFF
    return value


def measure() -> float:
    """How many times longer than on a quiet machine something takes now; at least 1. Takes 0.1 s there."""
    started = time.perf_counter()
    _known_work()
    ended = time.perf_counter()
    slowdown = max(1.0, (ended - started) / QUIET_SECONDS)
    with _lock:
        _measured.append((time.monotonic(), slowdown))
    return slowdown


def slowdown() -> float:
    """The slowest of the measurements that still count; measured now if there is none."""
    since = time.monotonic() - VALID_SECONDS
    with _lock:
        _measured[:] = [each for each in _measured if each[0] >= since]
        found = [each[1] for each in _measured]
    return max(found) if found else measure()


def seconds(quiet: float) -> float:
    """So many seconds of a quiet machine, as seconds of this one."""
    return quiet * slowdown()


class Limit:
    """A time after which something counts as hanging. It begins now.

    Args:
        quiet: seconds of a quiet machine.
    """

    def __init__(self, quiet: float) -> None:
        self._quiet, self._started, self._slowdown = quiet, time.monotonic(), slowdown()

    @property
    def seconds(self) -> float:
        """Of this machine, in all."""
        return self._quiet * self._slowdown

    def left(self) -> float:
        """Seconds until it is over, 0 if it is: the machine is measured again before that is said."""
        left = self._started + self.seconds - time.monotonic()
        if left <= 0:
            self._slowdown = max(self._slowdown, measure())
            left = self._started + self.seconds - time.monotonic()
        return max(0.0, left)


def wait(process: Process, quiet: float) -> int:
    """A process's exit code.

    Raises:
        subprocess.TimeoutExpired: it did not end within so many quiet seconds.
    """
    limit = Limit(quiet)
    while left := limit.left():
        try:
            return process.wait(left)
        except subprocess.TimeoutExpired:
            continue
    raise subprocess.TimeoutExpired(str(process.pid), limit.seconds)
