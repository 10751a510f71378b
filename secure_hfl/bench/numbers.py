"""What the report says of a benchmark, worked out from its cases; and figures as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median

from rich.filesize import decimal

from protocols.core.wording import plural
from secure_hfl.bench.model import PLAIN, REFERENCE, WORK, Benchmark, Case, MessageCount, Point, hides_features
from secure_hfl.bench.report.plots import OTHERS, SCHEMES, Look

# Figures as text -----------------------------------------------------------------------------------------------------


def seconds(value: float) -> str:
    """0.0431 -> 43.1 ms, 6.8804 -> 6.88 s."""
    if not isfinite(value):
        return "-"
    if 0 < value < 0.9995:
        return f"{significant(value * 1e3)} ms"
    return f"{significant(value)} s"


def significant(value: float) -> str:
    """Three digits: 6.88, 68.8, 688, 6,880."""
    for limit, digits in ((9.995, 2), (99.95, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def times(value: float) -> str:
    """4.81 -> 4.8, 43.2 -> 43."""
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def two_digits(value: float) -> str:
    """0.1523 -> 0.15, 4.81 -> 4.8, 43.2 -> 43."""
    return f"{value:.2f}" if value < 0.995 else times(value)


def size(value: float) -> str:
    """1920586 -> 1.9 MB."""
    return decimal(round(value))


def percent(value: float | None, digits: int = 2) -> str:
    """0.8615 -> 86.15 %."""
    return "-" if value is None or not isfinite(value) else f"{100 * value:.{digits}f} %"


def difference(value: float | None) -> str:
    """Of losses: 7.89e-05 -> 7.9e-05, infinite -> diverged."""
    if value is None:
        return "-"
    return "diverged" if not isfinite(value) else "0" if value == 0 else f"{value:.1e}"


def listed(items: Sequence[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


# Cases ---------------------------------------------------------------------------------------------------------------


def measured(cases: Iterable[Case]) -> list[Case]:
    """Those with figures, in the order in which schemes are always shown."""
    kept = [case for case in cases if case.samples and all(sample.rounds for sample in case.samples)]
    order = list(SCHEMES)
    return sorted(kept, key=lambda case: order.index(case.scheme) if case.scheme in order else len(order))


def refused(cases: Iterable[Case]) -> list[Case]:
    """Those that cannot be."""
    return [case for case in cases if case.refused]


def looks(benchmark: Benchmark) -> dict[str, Look]:
    """Each scheme's, the same on the whole page."""
    others = [name for name in dict.fromkeys(case.scheme for case in benchmark.cases) if name not in SCHEMES]
    return SCHEMES | {name: OTHERS[at % len(OTHERS)] for at, name in enumerate(others)}


