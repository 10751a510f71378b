"""What is being measured right now: a line that moves on a terminal, elsewhere a line for every run that is over."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from secure_hfl.bench.model import Sample
from secure_hfl.bench.numbers import describe, seconds
from secure_hfl.bench.plan import Job
from secure_hfl.cli.output import one_line
from secure_hfl.demo.display import PHASES
from secure_hfl.local_parties import HOST


class RunProgress:
    """A context manager.

    Args:
        out: where to show it.
        total: runs of cases in all.
    """

    def __init__(self, out: Console, total: int) -> None:
        self._out = out
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._task = self._progress.add_task("", total=total)
        self._run = self._case = ""
        self._started = time.monotonic()

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def begin_run(self, number: int, runs: int) -> None:
        """All cases have their turn."""
        self._run = f"run {number} of {runs}"

    def begin(self, job: Job) -> None:
        """This case has its turn."""
        self._case = f"{self._run}, {_place(job)}"
        self._show("starting")

    def heard(self, party: str, event: dict[str, Any]) -> None:
        """A party's progress event; the host's are shown."""
        if party == HOST and event["event"] == "phase":
            self._show(PHASES.get(event["phase"], event["phase"]))
        elif party == HOST and event["event"] == "batch":
            of = f" of {event['batches']}" if event.get("batches") else ""
            self._show(f"training, batch {event['batch']}{of}")

    def take(self, job: Job, result: Sample | str) -> None:
        """A case's turn is over."""
        self._progress.advance(self._task)
        if self._out.is_terminal:
            return
        if isinstance(result, str):
            found = f"refused: {one_line(result)}"
        else:
            found = ", ".join(f"{each.batches} batches in {seconds(each.train_seconds)}" for each in result.rounds)
        elapsed = time.monotonic() - self._started
        self._out.print(f"{elapsed:6.0f} s  {self._run}, {_place(job)}: {found}", soft_wrap=True)

    def _show(self, what: str) -> None:
        self._progress.update(self._task, description=f"{self._case}: {what}")


def _place(job: Job) -> str:
    return job.scheme if "schemes" in job.sweeps else f"{job.scheme}, {describe(job.point)}"
