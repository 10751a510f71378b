"""Progress as people see it: what a party's events say of it, bars, and a view that moves on a terminal.

`secure-hfl host` and `collaborator`, the demo, the benchmark and `audit --live` all draw with this.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

PHASES = {
    "join": "joining",
    "psi": "private set intersection",
    "align": "comparing the split",
    "setup": "setting up",
    "train": "training",
    "test": "testing",
    "finish": "finishing",
}


@dataclass
class PartyProgress:
    """What is known of one party now, from its progress events (secure_hfl/progress.py).

    Attributes:
        phase: for people.
        doing: the phase, and its round if it has one.
        round, batch: the latest; 0 before there is one.
        batches: of the round, as far as known.
        done, total: what a bar shows, pieces of private set intersection or batches of the round; None: unknown.
        note: what to say beside the bar.
        sent, received: bytes so far.
    """

    phase: str = "starting"
    doing: str = "starting"
    round: int = 0
    batch: int = 0
    batches: int | None = None
    done: int = 0
    total: int | None = None
    note: str = ""
    loss: float | None = None
    accuracy: float | None = None
    sent: int = 0
    received: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one event."""
        kind = event["event"]
        if kind == "phase":
            self._enter(PHASES.get(event["phase"], event["phase"]), event["round"])
        elif kind == "psi":
            self.done, self.total, self.note = event["done"], event["total"], event["step"]
        elif kind == "batch":
            self.round, self.batch, self.loss = event["round"], event["batch"], event.get("loss", self.loss)
            self.batches = event.get("batches")
            self.done, self.total = self.batch, self.batches
            self.note = "" if event.get("loss") is None else f"loss {event['loss']:.4f}"
            self.sent, self.received = event["sent"], event["received"]
        elif kind == "round" and event["accuracy"] is not None:
            self.accuracy = event["accuracy"]
        elif kind == "interrupted":
            self._enter("interrupted, waiting")
        elif kind == "end" and event["ok"]:
            self._enter("finished")

    def _enter(self, phase: str, number: int = 0) -> None:
        self.phase, self.doing = phase, f"{phase}, round {number}" if number else phase
        self.round = number or self.round
        self.done, self.total, self.note = 0, None, ""


def bars(console: Console, *more: ProgressColumn) -> Progress:
    """Bars with their counts and times, for a `LiveView`.

    Args:
        more: columns at the right.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *more,
        console=console,
        expand=True,
    )


class LiveView:
    """Draws in place on a terminal, and clears away at the end; elsewhere prints lines. A context manager.

    Attributes:
        moves: whether this is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.moves = console.is_terminal
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._started = time.monotonic()

    def __enter__(self) -> LiveView:
        if self.moves:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.moves:
            self._live.stop()

    @property
    def elapsed(self) -> str:
        """Since this view was made, as the beginning of a line."""
        return f"{time.monotonic() - self._started:6.1f} s"

    def show(self, what: RenderableType, at_once: bool = False) -> None:
        """On a terminal: draw this from now on, several times a second, or at once."""
        if self.moves:
            self._live.update(what, refresh=at_once)

    def line(self, text: RenderableType) -> None:
        """Elsewhere: one line."""
        if not self.moves:
            self._console.print(text, soft_wrap=True)
