"""Benchmarks that nobody measured, with round numbers."""

from __future__ import annotations

from secure_hfl.bench.model import LINKS, Benchmark, Case, LinkProfile, MessageCount, Point, RoundSample, Sample, Sweep

BATCHES = 10
STANDARD = Point(task="mnist_halves", features=20, projection=20, batch=128)


def sample(
    seconds: float,
    batches: int = BATCHES,
    offline: float = 0.0,
    offline_bytes: int = 0,
    bytes_per_batch: int = 0,
    round_trips: float = 0.0,
    losses: tuple[float | None, ...] = (),
    rounds: int = 1,
) -> Sample:
    """Every round takes as long as the others, and every batch but the first two, which take ten times as long."""
    each = RoundSample(
        batches=batches,
        train_seconds=seconds,
        accuracy=0.5,
        bytes_sent=bytes_per_batch * batches,
        bytes_received=0,
        train_bytes=bytes_per_batch * batches,
        batch_seconds=(*(10 * seconds / batches,) * 2, *(seconds / batches,) * (batches - 2)),
        round_trips_per_batch=round_trips,
        work={"host": {"wait": seconds}, "collaborator": {"product": seconds / 2, "wait": seconds / 2}},
    )
    types = [MessageCount(type="Projection", received=batches, received_bytes=bytes_per_batch * batches)]
    if offline_bytes:
        types.append(MessageCount(type="TripleProduct", received=1, received_bytes=offline_bytes))
    return Sample(
        rounds=(each,) * rounds,
        batch_losses=losses,
        messages=tuple(types),
        offline_seconds=offline,
        peak_mb={"host": 500.0, "collaborator": 480.0},
    )


def case(
    scheme: str,
    *samples: Sample,
    sweep: Sweep = "schemes",
    point: Point = STANDARD,
    link: LinkProfile = LINKS[0],
    batches: int | None = None,
    refused: str = "",
) -> Case:
    """A case over a link."""
    at = point.model_copy(update={"link": link})
    return Case(sweep=sweep, scheme=scheme, point=at, samples=samples, batches=batches, refused=refused)


def benchmark(*cases: Case, notes: tuple[str, ...] = ()) -> Benchmark:
    """All of it."""
    return Benchmark(
        created="2026-01-02T03:04:05+00:00",
        command="secure-hfl bench",
        machine={"processor": "abacus"},
        seed=7,
        runs=1,
        rounds=1,
        cases=cases,
        notes=notes,
    )
