"""What the bench measures, as data: written as JSON, read by the table and the report.

    Benchmark
        cases: one scheme at one point (task, widths, batch, parties, link), with a `Sample` for each of its runs
        attacks: what `python -m benchmarks.privacy` wrote, if it was given

Times are seconds, memory MB (10^6 bytes), bytes bytes; everything is one epoch's (a round of training) unless it says
otherwise. A figure of a case is the median over its samples, or over all their rounds.

A case that was measured over fewer batches than an epoch has says so (`Case.batches`). Two cases are compared by one
measure: whole epochs by `epoch_seconds` or `batch_seconds`, and where either is a part of one, both by
`steady_batch_seconds` (`secure_hfl.bench.numbers.against`).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from protocols.layer.messages import FrozenRows
from secure_hfl.schemes import is_plaintext, offline_messages
from secure_hfl.work_clock import WORK as KINDS_OF_WORK

WORK: tuple[str, ...] = KINDS_OF_WORK
"""Where a party's main thread spends an epoch; see `secure_hfl.work_clock`. They add up to its training seconds."""

ONE_PROCESS = "one process"
"""The same models in one PyTorch process: no parties, no protocol."""
PLAIN = "plain"
REFERENCE = "plain + projection"
"""What the encrypted schemes compute, without encryption: parity is against this one."""

WARM_UP = 2
"""First batches of a round that `Case.steady_batch_seconds` leaves out."""

Sweep = Literal["schemes", "rounds", "width", "batch", "collaborators", "link"]
"""Which series a case belongs to: all schemes side by side at the standard point, the same over several rounds, or one
along a parameter."""


def hides_features(scheme: str) -> bool:
    """Whether a case of this scheme protects anything."""
    return scheme not in (ONE_PROCESS, REFERENCE) and not is_plaintext(scheme)


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
    train_bytes: int | None = None
    """Of both ways, the test's left out; None: not known apart."""
    batch_seconds: tuple[float, ...] = ()
    """From batch to batch, at the host."""
    round_trips_per_batch: float = 0.0
    work: dict[str, dict[str, float]] = Field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Training's, both ways; with the test's where they are not known apart."""
        return self.bytes_sent + self.bytes_received if self.train_bytes is None else self.train_bytes


class MessageCount(Frozen):
    """One type of message over the whole run, as the host counts it."""

    type: str
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.sent_bytes + self.received_bytes


class Sample(Frozen):
    """One run of one case."""

    rounds: tuple[RoundSample, ...]
    batch_losses: tuple[float | None, ...]
    messages: tuple[MessageCount, ...] = ()
    offline_seconds: float = 0.0
    """Spent ahead of, or beside, all the training, by the party that spent most: processor seconds, but for `masked`
    the wall seconds of making triples, those of the test set included."""
    setup_seconds: float = 0.0
    """From the start of the run to the first round, less PSI."""
    psi_seconds: float = 0.0
    seconds: float = 0.0
    peak_mb: dict[str, float] = Field(default_factory=dict)
    """By party, the whole run's."""


class Case(Frozen):
    """One scheme at one point. `refused` says why it cannot run there; it then has no samples.

    Args:
        batches: at most so many a round; None: whole epochs.
    """

    sweep: Sweep
    scheme: str
    """plain | plain + projection | one process | masked | bfv | paillier | a plug-in's name."""
    point: Point
    samples: tuple[Sample, ...] = ()
    refused: str = ""
    batches: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its epochs are whole ones."""
        return self.batches is None

    @property
    def has_frozen_model(self) -> bool:
        """Whether a collaborator's bottom model is frozen, so that its features cross in the first round alone."""
        return any(message.type == FrozenRows.__name__ for sample in self.samples for message in sample.messages)

    @property
    def rounds(self) -> list[RoundSample]:
        """Of all samples."""
        return [each for sample in self.samples for each in sample.rounds]

    @property
    def epoch_seconds(self) -> float:
        """Median over all epochs of all samples, as many batches as they had."""
        return median([each.train_seconds for each in self.rounds])

    @property
    def batch_seconds(self) -> float:
        """Of whole epochs their seconds over their batches; of a part of one `steady_batch_seconds`."""
        return median([_over_batches(each) for each in self.rounds]) if self.is_whole else self.steady_batch_seconds

    @property
    def steady_batch_seconds(self) -> float:
        """The median from batch to batch: without the first `WARM_UP` of a round, and without the signature at its end.

        Not the mean: early in every run Python collects garbage for 200 ms, once or twice, which is nothing in an epoch
        and most of a mean over ten batches. Of a round that has no more than `WARM_UP`, all seconds over the batches.
        """
        return median([_steady(each) for each in self.rounds])

    @property
    def round_trips_per_batch(self) -> float:
        """Those the host waits for."""
        return median([each.round_trips_per_batch for each in self.rounds])

    @property
    def offline_bytes(self) -> float:
        """What masks made between the parties cost on the wire, both ways. 0: nothing is waited for before training."""
        offline = offline_messages(self.scheme)
        return self._of_a_run(lambda sample: sum(m.bytes for m in sample.messages if m.type in offline))

    @property
    def offline_seconds(self) -> float:
        """A run's (`Sample.offline_seconds`), over its epochs."""
        return self._of_a_run(lambda sample: sample.offline_seconds)

    @property
    def bytes_per_batch(self) -> float:
        """Training's, both ways, over its batches. Of a run's rounds the least, as the others carry masks for the next;
        of the runs the median."""
        runs = [[each.bytes / max(1, each.batches) for each in sample.rounds] for sample in self.samples]
        return median([min(rounds) for rounds in runs])

    def _of_a_run(self, figure: Callable[[Sample], float]) -> float:
        return median([figure(sample) / len(sample.rounds) for sample in self.samples])


def _over_batches(each: RoundSample) -> float:
    return each.train_seconds / max(1, each.batches)


def _steady(each: RoundSample) -> float:
    counted = each.batch_seconds[WARM_UP:]
    return median(counted) if counted else _over_batches(each)


class Recommendation(Frozen):
    """Which scheme to take at one link, and why.

    Args:
        scheme: the one with the fastest epoch, of those that protect something.
        unprepared: the fastest if what is done ahead of it counts as well.
        seconds: an epoch's, by scheme.
        with_offline: a single epoch's with what has to be done ahead of it.
        basis: how `seconds` was found: "measured", "from 20 batches, measured", "worked out" or "worked out from 20
            batches".
    """

    link: LinkProfile
    scheme: str
    reason: str
    seconds: dict[str, float]
    unprepared: str = ""
    with_offline: dict[str, float] = Field(default_factory=dict)
    basis: dict[str, str] = Field(default_factory=dict)


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
    notes: tuple[str, ...] = ()
    """What was left out or cut short, and why."""

    def of(self, sweep: Sweep) -> tuple[Case, ...]:
        """The cases of one series."""
        return tuple(case for case in self.cases if case.sweep == sweep)
