"""What is being measured right now: a line that moves on a terminal, elsewhere a line for every run that is over."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from protocols.core.wording import plural
from secure_hfl.bench.model import Sample
from secure_hfl.bench.numbers import describe, seconds
from secure_hfl.bench.plan import Job
from secure_hfl.cli.output import one_line
from secure_hfl.local_parties import HOST
from secure_hfl.progress_view import LiveView, PartyProgress, bars


class RunProgress:
    """A context manager.

    Args:
        out: where to show it.
        total: runs of cases in all.
    """

    def __init__(self, out: Console, total: int) -> None:
        self._bars = bars(out)
        self._bar = self._bars.add_task("", total=total)
        self._view = LiveView(out)
        self._run = self._case = ""
        self._host = PartyProgress()

    def __enter__(self) -> RunProgress:
        self._view.__enter__()
        self._view.show(self._bars)
        return self

    def __exit__(self, *exc: object) -> None:
        self._view.__exit__(*exc)

    def begin_run(self, number: int, runs: int) -> None:
        """All cases have their turn."""
        self._run = f"run {number} of {runs}"

    def begin(self, job: Job) -> None:
        """This case has its turn."""
        self._case, self._host = f"{self._run}, {_place(job)}", PartyProgress()
        self._describe()

    def heard(self, party: str, event: dict[str, Any]) -> None:
        """A party's progress event; the host's are shown."""
        if party == HOST:
            self._host.take(event)
            self._describe()

    def take(self, job: Job, result: Sample | str) -> None:
        """A case's turn is over."""
        self._bars.advance(self._bar)
        if isinstance(result, str):
            found = f"refused: {one_line(result)}"
        else:
            found = ", ".join(
                f"{plural(each.batches, 'batch')} in {seconds(each.train_seconds)}" for each in result.rounds
            )
        self._view.line(f"{self._view.elapsed}  {self._run}, {_place(job)}: {found}")

    def _describe(self) -> None:
        host = self._host
        of = f" of {host.total}" if host.total else ""
        batch = f", batch {host.done}{of}" if host.done and host.round else ""
        self._bars.update(self._bar, description=f"{self._case}: {host.doing}{batch}")


def _place(job: Job) -> str:
    return job.scheme if "schemes" in job.sweeps else f"{job.scheme}, {describe(job.point)}"
