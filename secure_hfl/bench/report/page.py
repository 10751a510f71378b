"""A benchmark as one HTML page: what privacy costs in time, bytes, memory and accuracy, and what is left to see.

Names from the user's own task are text. Sentences and captions are worked out from the figures. The plots need
matplotlib, the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path

from secure_hfl.bench.model import PLAIN, REFERENCE, UNPROTECTED, Benchmark, Case, Recommendation, Sweep
from secure_hfl.bench.numbers import (
    OFFLINE,
    accuracy,
    ahead,
    baseline,
    by_point,
    describe,
    difference,
    epoch,
    listed,
    looks,
    measured,
    memory,
    of_scheme,
    parity,
    percent,
    plural,
    private,
    ratio,
    refused,
    seconds,
    size,
    times,
)
from secure_hfl.bench.report.figures import breakdown, each_group, learning, offline, peaks, traffic
from secure_hfl.bench.report.markup import bar, swatch
from secure_hfl.bench.report.plots import SCHEMES, Look
from secure_hfl.bench.report.privacy import privacy
from secure_hfl.bench.report.series import series
from secure_hfl.bench.report.svg import theme_rules
from secure_hfl.html_page import cell, document, section, small, table, text

_CSS = Path(__file__).with_name("report.css")
TIMES = "\N{MULTIPLICATION SIGN}"
SAME = 1e-2
"""Of a loss: what the smoothing noise and fixed point may amount to."""

SMALL = 0.05
"""Of an epoch: work ahead of it that is not worth a word."""

Looks = Mapping[str, Look]


def write_report(benchmark: Benchmark, path: Path) -> None:
    """Write the page to `path`.

    Raises:
        ConfigurationError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    path.write_text(page(benchmark), encoding="utf-8")


def page(benchmark: Benchmark) -> str:
    """The page."""
    sections = list(_sections(benchmark, looks(benchmark)))
    links = "".join(
        f'<a href="#{anchor}">{text(short)}</a>' for anchor, short, content in sections if content and short
    )
    body = "".join(content for _, _, content in sections[:1]) + f"<nav>{links}</nav>"
    body += "".join(content for _, _, content in sections[1:])
    return document(
        "What privacy costs: secure-hfl bench",
        f"bench \N{MIDDLE DOT} {benchmark.created}",
        body,
        "Made by <code>secure-hfl bench</code>.",
        css=_CSS.read_text(encoding="ascii") + theme_rules(),
        has_pictures=True,
    )


def _sections(benchmark: Benchmark, colours: Looks) -> Iterator[tuple[str, str, str]]:
    """Anchor, name in the list of contents, content; those without content are left out."""
    groups = {
        "time": ("Where the time goes", breakdown),
        "offline": ("During training, and ahead of it", offline),
        "traffic": ("Messages and bytes", lambda group, name: traffic(group, name, colours)),
    }
    yield "answer", "", _answer(benchmark, colours)
    longest: Sweep = "rounds" if measured(benchmark.of("rounds")) else "schemes"
    curves = each_group(benchmark, lambda group, name: learning(group, name, colours), longest)
    yield "accuracy", "Accuracy against time", section("accuracy", "Accuracy against time", curves)
    for anchor, (heading, content) in groups.items():
        yield anchor, heading, section(anchor, heading, each_group(benchmark, content))
    for sweep, heading in (
        ("width", "Wider features"),
        ("batch", "Larger batches"),
        ("collaborators", "More collaborators"),
        ("link", "Slower links"),
    ):
        yield sweep, heading, section(sweep, heading, series(benchmark, sweep, colours))  # type: ignore[arg-type]
    memory_plots = each_group(benchmark, lambda group, name: peaks(group, name, colours))
    yield "memory", "Memory", section("memory", "Memory", memory_plots)
    found = privacy(benchmark.attacks)
    yield "labels" if 'id="labels"' in found else "pictures", "How much leaks", found
    yield "how", "How it was measured", _how(benchmark)


# The answer ----------------------------------------------------------------------------------------------------------


