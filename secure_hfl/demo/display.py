"""The demo's live view: every party's phase, round, batch, loss, accuracy and bytes, and how long it will take."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.progress import TextColumn, TimeRemainingColumn
from rich.table import Table

from protocols.core.wording import plural
from secure_hfl.progress_view import LiveView, PartyProgress, bars


class Display:
    """A table of all parties with the host's bar on a terminal; elsewhere a line for every step worth one.

    Args:
        console: where to draw.
        names: the parties, host first.
        rounds: how many rounds there will be.
        batches: how many batches a round has, as far as known.
    """

    def __init__(self, console: Console, names: list[str], rounds: int, batches: int | None) -> None:
        self._parties = {name: PartyProgress() for name in names}
        self._host = names[0]
        self._rounds = rounds
        self._batches = batches
        self._bars = bars(console, TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"))
        self._bar = self._bars.add_task("starting", total=1)
        self._view = LiveView(console)

    def __enter__(self) -> Display:
        self._view.__enter__()
        self._view.show(self._drawn())
        return self

    def __exit__(self, *exc: object) -> None:
        self._view.__exit__(*exc)

    def take(self, name: str, event: dict[str, Any]) -> None:
        """Show what happened at one party."""
        party = self._parties[name]
        party.take(event)
        if name == self._host:
            self._move_bar(party, event["event"])
            step = _worth_a_line(party, event)
            if step:
                self._view.line(f"{self._view.elapsed}  {step}")
        self._view.show(self._drawn())

    def _move_bar(self, host: PartyProgress, kind: str) -> None:
        if kind == "phase":
            self._bars.update(self._bar, description=host.phase)
        elif kind == "psi":
            self._bars.update(self._bar, completed=host.done, total=host.total)
        elif kind == "batch":
            self._batches = host.batches or self._batches or host.batch
            done = (host.round - 1) * self._batches + host.batch
            self._bars.update(self._bar, completed=done, total=self._batches * self._rounds)

    def _drawn(self) -> RenderableType:
        table = Table(expand=True)
        for heading in ("party", "phase", "round", "batch", "loss", "accuracy", "sent", "received"):
            table.add_column(heading, justify="left" if heading in ("party", "phase") else "right")
        for name, party in self._parties.items():
            table.add_row(
                name,
                party.phase,
                str(party.round or "-"),
                str(party.batch or "-"),
                "-" if party.loss is None else f"{party.loss:.4f}",
                "-" if party.accuracy is None else f"{party.accuracy:.2%}",
                decimal(party.sent),
                decimal(party.received),
            )
        return Group(table, self._bars)


def _worth_a_line(host: PartyProgress, event: dict[str, Any]) -> str:
    """What to say of an event of the host's, if anything."""
    kind = event["event"]
    if kind == "phase" and event["phase"] not in ("train", "test"):
        return host.phase
    if kind == "psi_done":
        return f"{plural(event['intersection'], 'id')} in common, in {event['seconds']:.2f} s"
    if kind == "round" and event["test_seconds"] is None:
        last = "" if host.loss is None else f", last loss {host.loss:.4f}"
        return f"round {event['round']}: {plural(event['batches'], 'batch')}{last}"
    if kind == "round" and event["accuracy"] is not None:
        return f"round {event['round']}: accuracy {event['accuracy']:.2%}"
    return ""
