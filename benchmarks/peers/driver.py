"""Runs workers one after the other, ours and theirs in turn, and checks every result."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import ValidationError

from benchmarks.peers.cases import Entry, Point, WrongResult
from benchmarks.peers.environments import Environments, NoEnvironment
from benchmarks.peers.measurement import Comparison, Contender, Measurement

ROOT = Path(__file__).parents[2]

HOUR = 3600.0


class WorkerFailed(Exception):
    """A worker ended without an answer, or with one that is not a measurement."""


@dataclass
class Driver:
    """Compares points; what did not run is kept in `skipped` and `failed`, a line each.

    Args:
        environments: of the peers.
        runs: how often each contender runs.
        repeats: how often a worker repeats a short step.
        tell: called with a line on what is going on.
    """

    environments: Environments
    runs: int = 3
    repeats: int = 5
    tell: Callable[[str], None] = lambda line: None
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def compare(self, points: Iterable[Point]) -> list[Comparison]:
        """Every point that any peer takes part in."""
        return [found for point in points if (found := self.compare_at(point))]

    def compare_at(self, point: Point) -> Comparison | None:
        """One point: ours, theirs, ours, theirs. None if nobody but us can run.

        Raises:
            WorkerFailed, WrongResult: ours, without which there is nothing to compare with.
        """
        entries = [entry for entry in point.entries if self._has_environment(entry.peer)]
        if not any(entry.peer != "ours" for entry in entries):
            return None
        found: dict[Entry, list[Measurement]] = {entry: [] for entry in entries}
        errors: dict[Entry, float | None] = dict.fromkeys(entries)
        for run in range(self.runs):
            for entry in list(found):
                self.tell(
                    f"run {run + 1} of {self.runs}, {' '.join(filter(None, (entry.peer, entry.variant)))}: {point.name}"
                )
                try:
                    measurement, error = self.measure(point, entry)
                except (WorkerFailed, WrongResult) as failure:
                    if entry.peer == "ours":
                        raise
                    self.failed.append(f"{point.name}: {entry.peer} {entry.variant}: {failure}")
                    del found[entry]
                else:
                    found[entry].append(measurement)
                    errors[entry] = _larger(errors[entry], error)
        contenders = tuple(
            Contender(
                peer=entry.peer,
                variant=entry.variant,
                sample=point.sample_words(entry.sample),
                measurements=tuple(measurements),
                worst_error=errors[entry],
            )
            for entry, measurements in found.items()
        )
        return Comparison(case=point.case, point=point.name, parameters=point.parameters(), contenders=contenders)

    def measure(self, point: Point, entry: Entry) -> tuple[Measurement, float | None]:
        """One worker, once; its result is checked. Raises `WorkerFailed`, `WrongResult`, `NoEnvironment`."""
        python = self.environments.python(entry.peer)
        with tempfile.TemporaryDirectory(prefix="peers-") as name:
            directory = Path(name)
            point.write_inputs(directory)
            request = {
                **point.parameters(),
                "case": point.case,
                "variant": entry.variant,
                "sample": asdict(entry.sample),
                "repeats": self.repeats,
                "directory": name,
            }
            (directory / "request.json").write_text(json.dumps(request))
            measurement = read_answer(_run(python, entry.peer, directory))
            return measurement, point.check(entry, measurement, directory)

    def _has_environment(self, peer: str) -> bool:
        try:
            self.environments.python(peer)
        except NoEnvironment as error:
            line = f"{peer}: {error}"
            if line not in self.skipped:
                self.skipped.append(line)
            return False
        return True


def _larger(first: float | None, second: float | None) -> float | None:
    known = [each for each in (first, second) if each is not None]
    return max(known, default=None)


def read_answer(text: str) -> Measurement:
    """Check a worker's line. Raises `WorkerFailed`."""
    try:
        return Measurement.model_validate_json(text)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'all'}: {each['msg']}" for each in error.errors())
        raise WorkerFailed(f"its answer is not a measurement: {places}") from None


def _run(python: Path, peer: str, directory: Path) -> str:
    """A worker's stdout. What its library leaves in the directory for temporary files goes with ours."""
    command = [str(python), "-m", f"benchmarks.peers.{peer}.worker", str(directory / "request.json")]
    environment = {**os.environ, "TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HOUR)
    except subprocess.TimeoutExpired:
        raise WorkerFailed("it took more than an hour") from None
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WorkerFailed(f"it ended with {ended.returncode}: {last}")
    return ended.stdout
