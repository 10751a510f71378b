"""A benchmark whose figures are made up, for tests of what is shown: every sweep, refusals, several rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from secure_hfl.bench.model import (
    LINKS,
    ONE_PROCESS,
    PLAIN,
    REFERENCE,
    WORK,
    Benchmark,
    Case,
    LinkProfile,
    MessageCount,
    Point,
    Recommendation,
    RoundSample,
    Sample,
    Sweep,
)

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
SCHEMES = (ONE_PROCESS, PLAIN, REFERENCE, "masked", "bfv", "paillier")
SWEPT = (PLAIN, "masked", "bfv", "paillier")
BATCHES, ROUNDS, RUNS = 79, 5, 3

SHARES = {
    PLAIN: (0.40, 0.06, 0.30, 0, 0, 0, 0, 0.06, 0.03, 0.10, 0.05),
    "masked": (0.30, 0.04, 0.22, 0.02, 0.03, 0.02, 0.14, 0.08, 0.04, 0.09, 0.02),
    "bfv": (0.08, 0.01, 0.06, 0.16, 0.24, 0.12, 0.08, 0.05, 0.04, 0.14, 0.02),
    "paillier": (0.01, 0.002, 0.008, 0.21, 0.49, 0.12, 0.02, 0.01, 0.005, 0.12, 0.005),
}
"""Of an epoch, by `WORK`."""

TRAFFIC = {
    PLAIN: (("PlainFeatures", 0, 12_200), ("PlainGradient", 10_200, 0)),
    "masked": (
        ("TripleOperand", 826_000, 374_000),
        ("TripleProduct", 331_000, 712_000),
        ("MaskedFeatures", 0, 49_000),
        ("MaskedGradient", 40_600, 0),
        ("MaskedStep", 20_500, 0),
        ("MaskedGradientFeatures", 0, 20_500),
    ),
    "bfv": (
        ("Projection", 0, 409_000),
        ("FeatureGradient", 341_000, 0),
        ("WeightGradient", 0, 320_000),
        ("HostShare", 286_000, 0),
        ("CollaboratorShare", 0, 286_000),
        ("StepGradient", 281_000, 0),
    ),
    "paillier": (("Projection", 0, 92_000), ("FeatureGradient", 88_000, 0), ("WeightGradient", 0, 180_000)),
}
"""Bytes a batch by type of message: what the host sends, what it receives."""

ACCURACY = (0.165, 0.503, 0.653, 0.762, 0.8605)
LOSS = (0.01818, 0.01533, 0.00860, 0.00592, 0.00406)


def milliseconds(scheme: str, point: Point) -> float:
    """A batch."""
    wide, rows, others = (point.features or 20) / 20, (point.batch or 128) / 128, point.collaborators
    plain = 8 + 10 * rows * others**0.7 + 0.3 * wide * rows
    layer = {
        ONE_PROCESS: -2.2,
        PLAIN: 0.0,
        REFERENCE: -0.1,
        "masked": 3 + 4 * rows * wide**0.6 * others,
        "bfv": 14 + 55 * wide**0.8 * max(rows, 0.5) * others**0.9,
        "paillier": 740 * rows * wide * others,
    }.get(scheme, 20.0)
    link = point.link
    sent = sum(sent + received for kind, sent, received in _traffic(scheme) if not kind.startswith("Triple"))
    wire = 0.0 if link.megabits is None else 8e-3 * sent * rows * wide / link.megabits
    trips = 2 if scheme in (PLAIN, REFERENCE) else 3
    return plain + layer + wire + trips * (link.round_trip_milliseconds or 0.0)


def _traffic(scheme: str) -> tuple[tuple[str, int, int], ...]:
    if scheme == ONE_PROCESS:
        return ()
    return TRAFFIC[PLAIN if scheme == REFERENCE else scheme if scheme in TRAFFIC else "bfv"]


def parties(collaborators: int) -> list[str]:
    """Names as the bench gives them."""
    return [
        "host",
        *(["collaborator"] if collaborators == 1 else [f"collaborator{n}" for n in range(1, collaborators + 1)]),
    ]


def one_round(scheme: str, point: Point, number: int, run: int, batches: int) -> RoundSample:
    """Round `number` of run `run`."""
    train = milliseconds(scheme, point) / 1e3 * batches * (1 + 0.02 * ((run + 2 * number) % 3))
    shares = SHARES[PLAIN if scheme == REFERENCE else scheme if scheme in SHARES else "bfv"]
    work = {}
    for at, name in enumerate([] if scheme == ONE_PROCESS else parties(point.collaborators)):
        own = dict(zip(WORK, (train * share for share in shares), strict=True))
        moved = 0.4 * own["product"] if at else 0.2 * own["encrypt"]
        own["product" if at else "encrypt"] -= moved
        own["wait"] += moved + train - sum(own.values()) - moved
        work[name] = own
    per_batch = sum(sent + received for kind, sent, received in _traffic(scheme) if not kind.startswith("Triple"))
    small = {"masked": -0.0005, "bfv": -0.0005}.get(scheme, 0.0)
    return RoundSample(
        batches=batches,
        train_seconds=train,
        test_seconds=0.3 * train,
        accuracy=ACCURACY[number % 5] + small,
        loss=LOSS[number % 5],
        bytes_sent=per_batch * batches * 6 // 10,
        bytes_received=per_batch * batches * 6 // 10,
        train_bytes=per_batch * batches,
        batch_seconds=(train / batches,) * batches,
        round_trips_per_batch=0.0 if scheme == ONE_PROCESS else 2.0 if scheme in (PLAIN, REFERENCE) else 3.0,
        work=work,
    )


def sample(scheme: str, point: Point, run: int, rounds: int, batches: int = BATCHES) -> Sample:
    """One run."""
    made = tuple(one_round(scheme, point, number, run, batches) for number in range(rounds))
    off = {"masked": 6.3, "bfv": 0.95, "paillier": 30.0}.get(scheme, 0.0) * rounds * batches / BATCHES
    losses = [2.32 - 0.004 * at for at in range(rounds * batches)]
    error = 3e-5 if scheme in ("masked", "bfv", "paillier") else 0.0
    counts = [
        MessageCount(
            type=kind,
            sent=batches * rounds if sent else 0,
            sent_bytes=sent * batches * rounds,
            received=batches * rounds if received else 0,
            received_bytes=received * batches * rounds,
        )
        for kind, sent, received in _traffic(scheme)
    ]
    if scheme != ONE_PROCESS:
        counts += [
            MessageCount(type="PsiPoints", sent=7, sent_bytes=800_190, received=6, received_bytes=768_166),
            MessageCount(type="PsiDigests", received=7, received_bytes=400_190),
            MessageCount(type="BatchOpen", received=95, received_bytes=2_249),
            MessageCount(type="Checkpoint", sent=6, sent_bytes=985, received=6, received_bytes=984),
        ]
    memory = {"masked": 525.2, "bfv": 514.1, "paillier": 560.4}.get(scheme, 484.4)
    names = [] if scheme == ONE_PROCESS else parties(point.collaborators)
    return Sample(
        rounds=made,
        batch_losses=tuple(loss + error * (-1) ** at * (at % 4) / 3 for at, loss in enumerate(losses)),
        messages=tuple(counts),
        offline_seconds=off,
        setup_seconds=0.0 if scheme == ONE_PROCESS else 0.8 + off / 20,
        psi_seconds=0.0 if scheme == ONE_PROCESS else 0.45,
        seconds=sum(each.train_seconds + (each.test_seconds or 0.0) for each in made) + 2.0,
        peak_mb={name: memory - 5.3 * at for at, name in enumerate(names)},
    )


def case(sweep: Sweep, scheme: str, point: Point, runs: int = 1, rounds: int = 1, batches: int | None = None) -> Case:
    """With its samples, or refused where the real schemes have limits of this kind."""
    if scheme == "paillier" and (point.features or 0) > 128:
        return Case(sweep=sweep, scheme=scheme, point=point, refused="a batch would take more than 10 s")
    if scheme == "bfv" and (point.features or 0) > 256:
        return Case(sweep=sweep, scheme=scheme, point=point, refused="its parameters are for d of at most 256")
    made = tuple(sample(scheme, point, run, rounds, batches or BATCHES) for run in range(runs))
    return Case(sweep=sweep, scheme=scheme, point=point, samples=made, batches=batches)


def standard(**changes: Any) -> Point:
    """The tutorial's task."""
    fixed = {"task": "mnist_halves", "features": 20, "projection": 20, "batch": 128}
    return Point.model_validate(fixed | changes)