def _answer(benchmark: Benchmark, colours: Looks) -> str:
    groups = [group for group in by_point(benchmark.of("schemes")) if group]
    first = next((group for group in groups if measured(group)), [])
    said = f'<section class="verdict answer"><strong>{text(_headline(first))}</strong><p>{text(_paragraph(first))}</p>'
    said += f"<p><b>{text(advice)}</b></p>" if (advice := _advice(benchmark)) else ""
    notes = "".join(f"<li>{text(note)}</li>" for note in benchmark.notes)
    said += f'<ul class="small soft">{notes}</ul></section>' if notes else "</section>"
    for group in groups:
        heading = f"What each scheme costs: {describe(group[0].point)}"
        said += section(f"costs{groups.index(group)}", heading, _costs(group, colours))
    return said + section("take", "Which scheme to take", _recommended(benchmark, colours))


def _headline(group: list[Case]) -> str:
    plain, hidden = baseline(group), private(group)
    costs = [f"{times(against)} {TIMES} with {case.scheme}" for case in hidden if (against := ratio(case, group))]
    if costs and plain is not None:
        return f"Privacy costs {listed([costs[0].replace(TIMES, f'{TIMES} {plain.scheme}', 1), *costs[1:]])}"
    if hidden:
        return listed([f"{case.scheme}: {seconds(case.batch_seconds)} a batch" for case in hidden])
    return "Nothing that protects anything was measured" if measured(group) else "What privacy costs"


def _paragraph(group: list[Case]) -> str:
    cases = measured(group)
    if not cases:
        return "The schemes were not measured side by side."
    plain = baseline(cases)
    said = [f"{describe(cases[0].point)}."]
    if plain is not None:
        said.append(f"In the clear {_epoch(plain, group)}, {size(plain.bytes_per_batch)} a batch.")
    for case in private(cases):
        before = ahead(case, group)
        matters = before > SMALL * (epoch(case, group) or case.batch_seconds)
        also = f" after {seconds(before)} of work ahead" if matters else ""
        said.append(f"With {case.scheme} {_epoch(case, group)}{also}, {size(case.bytes_per_batch)} a batch.")
    said += _same(cases)
    shown = [case for case in cases if case.is_whole and (case is plain or case.scheme not in UNPROTECTED)]
    ends = [f"{percent(value)} with {case.scheme}" for case in shown if (value := accuracy(case)) is not None]
    if ends:
        rounds = max(len(sample.rounds) for case in shown for sample in case.samples)
        said.append(f"After {plural(rounds, 'epoch')} the test set's accuracy is {listed(ends)}.")
    return " ".join(said)


def _same(cases: list[Case]) -> Iterator[str]:
    """Whether those that protect learn what they would without."""
    reference = of_scheme(cases, REFERENCE)
    found = {case.scheme: each for case in private(cases) if (each := parity(case, reference)) is not None}
    diverged = [scheme for scheme, each in found.items() if each == inf]
    if diverged:
        yield f"In the first epoch {listed(diverged)} diverged from {REFERENCE}."
    elif found:
        same = "They learn the same: no" if max(found.values()) <= SAME else "No"
        most = f"{max(found.values()):.1e}"
        yield f"{same} batch's loss in the first epoch differs from {REFERENCE}'s by more than {most}."


def _advice(benchmark: Benchmark) -> str:
    """The recommendations in a sentence or two."""
    found = benchmark.recommendations
    if not found:
        return ""
    said = f"Take {_by_link([(each.scheme, each.link.name) for each in found])}."
    unprepared = [(each.unprepared, each.link.name) for each in found if each.unprepared not in ("", each.scheme)]
    return f"{said} Where nothing can be done ahead: {_by_link(unprepared)}." if unprepared else said


def _by_link(pairs: list[tuple[str, str]]) -> str:
    """masked; or masked on loopback, bfv on the others by name."""
    links: dict[str, list[str]] = {}
    for scheme, link in pairs:
        links.setdefault(scheme, []).append(link)
    if len(links) == 1:
        return next(iter(links)) + (", whichever of these links you have" if len(pairs) > 1 else f" on {pairs[0][1]}")
    return "; ".join(f"{scheme} on {' and on '.join(names)}" for scheme, names in links.items())


