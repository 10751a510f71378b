"""The demo's live view: every party's phase, round, batch, loss, accuracy and bytes, and how long it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

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
class PartyView:
    """What is known of one party now."""

    phase: str = "starting"
    round: int = 0
    batch: int = 0
    loss: float | None = None
    accuracy: float | None = None
    sent: int = 0
    received: int = 0
    psi_done: int = 0
    psi_total: int = 0

    def take(self, event: dict[str, Any]) -> None:
        """Follow one progress event."""
        kind = event["event"]
        if kind == "phase":
            self.phase, self.round = event["phase"], event["round"] or self.round
        elif kind == "psi":
            self.psi_done, self.psi_total = event["done"], event["total"]
        elif kind == "batch":
            self.round, self.batch = event["round"], event["batch"]
            self.loss = event.get("loss", self.loss)
        elif kind == "round" and event.get("accuracy") is not None:
            self.accuracy = event["accuracy"]
        elif kind == "end" and event["ok"]:
            self.phase = "finished"
        if "sent" in event:
            self.sent, self.received = event["sent"], event["received"]


class Display:
    """Draws in place on a terminal; elsewhere prints a line at every step worth one.

    Args:
        console: where to draw.
        names: the parties, host first.
        rounds: how many rounds there will be.
        batches: how many batches a round has, as far as known.
    """

    def __init__(self, console: Console, names: list[str], rounds: int, batches: int | None) -> None:
        self._console = console
        self._views = {name: PartyView() for name in names}
        self._host = names[0]
        self._rounds = rounds
        self._batches = batches
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            expand=True,
        )
        self._task = self._progress.add_task("starting", total=1)
        self._live = Live(self._render(), console=console, refresh_per_second=8, transient=True)
        self._started = time.monotonic()

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def take(self, name: str, event: dict[str, Any]) -> None:
        """Show what happened at one party."""
        view = self._views[name]
        view.take(event)
        if name == self._host:
            self._follow_host(view, event)
        if self._console.is_terminal:
            self._live.update(self._render())
        else:
            self._print(name, event)

    def _follow_host(self, view: PartyView, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "phase":
            self._progress.update(self._task, description=PHASES.get(view.phase, view.phase))
        elif kind == "psi":
            self._progress.update(self._task, completed=view.psi_done, total=view.psi_total)
        elif kind == "batch":
            per_round = event.get("batches") or self._batches or view.batch
            self._batches = per_round
            done = (view.round - 1) * per_round + view.batch
            self._progress.update(self._task, completed=done, total=per_round * self._rounds)

    def _render(self) -> RenderableType:
        table = Table(expand=True)
        for heading in ("party", "phase", "round", "batch", "loss", "accuracy", "sent", "received"):
            table.add_column(heading, justify="left" if heading in ("party", "phase") else "right")
        for name, view in self._views.items():
            table.add_row(
                name,
                PHASES.get(view.phase, view.phase),
                str(view.round or "-"),
                str(view.batch or "-"),
                "-" if view.loss is None else f"{view.loss:.4f}",
                "-" if view.accuracy is None else f"{view.accuracy:.2%}",
                human_bytes(view.sent),
                human_bytes(view.received),
            )
        return Group(table, self._progress)

    def _print(self, name: str, event: dict[str, Any]) -> None:
        seconds = f"{time.monotonic() - self._started:6.1f} s"
        kind = event["event"]
        if name != self._host:
            return
        if kind == "phase" and event["phase"] not in ("train", "test"):
            self._console.print(f"{seconds}  {PHASES[event['phase']]}")
        elif kind == "psi_done":
            self._console.print(f"{seconds}  {event['intersection']} ids in common, in {event['seconds']:.2f} s")
        elif kind == "round" and event["test_seconds"] is None:
            loss = self._views[name].loss
            last = "" if loss is None else f", last loss {loss:.4f}"
            self._console.print(f"{seconds}  round {event['round']}: {event['batches']} batches{last}")
        elif kind == "round" and event["accuracy"] is not None:
            self._console.print(f"{seconds}  round {event['round']}: accuracy {event['accuracy']:.2%}")


def human_bytes(count: int) -> str:
    """1234567 -> 1.2 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