def swept(sweep: Sweep, points: list[Point]) -> list[Case]:
    """Every scheme at every point, over 20 batches."""
    return [case(sweep, scheme, point, batches=20) for point in points for scheme in SWEPT]


def schemes(runs: int = RUNS, rounds: int = ROUNDS) -> list[Case]:
    """Side by side; paillier over fewer batches, as it takes so long."""
    few = {"paillier": 10}
    return [
        case(
            "schemes", scheme, standard(), 1 if scheme in few else runs, 1 if scheme in few else rounds, few.get(scheme)
        )
        for scheme in SCHEMES
    ]


def recommendation(link: LinkProfile) -> Recommendation:
    """The fastest of the encrypted ones."""
    seconds = {s: milliseconds(s, standard(link=link)) / 1e3 * BATCHES for s in ("masked", "bfv", "paillier")}
    best = min(seconds, key=lambda scheme: seconds[scheme])
    return Recommendation(
        link=link,
        scheme=best,
        unprepared="bfv" if link == LINKS[0] else best,
        reason=f"{best} is the fastest of those that protect: {seconds[best]:.1f} s an epoch.",
        seconds=seconds,
        basis={"masked": "measured", "bfv": "measured", "paillier": "worked out"},
    )


def attacks() -> dict[str, Any]:
    """The committed scores."""
    found: dict[str, Any] = json.loads((RESULTS / "privacy.json").read_text())
    return found


def benchmark(**changes: Any) -> Benchmark:
    """All of it; `changes` are fields."""
    cases = [
        *schemes(),
        *swept("width", [standard(features=d, projection=d) for d in (8, 16, 32, 64, 128, 256, 512)]),
        *swept("batch", [standard(batch=rows) for rows in (16, 32, 64, 128, 256, 512, 1024)]),
        *swept("collaborators", [standard(task="strips", collaborators=count) for count in (1, 2, 3, 4, 6, 8)]),
        *swept("link", [standard(link=link) for link in LINKS]),
    ]
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05Z",
        "command": "secure-hfl bench --all (made up for a test)",
        "machine": {
            "processor": "a processor",
            "cores": 2,
            "python": "3.11.7",
            "multi_buffer": True,
            "bfv_arithmetic": "native, AVX2",
            "packages": {"torch": "2.13.0", "numpy": "2.4.6", "phe": None},
        },
        "parameters": {"bfv": "n = 8192, q of 3 primes", "paillier": "3072 bits"},
        "seed": 7,
        "runs": RUNS,
        "rounds": ROUNDS,
        "cases": tuple(cases),
        "recommendations": tuple(recommendation(link) for link in LINKS),
        "attacks": attacks(),
        "notes": ("paillier was measured over 10 batches.",),
    }
    return Benchmark.model_validate(fields | changes)
