"""The report's sections on time, bytes and memory. Each is "" where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from markupsafe import Markup

from protocols.core.wording import plural
from secure_hfl.bench.model import PLAIN, REFERENCE, WORK, Benchmark, Case, Sweep
from secure_hfl.bench.numbers import (
    OFFLINE,
    Per,
    baseline,
    by_point,
    curve,
    describe,
    listed,
    measured,
    memory,
    messages,
    of_scheme,
    per,
    percent,
    private,
    ratio,
    seconds,
    significant,
    size,
    times,
    typical_work,
    work_totals,
)
from secure_hfl.bench.report import plots
from secure_hfl.bench.report.plots import WORK_COLOURS, Line, Look, Row, Scale, spreads
from secure_hfl.bench.report.svg import INK, OCHRE
from secure_hfl.pages import pieces
from secure_hfl.schemes import offline_messages

Looks = Mapping[str, Look]
TIMES = "\N{MULTIPLICATION SIGN}"
MOST_TYPES = 7
IN_WORDS = {
    "bottom forward": "the bottom models' forward pass",
    "top": "the top model",
    "backward and step": "backward passes and steps",
    "encrypt": "encryption",
    "product": "products",
    "decrypt": "decryption",
    "scheme, other": "other work of the scheme",
    "serialise": "serialisation",
}
TIMES_APART = 8.0
"""An axis is logarithmic where figures are further apart."""


def each_group(benchmark: Benchmark, content: Callable[[list[Case], str], Markup], sweep: Sweep = "schemes") -> Markup:
    """The content of each set of schemes that were measured at one point, with a heading where there are several."""
    groups = [group for group in by_point(benchmark.of(sweep)) if measured(group)]
    made = [(group[0], content(group, f"{sweep}{number}")) for number, group in enumerate(groups)]
    filled = [(case, each) for case, each in made if each]
    if len(groups) < 2:
        return pieces.many([each for _, each in filled])
    return pieces.many([part for case, each in filled for part in (pieces.subheading(describe(case.point)), each)])


# Accuracy against time -----------------------------------------------------------------------------------------------


def learning(group: list[Case], name: str, colours: Looks) -> Markup:
    """Accuracy and loss over seconds of training."""
    cases = [case for case in measured(group) if case.is_whole]
    drawn = []
    for what, label in (("accuracy", "accuracy on the test set, %"), ("loss", "loss on the test set")):
        found = {case.scheme: curve(case, what) for case in cases}
        factor = 100 if what == "accuracy" else 1
        series = [
            Line(scheme, colours[scheme], [(at, value * factor) for at, value in points])
            for scheme, points in found.items()
            if points
        ]
        if not series:
            continue
        ends = [line.points[-1][0] for line in series]
        x = Scale("seconds of training, summed over rounds", spreads(ends, TIMES_APART))
        title = _learning_title(what, series)
        alt = f"{what} against seconds of training: {listed([_end_of(line, what) for line in series])}"
        drawn_svg = plots.lines(f"{name}-{what}", alt, series, x, Scale(label), with_names=False)
        rows = [
            [line.name, number, significant(at), percent(value / 100) if what == "accuracy" else f"{value:.4g}"]
            for line in series
            for number, (at, value) in enumerate(line.points, 1)
        ]
        below = pieces.numbers(("scheme", "round#", "seconds#", f"{what}#"), rows)
        drawn.append(pieces.figure(title, drawn_svg, below))
    shown = pieces.legend([(case.scheme, colours[case.scheme]) for case in cases] if drawn else [])
    return pieces.many([shown, pieces.group("plots", pieces.many(drawn))])


def _end_of(line: Line, what: str) -> str:
    at, value = line.points[-1]
    shown = percent(value / 100) if what == "accuracy" else f"{value:.4g}"
    return f"{line.name} {shown} after {seconds(at)}"


def _learning_title(what: str, series: Sequence[Line]) -> str:
    """How far apart the schemes end, and when."""
    ends = {line.name: line.points[-1] for line in series}
    if len(ends) == 1:
        return _end_of(series[0], what)
    rounds = plural(max(len(line.points) for line in series), "round")
    values = [value for _, value in ends.values()]
    difference = max(values) - min(values)
    if what == "loss":
        return f"After {rounds} the losses are {f'{difference:.2g} apart' if difference else 'the same'}"
    slow = max(ends, key=lambda name: ends[name][0])
    fast = PLAIN if PLAIN in ends else min(ends, key=lambda name: ends[name][0])
    longer = f"; {slow} takes {times(ends[slow][0] / ends[fast][0])} {TIMES} as long as {fast}" if slow != fast else ""
    return f"After {rounds} the schemes are {difference:.2f} points of accuracy apart{longer}"


# Where the time goes -------------------------------------------------------------------------------------------------


def breakdown(group: list[Case], name: str) -> Markup:
    """Bars of work, a bar for each party of each scheme: in seconds, and as shares where schemes are far apart."""
    cases = [case for case in measured(group) if typical_work(case)]
    if not cases:
        return Markup()
    unit = per(cases)
    kinds = [kind for kind in _kinds(cases) if any(kind in own for c in cases for own in typical_work(c).values())]
    rows = list(_work_rows(cases, kinds, unit, is_share=False))
    title = _work_title(cases, group)
    alt = f"{unit.label} by kind of work, for each party. {title}. " + "; ".join(
        f"{case.scheme}: {listed([f'{kind} {_share(value, case)}' for kind, value in _largest(work_totals(case), 3)])}"
        for case in cases
    )
    drawn = [pieces.figure(title, plots.bars(f"{name}-work", alt, rows, unit.label, plots.WIDE))]
    if spreads([unit.time(case) for case in cases], TIMES_APART):
        shares = list(_work_rows(cases, kinds, unit, is_share=True))
        alt = f"The same as shares of each party's time. {title}"
        drawn_svg = plots.bars(f"{name}-shares", alt, shares, "% of the time", plots.WIDE)
        drawn.append(pieces.figure(f"The same, each {unit.one} as 100 %", drawn_svg))
    key = pieces.legend([(kind, Look(_colour(kind))) for kind in kinds])
    heads = ["", *(f"{kind}#" for kind in kinds), "total#"]
    figures = pieces.numbers(heads, list(_work_figures(cases, kinds, unit)))
    note = pieces.note("" if unit.is_epoch else "Of all batches that were run, the slow first ones included.")
    return pieces.many([key, pieces.group("stack", pieces.many(drawn)), note, figures])


def _kinds(cases: Sequence[Case]) -> list[str]:
    """Those that we know, then others."""
    return list(dict.fromkeys([*WORK, *(k for case in cases for own in typical_work(case).values() for k in own)]))


def _colour(kind: str) -> str:
    return WORK_COLOURS.get(kind, WORK_COLOURS["other"])


def _share(value: float, case: Case) -> str:
    return f"{percent(value / (sum(work_totals(case).values()) or 1), 0)} of the work"


def _work_rows(cases: Sequence[Case], kinds: Sequence[str], unit: Per, is_share: bool) -> Iterator[Row]:
    for case in cases:
        yield Row(case.scheme)
        for party, own in typical_work(case).items():
            total = sum(own.values())
            factor = 100 / total if is_share and total > 0 else unit.scale(case)
            parts = [(kind, own[kind] * factor, _colour(kind)) for kind in kinds if own.get(kind, 0) > 0]
            yield Row(party, parts, "" if is_share else unit.written(total * factor))


def _work_figures(cases: Sequence[Case], kinds: Sequence[str], unit: Per) -> Iterator[list[object]]:
    for case in cases:
        factor = unit.scale(case)
        for party, own in typical_work(case).items():
            values = [significant(own[kind] * factor) if kind in own else "" for kind in kinds]
            yield [f"{case.scheme}: {party}", *values, significant(sum(own.values()) * factor)]


def _largest(totals: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    return sorted(totals.items(), key=lambda pair: -pair[1])[:count]


def _work_title(cases: Sequence[Case], group: Sequence[Case]) -> str:
    """What each private scheme adds to `plain`, and most of what that is."""
    plain = baseline(cases)
    before = work_totals(plain) if plain is not None else {}
    said = []
    for case in private(cases):
        added = {kind: value - before.get(kind, 0.0) for kind, value in work_totals(case).items()}
        total = sum(value for value in added.values() if value > 0)
        if total <= 0:
            continue
        kind, most = _largest(added, 1)[0]
        against = ratio(case, group)
        costs = f" costs {times(against)} {TIMES} {plain.scheme}," if against and plain else ":"
        whole = "what it adds" if plain else "its work"
        said.append(f"{case.scheme}{costs} {percent(most / total, 0)} of {whole} is {IN_WORDS.get(kind, kind)}")
    return "; ".join(said) or "Where an epoch's time goes"


# Ahead of training, and during it ------------------------------------------------------------------------------------


def offline(group: list[Case], name: str) -> Markup:
    """What is done in the epoch, and what ahead of or beside it; and what is done once a run."""
    cases = measured(group)
    once = [
        [case.scheme, *(seconds(value) if value else "-" for value in _once(case))]
        for case in cases
        if any(_once(case))
    ]
    both = [case for case in cases if case.offline_seconds > 0]
    drawn = [_offline_figure(cases, both, name)] if both else []
    if once:
        heads = ("scheme", "set-up#", "intersection of the ids#", "the whole run#")
        table = [pieces.subheading("Once a run"), pieces.table(heads, once, "narrow")]
        drawn.append(pieces.group("beside", pieces.many(table)))
    note = pieces.note(f"Ahead: {OFFLINE}." if both else "")
    return pieces.many([pieces.group("plots", pieces.many(drawn)), note])


def _offline_figure(cases: Sequence[Case], both: Sequence[Case], name: str) -> Markup:
    unit = per(cases)
    during = {case.scheme: unit.time(case) for case in cases}
    before = {case.scheme: case.offline_seconds * unit.scale(case) for case in both}
    names = list(during)
    series = (
        Line(f"in the {unit.one}", Look(INK, "o"), [(during[each], names.index(each)) for each in names]),
        Line("ahead of it, or beside it", Look(OCHRE, "D"), [(before[each], names.index(each)) for each in before]),
    )
    most = max(before, key=lambda each: before[each] / during[each])
    factor = before[most] / during[most]
    title = f"{most} prepares {unit.written(before[most])} for each {unit.one} of {unit.written(during[most])}"
    title += f", {times(factor)} times as much" if factor >= 1.05 else ""
    alt = f"{title}. " + "; ".join(
        f"{each}: {unit.written(during[each])} in the {unit.one}, {unit.written(before.get(each, 0.0))} ahead"
        for each in names
    )
    scale = Scale(unit.label, spreads([*during.values(), *before.values()], TIMES_APART))
    drawn = plots.dots(f"{name}-offline", alt, names, series, scale)
    rows = [[each, significant(during[each]), significant(before.get(each, 0.0))] for each in names]
    key = pieces.legend([(line.name, line.look) for line in series])
    table = pieces.numbers(("scheme", f"{unit.label}#", "ahead#"), rows)
    return pieces.figure(title, drawn, pieces.many([key, table]))


def _once(case: Case) -> list[float]:
    return [median([getattr(s, f) for s in case.samples]) for f in ("setup_seconds", "psi_seconds", "seconds")]


# Bytes and messages --------------------------------------------------------------------------------------------------


def traffic(group: list[Case], name: str, colours: Looks) -> Markup:
    """Messages and round trips as a table, and a plot of each scheme's bytes by type of message."""
    cases = [case for case in measured(group) if messages(case)]
    if not cases:
        return Markup()
    shown = [case for case in cases if case.scheme != REFERENCE or of_scheme(cases, PLAIN) is None]
    drawn = [_types(case, f"{name}-bytes{at}", colours[case.scheme]) for at, case in enumerate(shown)]
    note = (
        "Below: bytes of a whole run, intersection and test rounds included, as the host counts them. Dark: what it "
        "sends; pale: what it receives. Each plot has a scale of its own."
    )
    return pieces.many([_counts(cases, colours), pieces.note(note), pieces.group("plots", pieces.many(drawn))])


