"""What a run tells about itself while it goes on, and who listens.

The engine emits small dicts of numbers and names, never data. Sinks: JSON lines on a file descriptor (the demo's
parent process reads them), nothing, or a user's own `Progress`.

    {"event": "phase", "phase": "psi"}
    {"event": "psi", "step": "own points", "done": 3, "total": 7}
    {"event": "batch", "round": 1, "batch": 3, "batches": 79, "loss": 2.3}
    {"event": "round", "round": 1, ...RoundMetrics}
    {"event": "bytes", "sent": 1, "received": 2}
    {"event": "end", "ok": true, "reason": ""}
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Protocol


class Progress(Protocol):
    """A listener. Called from the engine's threads; must return quickly and must not raise."""

    def emit(self, event: str, **values: Any) -> None:
        """Something happened."""


class Silent:
    """Listens to nothing."""

    def emit(self, event: str, **values: Any) -> None:
        """Ignore."""


class JsonLines:
    """Writes one JSON object per line to a file descriptor. A reader that went away is forgotten."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._open = True

    def emit(self, event: str, **values: Any) -> None:
        """Write one line."""
        line = json.dumps({"event": event, **values}).encode() + b"\n"
        with self._lock:
            if not self._open:
                return
            try:
                os.write(self._descriptor, line)
            except OSError:
                self._open = False


def progress_for(descriptor: int | None) -> Progress:
    """The sink that a run's options ask for."""
    return Silent() if descriptor is None else JsonLines(descriptor)
