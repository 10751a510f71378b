"""The report's series: the time along one parameter, for each scheme, and against `plain`; refusals are marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from protocols.core.wording import plural
from secure_hfl.bench.model import PLAIN, Benchmark, Case, LinkProfile, Sweep
from secure_hfl.bench.numbers import (
    against,
    by_point,
    listed,
    measured,
    of_scheme,
    refused,
    significant,
    two_digits,
)
from secure_hfl.bench.report import plots
from secure_hfl.bench.report.plots import Line, Look, Scale, spreads
from secure_hfl.pages import pieces

TIMES_APART = 8.0
"""Places on an axis that is logarithmic are further apart."""

TIMES = "\N{MULTIPLICATION SIGN}"


def _per_batch(case: Case) -> float:
    return 1e3 * case.batch_seconds


def _per_samples(case: Case) -> float:
    return 1e3 * case.batch_seconds / (case.point.batch or 1)


def _link_place(case: Case) -> float:
    """The time of a round trip with a megabyte: only their order is shown."""
    link = case.point.link
    return (link.round_trip_milliseconds or 0.0) / 1e3 + (8 / link.megabits if link.megabits else 0.0)


@dataclass(frozen=True)
class _Along:
    """A series.

    Args:
        before: what is written before a place: "at d =" 64.
        label: of the axis.
        place: a case's place on it, if it has one.
        what: takes the time.
        unit: of the time.
        value: a case's time.
    """

    before: str
    label: str
    place: Callable[[Case], float | None]
    what: str = "A batch"
    unit: str = "milliseconds a batch"
    value: Callable[[Case], float] = _per_batch


SERIES: dict[Sweep, _Along] = {
    "width": _Along("at d =", "width of the features, d", lambda case: case.point.features),
    "batch": _Along(
        *("in batches of", "samples a batch", lambda case: case.point.batch),
        *("1,000 samples", "seconds for 1,000 samples", _per_samples),
    ),
    "collaborators": _Along("with", "collaborators", lambda case: case.point.collaborators),
    "link": _Along("over", "link", _link_place),
}


def series(benchmark: Benchmark, sweep: Sweep, colours: Mapping[str, Look]) -> Markup:
    """One series: the time itself, and against `plain` at the same place; and what could not be measured."""
    line_of = SERIES[sweep]
    along, unit, value = line_of.place, line_of.unit, line_of.value
    cases = [case for case in _cases(benchmark, sweep) if along(case) is not None]
    kept = measured(cases)
    if not kept:
        return Markup()
    ticks = _ticks(sweep, cases)
    schemes = list(dict.fromkeys(case.scheme for case in [*kept, *refused(cases)]))
    absolute, relative = [], []
    for scheme in schemes:
        own = [case for case in kept if case.scheme == scheme]
        gone = [at for case in refused(cases) if case.scheme == scheme and (at := along(case)) is not None]
        points = sorted((along(case) or 0.0, value(case)) for case in own)
        absolute.append(Line(scheme, colours[scheme], points, gone))
        beside = sorted((along(case) or 0.0, r) for case in own if (r := _beside(case, cases)) is not None)
        if beside:
            relative.append(Line(scheme, colours[scheme], beside, gone))
    drawn = [_series_plot(sweep, f"{sweep}-time", absolute, ticks, unit, _series_title(sweep, absolute, ticks))]
    if any(line.name != PLAIN for line in relative):
        title = _relative_title(relative)
        drawn.append(_series_plot(sweep, f"{sweep}-ratio", relative, ticks, "times plain", title))
    key = pieces.legend([(line.name, line.look) for line in absolute] if sweep == "link" else [])
    shown = pieces.group("plots", pieces.many(drawn))
    return pieces.many([pieces.note(_where(kept, sweep)), key, shown, _why_refused(cases, sweep)])


def _cases(benchmark: Benchmark, sweep: Sweep) -> list[Case]:
    """Those of the series; of links, also without one, if it was measured among the schemes only."""
    own = list(benchmark.of(sweep))
    if sweep != "link":
        return own
    schemes = {case.scheme for case in own}
    fixed = [case.point.model_copy(update={"link": LinkProfile(name="")}) for case in own]
    has = {case.scheme for case in own if not case.point.link.is_shaped}
    return own + [
        case
        for case in benchmark.of("schemes")
        if case.scheme in schemes - has and case.point.model_copy(update={"link": LinkProfile(name="")}) in fixed
    ]


def _ticks(sweep: Sweep, cases: Sequence[Case]) -> list[tuple[float, str]]:
    along = SERIES[sweep].place
    named = {along(case) or 0.0: case.point.link.name if sweep == "link" else f"{along(case):g}" for case in cases}
    return sorted(named.items())


def _beside(case: Case, cases: Sequence[Case]) -> float | None:
    """Its time over that of `plain` at the same place."""
    group = next(each for each in by_point(cases) if case in each)
    plain = of_scheme(group, PLAIN)
    return None if plain is None else against(case, plain)


def _series_plot(
    sweep: Sweep, name: str, found: Sequence[Line], ticks: Sequence[tuple[float, str]], unit: str, title: str
) -> Markup:
    label = SERIES[sweep].label
    values = [value for line in found for _, value in line.points]
    y = Scale(unit, spreads(values, 4.0))
    places = dict(ticks)
    alt = f"{unit} against {label}. {title}. " + "; ".join(
        f"{line.name}: "
        + listed([f"{significant(value)} at {places[at]}" for at, value in line.points])
        + (f", refused at {listed([places[at] for at in line.refused])}" if line.refused else "")
        for line in found
        if line.points or line.refused
    )
    if sweep == "link":
        names = [tick for _, tick in ticks]
        row = {at: number for number, (at, _) in enumerate(ticks)}
        turned = [
            Line(line.name, line.look, [(v, row[at]) for at, v in line.points], [row[at] for at in line.refused])
            for line in found
        ]
        drawn = plots.dots(name, alt, names, turned, y)
    else:
        x = Scale(label, spreads([at for at, _ in ticks], TIMES_APART), ticks)
        drawn = plots.lines(name, alt, found, x, y, with_names=True)
    rows = []
    for line in found:
        own = dict(line.points)
        marks = {at: "refused" for at in line.refused}
        rows.append([line.name, *(significant(own[at]) if at in own else marks.get(at, "") for at, _ in ticks)])
    return pieces.figure(title, drawn, pieces.numbers(["scheme", *(f"{tick}#" for _, tick in ticks)], rows))


def _series_title(sweep: Sweep, found: Sequence[Line], ticks: Sequence[tuple[float, str]]) -> str:
    """Each scheme's time at the last place that it has, over that at the first."""
    before, what = SERIES[sweep].before, SERIES[sweep].what
    places = dict(ticks)
    said = []
    for line in found:
        if len(line.points) > 1 and line.points[0][1] > 0 and line.points[0][0] == ticks[0][0]:
            (_, first), (end, last) = line.points[0], line.points[-1]
            until = "" if end == ticks[-1][0] else f" ({before.split()[0]} {places[end]})"
            said.append(f"{line.name} {two_digits(last / first)} {TIMES}{until}")
    if not said:
        return "; ".join(f"{line.name} {significant(line.points[0][1])}" for line in found if line.points)
    against = f"{before} {places[ticks[-1][0]]} against {places[ticks[0][0]]}"
    return f"{what} {against}{' collaborators' if sweep == 'collaborators' else ''}: {', '.join(said)}"