def _counts(cases: Sequence[Case], colours: Looks) -> Markup:
    def row(case: Case) -> list[object]:
        found = messages(case)
        counts = (sum(each.sent for each in found), sum(each.received for each in found))
        total = (sum(each.sent_bytes for each in found), sum(each.received_bytes for each in found))
        values = [f"{value:,}" for value in counts] + [size(value) for value in total]
        values += [size(case.bytes_per_batch), f"{case.round_trips_per_batch:.3g}"]
        return [pieces.many([pieces.swatch(colours[case.scheme]), case.scheme]), *values]

    heads = ("scheme", "messages sent#", "received#", "bytes sent#", "received#", "bytes a batch#", "waits a batch#")
    note = (
        "At the host, over the run; bytes a batch: of the round with the fewest. A wait is a round trip that the host "
        "cannot go on without."
    )
    return pieces.many([pieces.table(heads, [row(case) for case in cases]), pieces.note(note)])


def _types(case: Case, name: str, look: Look) -> Markup:
    found = messages(case)
    total = sum(each.bytes for each in found)
    top = found[:MOST_TYPES]
    rest = found[MOST_TYPES:]
    unit, letters = (1e6, "MB") if top[0].bytes >= 1e6 else (1e3, "kB")
    rows = []
    offline = offline_messages(case.scheme)
    triples = [
        (each.type + (" (ahead)" if each.type in offline else ""), each.sent_bytes, each.received_bytes) for each in top
    ]
    if rest:
        both = sum(each.sent_bytes for each in rest), sum(each.received_bytes for each in rest)
        triples.append((plural(len(rest), "other type"), *both))
    for kind, sent, received in triples:
        parts = [("", sent / unit, look.colour), ("", received / unit, _pale(look.colour))]
        rows.append(Row(kind, parts, size(sent + received)))
    first = found[0]
    part = first.bytes / total if total else 0.0
    title = f"{case.scheme}: {size(total)}, {percent(part, 0)} of them {first.type}" + (
        ", made ahead" if first.type in offline else ""
    )
    alt = f"Bytes by type of message. {title}; then " + listed(
        [f"{each.type} {size(each.bytes)}" for each in top[1:]] or ["nothing"]
    )
    drawn = plots.bars(name, alt, rows, f"{letters} a run", with_parts=False)
    every = [
        [each.type, f"{each.sent:,}", f"{each.sent_bytes:,}", f"{each.received:,}", f"{each.received_bytes:,}"]
        for each in found
    ]
    heads = ("type", "sent#", "bytes sent#", "received#", "bytes received#")
    return pieces.figure(title, drawn, pieces.numbers(heads, every))