def by_point(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases that can be compared, in the order of the benchmark; `plain` has no width of z, and need not say one."""
    points: dict[Point, list[Case]] = {}
    for case in cases:
        points.setdefault(case.point.model_copy(update={"projection": None}), []).append(case)
    return list(points.values())


def of_scheme(cases: Iterable[Case], scheme: str) -> Case | None:
    """The first of this scheme that has figures."""
    return next((case for case in measured(cases) if case.scheme == scheme), None)


def private(cases: Iterable[Case]) -> list[Case]:
    """Those that hide something, the fastest first."""
    kept = [case for case in measured(cases) if hides_features(case.scheme)]
    return sorted(kept, key=per(kept).time)


def baseline(cases: Iterable[Case]) -> Case | None:
    """What the others are compared with: `plain`, or the same with the layer if that is all there is."""
    kept = list(cases)
    return of_scheme(kept, PLAIN) or of_scheme(kept, REFERENCE)


def against(case: Case, other: Case) -> float | None:
    """Its time over the other's, both by one measure: all of their epochs, by the batch, if both had whole ones; else
    both by `Case.steady_batch_seconds`, as an epoch also has slow first batches and a signature at its end."""
    both_whole = case.is_whole and other.is_whole
    own, others = (each.batch_seconds if both_whole else each.steady_batch_seconds for each in (case, other))
    return own / others if others > 0 else None


def ratio(case: Case, cases: Iterable[Case]) -> float | None:
    """Its time over that of the baseline among `cases`."""
    plain = baseline(cases)
    return None if plain is None else against(case, plain)


@dataclass(frozen=True)
class Per:
    """What figures are shown for: an epoch in seconds, or a batch in milliseconds if not all cases had whole epochs."""

    is_epoch: bool

    @property
    def label(self) -> str:
        """For an axis."""
        return "seconds an epoch" if self.is_epoch else "milliseconds a batch"

    @property
    def one(self) -> str:
        """In a sentence."""
        return "epoch" if self.is_epoch else "batch"

    def scale(self, case: Case) -> float:
        """What a figure of an epoch of `case` is multiplied by."""
        return 1.0 if self.is_epoch else 1e3 / max(1.0, median([each.batches for each in case.rounds]))

    def time(self, case: Case) -> float:
        """The case's figure; of a batch `Case.steady_batch_seconds`, also of whole epochs."""
        return case.epoch_seconds if self.is_epoch else 1e3 * case.steady_batch_seconds

    def written(self, value: float) -> str:
        """With its unit."""
        return seconds(value if self.is_epoch else value / 1e3)


def per(cases: Iterable[Case]) -> Per:
    """What these can all be compared by."""
    return Per(all(case.is_whole for case in cases))


def epoch(case: Case, cases: Iterable[Case]) -> float | None:
    """Its seconds; of a case that had only a part of one, its median batch times the batches of the others' epoch."""
    if case.is_whole:
        return case.epoch_seconds
    count = _epoch_batches(cases)
    return None if count is None else case.batch_seconds * count


OFFLINE = (
    "processor seconds of what is done before training or in the background (keys, masks, randomness); for masked, the "
    "wall seconds of making triples with the other party, the test set's as well; of the party that spent most"
)
"""What `ahead` counts, and `Case.offline_seconds`."""


def ahead(case: Case, cases: Iterable[Case]) -> float:
    """Seconds of work ahead of an epoch, likewise; of a batch, where no case had a whole epoch."""
    own = median([each.batches for each in case.rounds])
    return case.offline_seconds * (1.0 if case.is_whole else (_epoch_batches(cases) or 1.0) / max(1.0, own))


def _epoch_batches(cases: Iterable[Case]) -> float | None:
    counts = [each.batches for other in measured(cases) if other.is_whole for each in other.rounds]
    return median(counts) if counts else None


def accuracy(case: Case) -> float | None:
    """Of the last round, the median over runs."""
    found = [sample.rounds[-1].accuracy for sample in case.samples]
    known = [value for value in found if value is not None and isfinite(value)]
    return median(known) if known else None


def curve(case: Case, figure: str) -> list[tuple[float, float]]:
    """`accuracy` or `loss` of each round over the seconds of training up to its end; medians over runs."""
    passed, points = 0.0, []
    for number in range(min(len(sample.rounds) for sample in case.samples)):
        own = [sample.rounds[number] for sample in case.samples]
        passed += median([each.train_seconds for each in own])
        known = [value for value in (getattr(each, figure) for each in own) if value is not None and isfinite(value)]
        if known:
            points.append((passed, median(known)))
    return points


def parity(case: Case, reference: Case | None) -> float | None:
    """The largest difference of a batch's loss from the reference's in the first epoch, over all runs.

    Infinite where only one of the two has a finite loss, or a loss at all. None: there is nothing to compare.
    """
    if reference is None or case is reference:
        return None
    differences: list[float] = []
    for own, other in zip(case.samples, reference.samples, strict=False):
        first = min(own.rounds[0].batches, other.rounds[0].batches)
        differences += _apart(own.batch_losses[:first], other.batch_losses[:first])
    return max(differences, default=None)


def _apart(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Iterator[float]:
    """JSON has null for a loss that is not finite: it is the same as none."""
    if len(ours) != len(theirs):
        yield inf
    for pair in zip(ours, theirs, strict=False):
        finite = [value for value in pair if value is not None and isfinite(value)]
        if finite:
            yield inf if len(finite) == 1 else abs(finite[0] - finite[1])


def typical_work(case: Case) -> dict[str, dict[str, float]]:
    """Where the epoch of median length spent its time, by party; the parts of one epoch add up."""
    known = sorted((each for each in case.rounds if each.work), key=lambda each: each.train_seconds)
    return known[(len(known) - 1) // 2].work if known else {}


def work_totals(case: Case) -> dict[str, float]:
    """Seconds by kind, all parties together, without waiting."""
    totals = dict.fromkeys(WORK, 0.0)
    for own in typical_work(case).values():
        for kind, value in own.items():
            totals[kind] = totals.get(kind, 0.0) + value
    totals.pop("wait", None)
    return totals


def messages(case: Case) -> list[MessageCount]:
    """By type, the median over runs; most bytes first."""
    types = dict.fromkeys(count.type for sample in case.samples for count in sample.messages)
    found = []
    for name in types:
        own = [count for sample in case.samples for count in sample.messages if count.type == name]
        middle = {
            field: round(median([getattr(count, field) for count in own]))
            for field in ("sent", "sent_bytes", "received", "received_bytes")
        }
        found.append(MessageCount(type=name, **middle))
    return sorted(found, key=lambda count: -count.bytes)


def memory(case: Case) -> dict[str, float]:
    """Peak MB by party, the median over runs; the host first."""
    names = dict.fromkeys(name for sample in case.samples for name in sample.peak_mb)
    ordered = sorted(names, key=lambda name: name != "host")
    return {name: median([s.peak_mb[name] for s in case.samples if name in s.peak_mb]) for name in ordered}


def describe(point: Point) -> str:
    """A point in words."""
    parts = [point.task]
    if point.features is not None:
        wide = f"d = {point.features}"
        parts.append(f"{wide} to o = {point.projection}" if point.projection is not None else wide)
    if point.batch is not None:
        parts.append(f"{plural(point.batch, 'sample')} a batch")
    return ", ".join([*parts, plural(point.collaborators, "collaborator"), point.link.name])