def _relative_title(found: Sequence[Line]) -> str:
    """The range of each scheme's ratio."""
    said = []
    for line in found:
        if line.name != PLAIN:
            values = [value for _, value in line.points]
            low, high = two_digits(min(values)), two_digits(max(values))
            said.append(f"{line.name} {low}{'' if low == high else f' to {high}'} {TIMES}")
    return f"Against plain at the same place: {', '.join(said)}"


def _where(cases: Sequence[Case], sweep: Sweep) -> str:
    """What was kept fixed."""
    point = cases[0].point
    facts = {
        "width": f"d = {point.features}" if point.features is not None else "",
        "batch": f"{plural(point.batch, 'sample')} a batch" if point.batch is not None else "",
        "collaborators": plural(point.collaborators, "collaborator"),
        "link": point.link.name,
    }
    own = [fact for name, fact in facts.items() if name != sweep and fact]
    return f"{point.task}, with {listed(own)}."


def _why_refused(cases: Sequence[Case], sweep: Sweep) -> Markup:
    before, along = SERIES[sweep].before, SERIES[sweep].place
    names, places = dict(_ticks(sweep, cases)), dict[tuple[str, str], list[float]]()
    for case in refused(cases):
        places.setdefault((case.scheme, case.refused), []).append(along(case) or 0.0)
    items = []
    for (scheme, why), own in places.items():
        where = f"refuses {before} {listed([names[at] for at in sorted(own)])}: {why}"
        items.append(pieces.refusal(scheme, where))
    return pieces.bullets(items, "small refused")