def _epoch(case: Case, group: list[Case]) -> str:
    """An epoch's seconds, with a word if they were not measured as a whole; else a batch's."""
    value = epoch(case, group)
    if value is None:
        return f"a batch takes {seconds(case.batch_seconds)}"
    return f"an epoch takes {'' if case.is_whole else 'about '}{seconds(value)}"


def _costs(group: list[Case], colours: Looks) -> str:
    """A line for each scheme."""
    cases = measured(group)
    ratios = {case.scheme: ratio(case, group) for case in cases}
    largest = max((value for value in ratios.values() if value is not None), default=1.0)
    reference = of_scheme(cases, REFERENCE)

    def row(case: Case) -> str:
        look, against = colours[case.scheme], ratios[case.scheme]
        shown = "" if against is None else f"{times(against)}{bar(against / largest, look.colour)}"
        others = [mb for party, mb in memory(case).items() if party != "host"]
        host = memory(case).get("host")
        tags = ["hides nothing"] if case.scheme in UNPROTECTED else []
        tags += [] if case.is_whole else [f"over {case.batches} batches"]
        values = [
            seconds(ahead(case, group)) if case.offline_seconds > 0 else "-",
            size(case.bytes_per_batch) if case.bytes_per_batch > 0 else "-",
            percent(accuracy(case)) if case.is_whole else "-",
            difference(parity(case, reference)) if case.scheme not in UNPROTECTED else "-",
            "-" if host is None else f"{host:,.0f} MB",
            f"{max(others):,.0f} MB" if others else "-",
        ]
        name = f'<td class="name">{swatch(look)}<b>{text(case.scheme)}</b>{_below(", ".join(tags))}</td>'
        time = f'<td class="number">{text(_epoch(case, group).split("takes ")[1])}{_below(_spread(case))}</td>'
        return f'{name}{time}<td class="number size">{shown}</td>' + "".join(cell(value, "number") for value in values)

    one = "epoch" if any(case.is_whole for case in cases) else "batch"
    plain = baseline(group)
    heads = ["scheme", f"{one}#", f"{TIMES} {plain.scheme if plain else PLAIN}#", "ahead of it#"]
    heads += ["bytes a batch#", "accuracy#"]
    heads += ["loss differs#", "host, peak#", "others, peak#"]
    rows = [row(case) for case in cases]
    rows += [
        f'<td class="name">{swatch(colours[case.scheme])}<b>{text(case.scheme)}</b></td>'
        f'<td colspan="{len(heads) - 1}">cannot run here: {text(case.refused)}</td>'
        for case in refused(group)
    ]
    note = (
        "Medians; below an epoch, the shortest and the longest. "
        f"{TIMES}: whole epochs, or where one of the two had only some batches, the median batch of both without the "
        f"first two. Ahead: {OFFLINE}. Bytes: of the round with the fewest, as others carry masks for the next. "
        "Accuracy: on the test set, after the last epoch. Loss differs: the largest difference of a batch's loss from "
        f"{REFERENCE}'s, in the first epoch, from the same seed. Peak: of memory."
    )
    return table(heads, rows) + small(note) if rows else ""


def _below(note: str) -> str:
    """A second line of a cell."""
    return f'<div class="small soft">{text(note)}</div>' if note else ""


def _spread(case: Case) -> str:
    every = [each.train_seconds for each in case.rounds]
    return f"{seconds(min(every))} to {seconds(max(every))}" if case.is_whole and len(every) > 1 else ""


def _recommended(benchmark: Benchmark, colours: Looks) -> str:
    def row(each: Recommendation) -> str:
        taken = f"{swatch(colours.get(each.scheme, SCHEMES[PLAIN]))}<b>{text(each.scheme)}</b>"
        also = f"{each.unprepared} if nothing can be prepared" if each.unprepared not in ("", each.scheme) else ""
        bases = set(each.basis.values())
        shared = next(iter(bases)) if len(bases) == 1 else ""
        return (
            f"<td>{text(each.link.name)}{_below(shared)}</td><td>{taken}{_below(also)}</td>"
            f"<td>{_times(each, not shared)}</td>{cell(each.reason)}"
        )

    rows = [row(each) for each in benchmark.recommendations]
    return table(("link", "take", "an epoch", "why"), rows, "take")


