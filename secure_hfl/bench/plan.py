"""What a benchmark is going to measure: which schemes, at which points, over how many batches.

Every series goes through the point that the others go through as well, and a point is measured once for all of them.
What would take too long is cut short or left out, and the plan's notes say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from secure_hfl.bench.model import LINKS, ONE_PROCESS, PLAIN, REFERENCE, LinkProfile, Point, Sweep
from secure_hfl.errors import ConfigurationError
from secure_hfl.examples.catalogue import Example, Script, find, mnist_strips

ALL = "all"
DEFAULT_SCHEMES = (PLAIN, "masked", "bfv")
SLOW_BATCHES = {"paillier": 8}
"""Of the standard point, where a whole epoch takes a minute and more."""

SCRIPT = "script"
TUTORIAL = "mnist_halves"
STRIPS = "mnist_strips"

SWEEPS: tuple[Sweep, ...] = ("rounds", "width", "batch", "collaborators", "link")
CURVE_ROUNDS = 5
"""For curves of accuracy. Epochs are compared by single ones: on shared cores, "masked" waits for masks later on."""
WIDTHS = (8, 20, 32, 64, 128, 256, 512)
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
COLLABORATORS = (1, 2, 4, 8)
FEATURES, BATCH = 20, 128
SWEEP_BATCHES, WIDE, WIDE_BATCHES = 12, 128, 6
"""From features this wide on, a batch of the encrypted schemes takes seconds."""
LINK_BATCHES = 20
SLOW_LIMIT = Point(task=STRIPS, features=32, projection=32, batch=256, collaborators=2)
"""Slow schemes are swept up to here."""


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Args:
        schemes: names of schemes, or "all".
        task: an example's name.
        scripts: instead of a task: the host's, then every collaborator's.
        batches: at most so many a round, at every point; None: what the plan thinks right.
        links: to measure all schemes at.
        sweeps: further series.
        has_reference: with "plain + projection", which parity is against.
        has_one_process: with the same models in one process, where the task is the tutorial's.
        is_whole: whole epochs at the standard point, also of slow schemes.
    """

    schemes: tuple[str, ...] = DEFAULT_SCHEMES
    task: str = TUTORIAL
    scripts: tuple[Path, ...] = ()
    batches: int | None = None
    links: tuple[LinkProfile, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    has_reference: bool = True
    has_one_process: bool = True
    is_whole: bool = False


@dataclass(frozen=True)
class Job:
    """One case to measure, and the series that it belongs to.

    Args:
        rounds: of training; None: as many as the user wants, 1 by default.
        asks_for_projection: the host is told to have the layer, of the widths that its script says.
    """

    scheme: str
    point: Point
    batches: int | None
    scripts: tuple[Script, ...]
    sweeps: tuple[Sweep, ...]
    asks_for_projection: bool = False
    rounds: int | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether every run measures it; a series is measured in the first run."""
        return "schemes" in self.sweeps

    @property
    def registered(self) -> str:
        """What the parties run."""
        return PLAIN if self.scheme == REFERENCE else self.scheme


@dataclass(frozen=True)
class Plan:
    """All jobs in the order in which each run goes through them.

    Args:
        epoch_batches: how many batches a whole epoch has at the standard point, if that is known.
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    epoch_batches: int | None

    def measurements(self, runs: int) -> int:
        """How many there are to make."""
        return sum(runs if job.is_repeated else 1 for job in self.jobs)


def make_plan(request: Request) -> Plan:
    """Lay out a request.

    Raises:
        ConfigurationError: a scheme or a task that there is not, a script too few, or a library of the task is missing.
    """
    schemes = _schemes(request.schemes)
    example = _example(request)
    standard = _standard_point(request, example)
    jobs = [*_side_by_side(request, schemes, example, standard)]
    if "rounds" in request.sweeps:
        jobs += [
            replace(job, sweeps=("rounds",), rounds=CURVE_ROUNDS)
            for job in jobs
            if job.scheme != ONE_PROCESS and job.scheme not in SLOW_BATCHES
        ]
    if request.links or "link" in request.sweeps:
        jobs += _links(request, schemes, example, standard)
    jobs += _strips(request, schemes)
    return Plan(tuple(_merged(jobs)), tuple(_notes(request, schemes)), example.batches or None)


def _schemes(names: Iterable[str]) -> tuple[str, ...]:
    from secure_hfl.schemes import load_scheme, scheme_names

    known = scheme_names()
    asked = [each for name in names for each in (sorted(known, key=_order) if name == ALL else [name])]
    for name in asked:
        load_scheme(name)
    return tuple(dict.fromkeys(asked))


def _order(name: str) -> tuple[bool, int]:
    """The slow ones last."""
    return name in SLOW_BATCHES, DEFAULT_SCHEMES.index(name) if name in DEFAULT_SCHEMES else len(DEFAULT_SCHEMES)


def _example(request: Request) -> Example:
    if not request.scripts:
        example = find(request.task)
        example.check_library()
        return example
    if len(request.scripts) < 2:
        raise ConfigurationError("--script takes the host's script, and one or more collaborators'")
    # A task of several collaborators calls each by its feature_key, which stands in a script's name here.
    are_several = len(request.scripts) > 2
    host, *others = (Script(path.resolve(), name=path.stem if are_several else "") for path in request.scripts)
    # Only the scripts know how many samples there are.
    return Example(SCRIPT, host, tuple(others), (), train_ids=0, test_ids=0, classes=0, batch_size=1)


def _standard_point(request: Request, example: Example) -> Point:
    """Widths and batch size as far as this program knows them."""
    known = example.name in (TUTORIAL, STRIPS)
    return Point(
        task=example.name,
        features=FEATURES if known else None,
        projection=FEATURES if known else None,
        batch=None if request.scripts else example.batch_size,
        collaborators=len(example.collaborators),
    )


def _side_by_side(request: Request, schemes: tuple[str, ...], example: Example, point: Point) -> Iterable[Job]:
    names = list(schemes)
    if request.has_reference and any(name != PLAIN for name in names):
        names.insert(names.index(PLAIN) + 1 if PLAIN in names else 0, REFERENCE)
    if request.has_one_process and example.name == TUTORIAL:
        names.insert(0, ONE_PROCESS)
    for name in names:
        short = None if request.is_whole else SLOW_BATCHES.get(name)
        limit = _limit(example, request.batches or short)
        asks = name == REFERENCE
        yield Job(name, point, limit, example.scripts, ("schemes",), asks)


def _links(request: Request, schemes: tuple[str, ...], example: Example, standard: Point) -> Iterable[Job]:
    for link in dict.fromkeys((*(LINKS if "link" in request.sweeps else ()), *request.links)):
        for name in schemes:
            limit = _limit(example, request.batches or SLOW_BATCHES.get(name, LINK_BATCHES))
            yield Job(name, standard.model_copy(update={"link": link}), limit, example.scripts, ("link",))


def _strips(request: Request, schemes: tuple[str, ...]) -> Iterable[Job]:
    """Along one parameter each, on MNIST in strips, without tests."""
    series: dict[Sweep, list[Point]] = {
        "width": [_strips_point(features=width, projection=width) for width in WIDTHS],
        "batch": [_strips_point(batch=batch) for batch in BATCHES],
        "collaborators": [_strips_point(collaborators=count) for count in COLLABORATORS],
    }
    for sweep in request.sweeps:
        for point in series.get(sweep, []):
            features, batch = point.features or FEATURES, point.batch or BATCH
            example = mnist_strips(1 + point.collaborators, None, features, batch, tests=False)
            example.check_library()
            limit = request.batches or (WIDE_BATCHES if features >= WIDE else SWEEP_BATCHES)
            full = max(1, example.train_ids // batch)  # the last batch of an epoch may be a small one
            for name in schemes:
                if name not in SLOW_BATCHES or _is_within(point, SLOW_LIMIT):
                    short = min(limit, full, SLOW_BATCHES.get(name, limit))
                    yield Job(name, point, short, example.scripts, (sweep,))


def _strips_point(
    features: int = FEATURES, projection: int = FEATURES, batch: int = BATCH, collaborators: int = 1
) -> Point:
    return Point(task=STRIPS, features=features, projection=projection, batch=batch, collaborators=collaborators)


def _is_within(point: Point, limit: Point) -> bool:
    return all(
        (getattr(point, name) or 0) <= (getattr(limit, name) or 0) for name in ("features", "batch", "collaborators")
    )


def _limit(example: Example, batches: int | None) -> int | None:
    """None where the epoch is no longer than that."""
    known = example.train_ids > 0
    return None if batches is None or (known and batches >= example.batches) else batches


def _merged(jobs: Iterable[Job]) -> Iterable[Job]:
    """The same scheme at the same point, over as many batches, is measured once for all series (they have no tests)."""
    found: dict[tuple[str, Point, int | None, bool, int | None], Job] = {}
    for job in jobs:
        key = (job.scheme, job.point, job.batches, job.is_repeated, job.rounds or 1)
        before = found.get(key)
        found[key] = job if before is None else replace(before, sweeps=(*before.sweeps, *job.sweeps))
    return found.values()


def _notes(request: Request, schemes: tuple[str, ...]) -> Iterable[str]:
    for name, batches in SLOW_BATCHES.items():
        if name not in schemes and request.schemes == DEFAULT_SCHEMES:
            yield (
                f"{name} is not measured: an epoch of the tutorial's task takes about a minute. "
                f"--schemes {ALL} adds {batches} batches of it, with --whole the epoch."
            )
        elif name in schemes and not request.is_whole and request.batches is None:
            yield (
                f"{name} runs {batches} batches a round, not an epoch: its figures are those of a batch. "
                "--whole measures the epoch."
            )
    if any(name in schemes for name in SLOW_BATCHES) and set(request.sweeps) - {"rounds", "link"}:
        yield (
            f"{', '.join(SLOW_BATCHES)} is swept up to {SLOW_LIMIT.features} features, batches of {SLOW_LIMIT.batch} "
            f"and {SLOW_LIMIT.collaborators} collaborators: beyond, a batch takes many seconds."
        )
    if request.sweeps:
        yield "Series are measured in the first run only."
    if set(request.sweeps) - {"rounds", "link"} and request.batches is None:
        yield (
            f"Along width, batch and collaborators a round has {SWEEP_BATCHES} batches ({WIDE_BATCHES} from {WIDE} "
            "features on) and no test; its first two batches do not count."
        )
    if (request.links or "link" in request.sweeps) and request.batches is None:
        yield f"Over links a round has {LINK_BATCHES} batches, or fewer; the first two do not count."
