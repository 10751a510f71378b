"""What a run tells about itself while it goes on, and who listens.

The engine emits small dicts of numbers and names, never data. Sinks: JSON lines on a file descriptor (the demo's
parent process reads them), nothing, or a user's own `Progress`.

    {"event": "phase", "phase": "psi", "round": 0}
    {"event": "psi", "step": "own points", "done": 3, "total": 7}
    {"event": "batch", "round": 1, "batch": 3, "batches": 79, "loss": 2.3}
    {"event": "round", "round": 1, ...RoundMetrics}
    {"event": "end", "ok": true, "reason": ""}

Of several tasks in one process, every event also names its task: "task": "<id>".
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Protocol

import rich.progress
from rich.console import Console

from secure_hfl.log import terminal


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
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._by_task: dict[str, rich.progress.TaskID] = {}
        self._lock = threading.Lock()

    def emit(self, event: str, **values: Any) -> None:
        """Move, start or end the task's bar."""
        task = values.get("task", "")
        prefix = f"{task[:8]}: " if task else ""
        with self._lock:
            if event == "psi":
                what = f"{prefix}private set intersection"
                self._show(task, what, values["done"], values["total"], values["step"])
            elif event == "batch":
                loss = values.get("loss")
                note = "" if loss is None else f"loss {loss:.4f}"
                what = f"{prefix}{'training' if values.get('training', True) else 'testing'}, round {values['round']}"
                self._show(task, what, values["batch"], values.get("batches"), note)
            elif event in ("round", "psi_done", "end"):
                self._hide(task)

    def _show(self, task: str, what: str, done: int, total: int | None, note: str) -> None:
        if task not in self._by_task:
            self._by_task[task] = self._bars.add_task(what, total=total, note=note)
            if len(self._by_task) == 1:
                self._bars.start()
        self._bars.update(self._by_task[task], description=what, completed=done, total=total, note=note)

    def _hide(self, task: str) -> None:
        if task in self._by_task:
            if len(self._by_task) == 1:
                self._bars.stop()
            self._bars.remove_task(self._by_task.pop(task))


def progress_for(descriptor: int | None) -> Progress:
    """The sink that a run's options ask for; without one, bars if somebody is looking."""
    if descriptor is not None:
        return JsonLines(descriptor)
    console = terminal()
    return Silent() if console is None else Bars(console)
