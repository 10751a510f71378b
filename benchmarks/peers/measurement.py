"""What a worker answers, checked; and what the driver makes of it. Written as JSON."""

from __future__ import annotations

from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt

Case = Literal["psi", "paillier", "bfv", "cheetah"]


class Frozen(BaseModel):
    """Plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Step(Frozen):
    """One step. Times and bytes are of what was measured; the whole case holds it `times` times."""

    name: str = Field(min_length=1)
    seconds: NonNegativeFloat
    cpu_seconds: NonNegativeFloat | None = None
    """Of all threads of the parties' processes; None where nobody counts them."""
    bytes: NonNegativeInt = 0
    times: float = Field(default=1.0, ge=1)


class Measurement(Frozen):
    """A worker's answer."""

    peer: str = Field(min_length=1)
    variant: str
    versions: dict[str, str]
    parameters: dict[str, str | int | float]
    steps: tuple[Step, ...] = Field(min_length=1)
    peak_mb: dict[str, NonNegativeFloat]


class Contender(Frozen):
    """One peer at one point: a measurement for each run."""

    peer: str
    variant: str
    sample: str
    """Which part of the case was computed, in words; empty for all of it."""
    measurements: tuple[Measurement, ...]
    worst_error: float | None = None
    """Of a product, in units of z; 0 is exact."""

    def seconds(self, *names: str, run: int | None = None, cpu: bool = False) -> float | None:
        """These steps' seconds for the whole case: of one run, or the median over them. None if it has none of them."""
        found = []
        for measurement in self.measurements if run is None else (self.measurements[run],):
            steps = [step for step in measurement.steps if not names or step.name in names]
            counted = [step.cpu_seconds if cpu else step.seconds for step in steps]
            if not counted or None in counted:
                return None
            found.append(sum(each * step.times for each, step in zip(counted, steps) if each is not None))
        return median(found)

    def bytes(self, *names: str) -> float:
        """The bytes of these steps, for the whole case."""
        return median(
            sum(step.bytes * step.times for step in measurement.steps if step.name in names)
            for measurement in self.measurements
        )

    def peak_mb(self) -> dict[str, float]:
        """By party, median over runs."""
        parties = self.measurements[0].peak_mb
        return {party: median(each.peak_mb[party] for each in self.measurements) for party in parties}


class Comparison(Frozen):
    """All contenders at one point; ours is the first."""

    case: Case
    point: str
    parameters: dict[str, int]
    contenders: tuple[Contender, ...]


class Report(Frozen):
    """Everything that one run of `python -m benchmarks.peers` found."""

    created: str
    """UTC, ISO 8601."""
    command: str
    machine: dict[str, Any]
    runs: int
    comparisons: tuple[Comparison, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
