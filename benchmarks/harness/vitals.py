"""What processes hold, sampled from outside: resident memory, threads, descriptors. And whether it grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

POINTS = 160
"""Of a curve that is kept or fitted."""


class Vitals(NamedTuple):
    """Of one process at one moment. Memory in MB of 10^6 bytes."""

    rss_mb: float
    threads: int
    descriptors: int


def vitals_of(pid: int | str = "self") -> Vitals | None:
    """Now; None: there is no such process any more."""
    directory = Path("/proc", str(pid))
    try:
        lines = (directory / "status").read_text().splitlines()
        descriptors = sum(1 for _ in (directory / "fd").iterdir())
    except OSError:
        return None
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    if "VmRSS" not in status:  # it has ended, and nobody has asked how
        return None
    return Vitals(int(status["VmRSS"].split()[0]) * 1024 / 1e6, int(status["Threads"]), descriptors)


@dataclass
class Sampler:
    """Samples processes in a thread of its own.

    Args:
        processes: by name, their ids; may be filled while it samples.
        every: seconds.
        beside: called at each sample; what it returns is kept with it.

    Attributes:
        samples: seconds since the start, what each process held, what `beside` said.
    """

    processes: Mapping[str, int]
    every: float = 1.0
    beside: Callable[[], Mapping[str, float]] = dict
    samples: list[tuple[float, dict[str, Vitals], dict[str, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="vitals", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self.every):
            found = {name: vitals_of(pid) for name, pid in dict(self.processes).items()}
            alive = {name: each for name, each in found.items() if each is not None}
            if alive:
                self.samples.append((time.monotonic() - self._started, alive, dict(self.beside())))


def thinned(curve: Sequence[tuple[float, float]], points: int = POINTS) -> list[tuple[float, float]]:
    """So many points of a curve as are left when each is the median of its neighbours: no outlier is one of them."""
    size = max(1, -(-len(curve) // points))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(median(x for x, _ in part), median(y for _, y in part)) for part in parts]


def slope(curve: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs of points, which a few outliers do not move."""
    points = thinned(curve)
    slopes = [(later[1] - early[1]) / (later[0] - early[0]) for early, later in combinations(points, 2)]
    return median(slopes) if slopes else 0.0


def growth(curve: Sequence[tuple[float, float]], warm_up: float) -> float:
    """How much a value grows from the end of the warm-up to the end of a curve, by its slope there.

    Args:
        curve: (x, value), by x.
        warm_up: the share of the curve's length that is left out.
    """
    first, last = curve[0][0], curve[-1][0]
    warm = [point for point in curve if point[0] >= first + warm_up * (last - first)]
    return slope(warm) * (warm[-1][0] - warm[0][0])
