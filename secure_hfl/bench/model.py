"""What the bench measures, as data: written as JSON, read by the table and the report.

    Benchmark
        cases: one scheme at one point (task, widths, batch, parties, link), with a `Sample` for each of its runs
        attacks: what `python -m benchmarks.privacy` wrote, if it was given

Times are seconds, memory MB (10^6 bytes), bytes bytes; everything is one epoch's (a round of training) unless it says
otherwise. A figure of a case is the median over its samples.
"""

from __future__ import annotations

from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

WORK = (
    "bottom forward",
    "top",
    "backward and step",
    "encrypt",
    "product",
    "decrypt",
    "scheme, other",
    "serialise",
    "transcript",
    "wait",
    "other",
)
"""Where a party's main thread spends an epoch; see `secure_hfl.work_clock`. They add up to its training seconds."""

Sweep = Literal["schemes", "width", "batch", "collaborators", "link"]
"""Which series a case belongs to: all schemes side by side at the standard point, or along one parameter."""


class Frozen(BaseModel):
    """Plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LinkProfile(Frozen):
    """A network between the host and each collaborator. None: as fast as loopback.

    Args:
        name: for people.
        megabits: per second, each way.
        round_trip_milliseconds: there and back.
    """

    name: str
    megabits: float | None = None
    round_trip_milliseconds: float | None = None

    @property
    def is_shaped(self) -> bool:
        """Whether a proxy is needed."""
        return self.megabits is not None or self.round_trip_milliseconds is not None


LINKS = (
    LinkProfile(name="loopback"),
    LinkProfile(name="1 Gbit, 1 ms", megabits=1000.0, round_trip_milliseconds=1.0),
    LinkProfile(name="100 Mbit, 20 ms", megabits=100.0, round_trip_milliseconds=20.0),
    LinkProfile(name="20 Mbit, 80 ms", megabits=20.0, round_trip_milliseconds=80.0),
)


class Point(Frozen):
    """Where a case is measured.

    Args:
        task: an example's name, or "script".
        features: d, the width of each collaborator's features; None where the task alone knows.
        projection: o, the width of z; None likewise.
        batch: samples a batch; None likewise.
        collaborators: how many.
        link: between the host and each of them.
    """

    task: str
    features: int | None = None
    projection: int | None = None
    batch: int | None = None
    collaborators: int = 1
    link: LinkProfile = LINKS[0]


class RoundSample(Frozen):
    """One epoch. `work` by party name, then by `WORK`. Round trips are those the host waits for, per batch."""

    batches: int
    train_seconds: float
    test_seconds: float | None = None
    accuracy: float | None = None
    loss: float | None = None
    """The test's, as the task writes it."""
    bytes_sent: int
    bytes_received: int
    """At the host, the test included."""
    round_trips_per_batch: float = 0.0
    work: dict[str, dict[str, float]] = Field(default_factory=dict)


class MessageCount(Frozen):
    """One type of message over the whole run, as the host counts it."""

    type: str
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0


class Sample(Frozen):
    """One run of one case."""

    rounds: tuple[RoundSample, ...]
    batch_losses: tuple[float | None, ...]
    messages: tuple[MessageCount, ...] = ()
    offline_seconds: float = 0.0
    """Spent ahead of, or beside, all the training: processor time, or for `masked` the time of making triples."""
    setup_seconds: float = 0.0
    """From the start of the run to the first round, less PSI."""
    psi_seconds: float = 0.0
    seconds: float = 0.0
    peak_mb: dict[str, float] = Field(default_factory=dict)
    """By party, the whole run's."""


class Case(Frozen):
    """One scheme at one point. `refused` says why it cannot run there; it then has no samples."""

    sweep: Sweep
    scheme: str
    """plain | plain + projection | one process | masked | bfv | paillier | a plug-in's name."""
    point: Point
    samples: tuple[Sample, ...] = ()
    refused: str = ""

    @property
    def epoch_seconds(self) -> float:
        """Median over all epochs of all samples."""
        return median([each.train_seconds for sample in self.samples for each in sample.rounds])

    @property
    def offline_seconds(self) -> float:
        """A run's, over its epochs."""
        return median([sample.offline_seconds / len(sample.rounds) for sample in self.samples])

    @property
    def bytes_per_batch(self) -> float:
        """Training's and testing's bytes, both ways, over the batches of training."""
        return median(
            [
                sum(each.bytes_sent + each.bytes_received for each in sample.rounds)
                / max(1, sum(each.batches for each in sample.rounds))
                for sample in self.samples
            ]
        )


class Recommendation(Frozen):
    """Which scheme to take at one link, and why. `seconds` by scheme: the epoch that was measured, or worked out."""

    link: LinkProfile
    scheme: str
    reason: str
    seconds: dict[str, float]


class Benchmark(Frozen):
    """Everything that one `secure-hfl bench` found."""

    version: Literal[1] = 1
    created: str
    """UTC, ISO 8601."""
    command: str
    machine: dict[str, Any]
    parameters: dict[str, str] = Field(default_factory=dict)
    """By scheme: its parameter set, as the parties agreed on it."""
    seed: int
    runs: int
    rounds: int
    cases: tuple[Case, ...]
    recommendations: tuple[Recommendation, ...] = ()
    attacks: dict[str, Any] | None = None

    def of(self, sweep: Sweep) -> tuple[Case, ...]:
        """The cases of one series."""
        return tuple(case for case in self.cases if case.sweep == sweep)