def _times(each: Recommendation, with_basis: bool) -> str:
    """An epoch's with each scheme, the fastest first."""
    lines = []
    for scheme, value in sorted(each.seconds.items(), key=lambda pair: pair[1]):
        single = each.with_offline.get(scheme, value)
        basis = f", {each.basis[scheme]}" if with_basis and scheme in each.basis else ""
        note = f"{seconds(single)} with what is done ahead" if single > (1 + SMALL) * value else ""
        shown = f'{text(scheme)} {text(seconds(value))}<span class="small soft">{text(basis)}</span>'
        lines.append(f"<div>{shown}{_below(note)}</div>")
    return "".join(lines)


# How -----------------------------------------------------------------------------------------------------------------

_MEANINGS = {
    "An epoch": "one pass over the training data, timed at the host from its first batch to its last; the median over "
    "all epochs of all runs. Where only some batches were run: their median, without the first two, times an epoch's.",
    TIMES: "one scheme's time over another's. Whole epochs are compared with whole ones, their first batches and the "
    "signature at their end included. Where either had only some batches, both are taken by the median from batch to "
    "batch, without the first two and the signature: a little else than the ratio of the epochs beside it.",
    "Work": "what a party's main thread does, in the epoch of median length. Wait is the time in which it can do "
    "nothing until a message comes: the network, and the other parties' work.",
    "Ahead": f"{OFFLINE}. A run's, over its epochs.",
    "Bytes": "of whole messages before TLS, counted at the host. A batch's are those of the round that had the fewest, "
    "and not the median: others carry masks for the next.",
    "Memory": "the peak resident set of a party's process, with Python and PyTorch; 1 MB is 10^6 bytes.",
    "Links": "by a proxy on this machine that delays bytes and limits their rate, each way and for each collaborator. "
    "It loses none, and models neither TCP's slow start nor its handshake.",
    "Limits": "all parties share this machine's cores, so that they wait for each other more than on machines of their "
    "own. Compare figures of one report only.",
}


_FACTS = {"multi_buffer": "AVX-512 multi-buffer kernels", "load_average": "load, over 1, 5 and 15 minutes"}
"""What of the machine is called otherwise."""


def _how(benchmark: Benchmark) -> str:
    counts = [len(case.samples) for case in measured(benchmark.cases)]
    machine = dict(benchmark.machine)
    packages = machine.pop("packages", None)
    facts: dict[str, object] = {"seed": benchmark.seed, "epochs a run": benchmark.rounds}
    if counts:
        facts["measured"] = plural(len(counts), "case")
        facts["runs of a case"] = listed(sorted({str(count) for count in counts}))
    if refused(benchmark.cases):
        facts["refused"] = plural(len(refused(benchmark.cases)), "case")
    facts |= {_FACTS.get(key, key.replace("_", " ")): _plain_value(value) for key, value in machine.items()}
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    said = f'<p class="code">{text(benchmark.command)}</p><dl class="facts list">{rows}</dl>'
    if isinstance(packages, dict):
        versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        said += f'<h3>Versions</h3><p class="code">{text(versions)}</p>'
    if benchmark.parameters:
        parameters = (
            f'{cell(name)}<td class="code">{text(value)}</td>' for name, value in benchmark.parameters.items()
        )
        said += "<h3>Parameters</h3>" + table(("scheme", "parameters"), parameters, "narrow")
    items = "".join(f"<li><b>{name}</b>: {text(meaning)}</li>" for name, meaning in _MEANINGS.items())
    said += f"<h3>What the figures mean</h3><ul>{items}</ul>"
    if benchmark.attacks:
        said += small("The scores of the attacks are of python -m benchmarks.privacy, run before, maybe elsewhere.")
    return section("how", "How it was measured", said)


def _plain_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain_value(one)}" for key, one in value.items())
    return ", ".join(_plain_value(one) for one in value) if isinstance(value, list | tuple) else str(value)
