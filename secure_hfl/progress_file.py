"""A run's progress on disk, for who looks at it later or from elsewhere: the console, after a restart of either.

    tasks/<id>/progress.jsonl       one event a line, as in secure_hfl/progress.py, each with `at`, seconds since 1970

The first line of a run names it: {"event": "start", "run": "5f1c...", "pid": 17, "is_resuming": false, ...}. A run that
goes on with an earlier one appends to its file, so that curves are whole; one that begins anew begins the file anew.

The first few hundred batches are all kept, for the curves of short runs. After that, of those within an interval the
last is. The interval grows with the run's age, so that a run of any length leaves a file that is read at once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from protocols.core.randomness import OsRandomness
from secure_hfl.progress import Progress

NAME = "progress.jsonl"

ALL_KEPT = 500
"""Batches, and pieces of the intersection, before any is left out."""

LEAST_INTERVAL = 0.25
"""Seconds between two batches that are kept after that, at first."""

KEPT_OF_A_RUN = 2000
"""Batches of a run's first `KEPT_OF_A_RUN * LEAST_INTERVAL` seconds. In each e times as long, as many again."""

_THINNED = ("batch", "psi")


class ProgressFile:
    """Writes a run's events. A disk that is full ends the record, and never the run.

    Args:
        path: the file.
        is_resuming: append to what is there.
        about: what the first line says besides.
        clock: the time, in seconds since 1970.
    """

    def __init__(
        self, path: Path, is_resuming: bool, about: Mapping[str, str], clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._count = 0
        self._written_at: dict[str, float] = {}
        self._waiting: dict[str, dict[str, Any]] = {}
        self._descriptor = _opened(path, is_resuming)
        self.emit("start", run=OsRandomness().bytes(8).hex(), pid=os.getpid(), is_resuming=is_resuming, **about)

    def emit(self, event: str, **values: Any) -> None:
        """Write one line, or keep it until the next is due."""
        now = self._clock()
        values.pop("metrics", None)  # a loss for each batch; they are in the results
        line = {"event": event, "at": round(now, 3), **values}
        with self._lock:
            self._count += event in _THINNED
            if event in _THINNED and now - self._written_at.get(event, 0.0) < self._interval(now):
                self._waiting[event] = line
                return
            self._written_at[event] = now
            superseded = self._waiting.pop(event, None)
            if event in _THINNED:
                self._write([line])
                return
            # What came before something rare, such as the last batch of a round, is worth a line.
            waiting = [*self._waiting.values(), *([superseded] if superseded else [])]
            self._waiting.clear()
            self._write([*waiting, line])

    def close(self) -> None:
        """Nothing more is written. May be called again."""
        with self._lock:
            if self._descriptor is not None:
                self._write(list(self._waiting.values()))
                self._waiting.clear()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _interval(self, now: float) -> float:
        if self._count <= ALL_KEPT:
            return 0.0
        return max(LEAST_INTERVAL, (now - self._began) / KEPT_OF_A_RUN)

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Whole lines at once, so that a reader sees none in part."""
        if self._descriptor is None or not lines:
            return
        data = b"".join(json.dumps(_short(line)).encode() + b"\n" for line in lines)
        try:
            os.write(self._descriptor, data)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = None


class Both:
    """Tells two listeners."""

    def __init__(self, first: Progress, second: Progress) -> None:
        self._listeners = first, second

    def emit(self, event: str, **values: Any) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.emit(event, **values)


def _short(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tenths of a millisecond are enough of where the time goes, and what took none goes without saying."""
    if "work" not in line:
        return line
    return {**line, "work": {name: round(seconds, 4) for name, seconds in line["work"].items() if seconds}}


def events_in(data: bytes) -> Iterator[dict[str, Any]]:
    """The events of whole lines. What is none, as after a power failure, is passed over."""
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            yield event


def _opened(path: Path, is_resuming: bool) -> int | None:
    try:
        if not is_resuming:
            path.unlink(missing_ok=True)  # who reads the old one sees that it has ended
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a line that was cut off stays one line
            os.write(descriptor, b"\n")
    except OSError:
        return None
    return descriptor
