"""One task between processes of this machine, and what each round took of it: wall time, processor time, bytes.

Processor time is that of all parties' processes, from the first event of a round's training to its last: it includes
gRPC's threads and whatever is made beside the batches. A machine with other work to do shows in wall time first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from secure_hfl.examples.catalogue import Example, mnist_halves, mnist_strips
from secure_hfl.examples.mnist import DATA_VARIABLE
from secure_hfl.local_parties import HOST, LocalParties, RunSettings

FIRST = 2
"""Batches that do not count: libraries warm up."""

SEED = 1
"""All runs', not secret."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """One task.

    Attributes:
        features: of each party, and the width of each projection layer; 0: the tutorial's own task.
        batches: of a round; None: all.
    """

    scheme: str
    rounds: int = 1
    batches: int | None = None
    features: int = 0
    collaborators: int = 1

    def example(self) -> Example:
        """What its parties run."""
        return (
            mnist_strips(1 + self.collaborators, None, self.features, tests=False) if self.features else mnist_halves()
        )

    def run(self, directory: Path) -> list[dict[str, Any]]:
        """Its rounds. `directory`: a private one, which is kept. Raises `LocalRunFailed`."""
        example = self.example()
        settings = RunSettings(self.scheme, self.rounds, self.batches, SEED)
        data = {DATA_VARIABLE: os.environ.get(DATA_VARIABLE, str(directory / "data"))}
        (directory / "run").mkdir(mode=0o700)
        run = LocalParties(example.scripts, settings, directory / "run", environment=data)
        run.prepare()
        rounds = Rounds(lambda: sum(processor_seconds(each.process.pid) for each in run.parties if each.process))
        for name, event in run.run():
            rounds.take(name, event)
        return rounds.found


@dataclass
class Rounds:
    """What the host's events say of the rounds, as they come.

    Attributes:
        processor: seconds of all parties' processes so far.
        clock: wall seconds.
        found: the rounds that are over.
    """

    processor: Clock
    clock: Clock = time.perf_counter
    found: list[dict[str, Any]] = field(default_factory=list)
    _ends: list[float] = field(default_factory=list)
    _used: list[float] = field(default_factory=list)

    def take(self, name: str, event: Mapping[str, Any]) -> None:
        """One event of a party."""
        if name != HOST:
            return
        if event["event"] == "phase" and event["phase"] == "train":
            self._ends, self._used = [self.clock()], [self.processor()]
        elif event["event"] == "batch":
            self._ends.append(self.clock())
            self._used.append(self.processor())
        elif event["event"] == "round" and event["round"] > len(self.found):
            # A round says so once more behind its test.
            self.found.append(self._round(event))

    def _round(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Milliseconds of a batch behind the first ones, or of all if there are few."""
        first = FIRST if len(self._ends) > 2 * FIRST else 0
        batches = len(self._ends) - 1 - first
        return {
            "batches": event["batches"],
            "train_seconds": round(event["train_seconds"], 3),
            "batch_milliseconds": round(
                1e3 * median(after - before for before, after in pairwise(self._ends[first:])), 3
            ),
            "processor_milliseconds": round(1e3 * (self._used[-1] - self._used[first]) / batches, 3),
            "bytes_a_batch": (event["bytes_sent"] + event["bytes_received"]) // event["batches"],
            "host_milliseconds": {
                work: round(1e3 * seconds / event["batches"], 3) for work, seconds in event["work"].items()
            },
        }


def processor_seconds(process: int) -> float:
    """Of a process that runs, all its threads; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