def _pale(colour: str) -> str:
    """Halfway to a middle grey: lighter on a light page, and still there on a dark one."""
    mixed = (round(0.45 * int(colour[at : at + 2], 16) + 0.55 * 0xD2) for at in (1, 3, 5))
    return "#" + "".join(f"{value:02x}" for value in mixed)


# Memory --------------------------------------------------------------------------------------------------------------


def peaks(group: list[Case], name: str, colours: Looks) -> Markup:
    """Peak memory of each party."""
    cases = [case for case in measured(group) if memory(case)]
    if not cases:
        return Markup()
    rows = []
    for case in cases:
        rows.append(Row(case.scheme))
        for party, megabytes in memory(case).items():
            rows.append(Row(party, [(party, megabytes, colours[case.scheme].colour)], f"{megabytes:,.0f} MB"))
    found = [(megabytes, party, case.scheme) for case in cases for party, megabytes in memory(case).items()]
    most, party, scheme = max(found)
    title = f"No party needs more than {most:,.0f} MB ({scheme}, {party})"
    plain = baseline(cases)
    if plain is not None and scheme != plain.scheme:
        title += f", {most - max(memory(plain).values()):,.0f} MB more than {plain.scheme}"
    alt = f"Peak memory by scheme and party. {title}. " + "; ".join(f"{s}, {p}: {mb:,.0f} MB" for mb, p, s in found)
    drawn = plots.bars(f"{name}-memory", alt, rows, "peak resident memory, MB", plots.WIDE, with_parts=False)
    return pieces.group("stack", pieces.figure(title, drawn))
