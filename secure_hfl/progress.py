"""What a run tells about itself while it goes on, and who listens.

The engine emits small dicts of numbers and names, never data. Sinks: JSON lines on a file descriptor (the demo's
parent process reads them), nothing, or a user's own `Progress`.

    {"event": "phase", "phase": "psi", "round": 0}
    {"event": "peer", "name": "clinic", "is_here": true}
    {"event": "psi", "step": "own points", "done": 3, "total": 7}
    {"event": "psi_bucket", "peer": "clinic", "done": 3, "total": 39}
    {"event": "plan", "rounds": 10, "batches": 79, "train": 10000, "test": 2000, "peers": ["clinic"]}
    {"event": "batch", "round": 1, "batch": 3, "batches": 79, "loss": 2.3, "sent": 1, "received": 2, "work": {...}}
    {"event": "round", "round": 1, ...RoundMetrics}
    {"event": "end", "ok": true, "reason": ""}

Of several tasks in one process, every event also names its task: "task": "<id>".
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Protocol

from rich.console import Console
from rich.progress import TaskID, TextColumn

from secure_hfl.live.notebook import NotebookView, display_of_kernel
from secure_hfl.log import terminal
from secure_hfl.progress_view import LiveView, PartyProgress, bars


class Progress(Protocol):
    """A listener. Called from the engine's threads; must return quickly and must not raise."""

    def emit(self, event: str, **values: Any) -> None:
        """Something happened."""


class Silent:
    """Listens to nothing."""

    def emit(self, event: str, **values: Any) -> None:
        """Ignore."""


class OfTask:
    """Hands one task's events to a listener that several tasks share.

    Args:
        listener: hears of all tasks.
        task: this one's id, which is added to every event.
    """

    def __init__(self, listener: Progress, task: str) -> None:
        self._listener = listener
        self._task = task

    def emit(self, event: str, **values: Any) -> None:
        """Pass it on."""
        self._listener.emit(event, task=self._task, **values)


class JsonLines:
    """Writes one JSON object per line to a file descriptor. A reader that went away is forgotten."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._open = True

    def emit(self, event: str, **values: Any) -> None:
        """Write one line."""
        rest = json.dumps({"event": event, **values}).encode() + b"\n"
        with self._lock:
            try:
                while rest and self._open:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                self._open = False


class Bars:
    """A bar for each task on the terminal: the private set intersection's chunks, then the batches of each round."""

    def __init__(self, console: Console) -> None:
        self._bars = bars(console, TextColumn("{task.fields[note]}", markup=False))
        self._view = LiveView(console)
        self._parties: dict[str, PartyProgress] = {}
        self._shown: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def emit(self, event: str, **values: Any) -> None:
        """Move, start or end the task's bar."""
        task = values.get("task", "")
        with self._lock:
            party = self._parties.setdefault(task, PartyProgress())
            party.take({"event": event, **values})
            if event in ("psi", "batch"):
                self._show(task, party)
            else:
                self._hide(task)
            if event == "end":
                del self._parties[task]

    def _show(self, task: str, party: PartyProgress) -> None:
        what = f"{task[:8]}: {party.doing}" if task else party.doing
        if task not in self._shown:
            self._shown[task] = self._bars.add_task(what, note=party.note)
            if len(self._shown) == 1:
                self._view.__enter__()
                self._view.show(self._bars, at_once=True)
        self._bars.update(self._shown[task], description=what, completed=party.done, total=party.total, note=party.note)

    def _hide(self, task: str) -> None:
        if task in self._shown:
            if len(self._shown) == 1:
                self._view.__exit__()
            self._bars.remove_task(self._shown.pop(task))


def progress_for(descriptor: int | None) -> Progress:
    """The sink that a run's options ask for; without one, bars or a notebook's picture if somebody is looking."""
    if descriptor is not None:
        return JsonLines(descriptor)
    kernel = display_of_kernel()
    if kernel is not None:
        return NotebookView(kernel)
    console = terminal()
    return Silent() if console is None else Bars(console)
