"""A benchmark as one HTML page: what privacy costs in time, bytes, memory and accuracy, and what is left to see.

Names from the user's own task are text. Sentences and captions are worked out from the figures. The plots need
matplotlib, the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path

from markupsafe import Markup

from protocols.core.wording import plural
from secure_hfl.bench.model import PLAIN, REFERENCE, Benchmark, Case, Recommendation, Sweep, hides_features
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
    private,
    ratio,
    refused,
    seconds,
    size,
    times,
)
from secure_hfl.bench.report.figures import breakdown, each_group, learning, offline, peaks, traffic
from secure_hfl.bench.report.plots import SCHEMES, Look
from secure_hfl.bench.report.privacy import privacy
from secure_hfl.bench.report.series import series
from secure_hfl.bench.report.svg import theme_rules
from secure_hfl.pages import page as made_page
from secure_hfl.pages import pieces, stylesheet

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
    sections = [each for each in _sections(benchmark, looks(benchmark)) if each[2]]
    css = stylesheet("bench") + theme_rules()
    return made_page("bench.html.j2", css, has_pictures=True, created=benchmark.created, sections=sections)


def _sections(benchmark: Benchmark, colours: Looks) -> Iterator[tuple[str, str, Markup]]:
    """Anchor, name in the list of contents, and the section, which is empty where there is nothing to show."""
    groups = {
        "time": ("Where the time goes", breakdown),
        "offline": ("During training, and ahead of it", offline),
        "traffic": ("Messages and bytes", lambda group, name: traffic(group, name, colours)),
    }
    yield "answer", "", _answer(benchmark, colours)
    longest: Sweep = "rounds" if measured(benchmark.of("rounds")) else "schemes"
    curves = each_group(benchmark, lambda group, name: learning(group, name, colours), longest)
    yield "accuracy", "Accuracy against time", pieces.section("accuracy", "Accuracy against time", curves)
    for anchor, (heading, content) in groups.items():
        yield anchor, heading, pieces.section(anchor, heading, each_group(benchmark, content))
    for sweep, heading in (
        ("width", "Wider features"),
        ("batch", "Larger batches"),
        ("collaborators", "More collaborators"),
        ("link", "Slower links"),
    ):
        yield sweep, heading, pieces.section(sweep, heading, series(benchmark, sweep, colours))  # type: ignore[arg-type]
    memory_plots = each_group(benchmark, lambda group, name: peaks(group, name, colours))
    yield "memory", "Memory", pieces.section("memory", "Memory", memory_plots)
    found = privacy(benchmark.attacks)
    anchor = next((anchor for anchor, content in found[:-1] if content), "pictures")
    yield anchor, "How much leaks", pieces.many([content for _, content in found])
    yield "how", "How it was measured", _how(benchmark)


# The answer ----------------------------------------------------------------------------------------------------------


def _answer(benchmark: Benchmark, colours: Looks) -> Markup:
    groups = [group for group in by_point(benchmark.of("schemes")) if group]
    first = next((group for group in groups if measured(group)), [])
    said = [pieces.answer(_headline(first), _paragraph(first), _advice(benchmark), benchmark.notes)]
    for number, group in enumerate(groups):
        heading = f"What each scheme costs: {describe(group[0].point)}"
        said.append(pieces.section(f"costs{number}", heading, _costs(group, colours)))
    return pieces.many([*said, pieces.section("take", "Which scheme to take", _recommended(benchmark, colours))])


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
    shown = [case for case in cases if case.is_whole and (case is plain or hides_features(case.scheme))]
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


def _costs(group: list[Case], colours: Looks) -> Markup:
    """A line for each scheme."""
    cases = measured(group)
    ratios = {case.scheme: ratio(case, group) for case in cases}
    largest = max((value for value in ratios.values() if value is not None), default=1.0)
    reference = of_scheme(cases, REFERENCE)

    def row(case: Case) -> list[object]:
        look, against = colours[case.scheme], ratios[case.scheme]
        shown = [] if against is None else [times(against), pieces.bar(against / largest, look.colour)]
        others = [mb for party, mb in memory(case).items() if party != "host"]
        host = memory(case).get("host")
        tags = ["hides nothing"] if not hides_features(case.scheme) else []
        tags += [] if case.is_whole else [f"over {case.batches} batches"]
        values = [
            seconds(ahead(case, group)) if case.offline_seconds > 0 else "-",
            size(case.bytes_per_batch) if case.bytes_per_batch > 0 else "-",
            percent(accuracy(case)) if case.is_whole else "-",
            difference(parity(case, reference)) if hides_features(case.scheme) else "-",
            "-" if host is None else f"{host:,.0f} MB",
            f"{max(others):,.0f} MB" if others else "-",
        ]
        name = pieces.named(look, case.scheme, pieces.below(", ".join(tags)))
        time = pieces.many([_epoch(case, group).split("takes ")[1], pieces.below(_spread(case))])
        return [name, time, pieces.many(shown), *values]

    one = "epoch" if any(case.is_whole for case in cases) else "batch"
    plain = baseline(group)
    against_plain = f"{TIMES} {plain.scheme if plain else PLAIN}#"
    heads: list[str | tuple[str, str]] = [("scheme", "name"), f"{one}#", (against_plain, "number size"), "ahead of it#"]
    heads += ["bytes a batch#", "accuracy#"]
    heads += ["loss differs#", "host, peak#", "others, peak#"]
    rows: list[object] = [row(case) for case in cases]
    rows += [
        pieces.cannot_run(colours[case.scheme], case.scheme, len(heads) - 1, case.refused) for case in refused(group)
    ]
    note = (
        "Medians; below an epoch, the shortest and the longest. "
        f"{TIMES}: whole epochs, or where one of the two had only some batches, the median batch of both without the "
        f"first two. Ahead: {OFFLINE}. Bytes: of the round with the fewest, as others carry masks for the next. "
        "Accuracy: on the test set, after the last epoch. Loss differs: the largest difference of a batch's loss from "
        f"{REFERENCE}'s, in the first epoch, from the same seed. Peak: of memory."
    )
    return pieces.many([pieces.table(heads, rows), pieces.note(note)] if rows else [])


def _spread(case: Case) -> str:
    every = [each.train_seconds for each in case.rounds]
    return f"{seconds(min(every))} to {seconds(max(every))}" if case.is_whole and len(every) > 1 else ""


def _recommended(benchmark: Benchmark, colours: Looks) -> Markup:
    def row(each: Recommendation) -> list[object]:
        also = f"{each.unprepared} if nothing can be prepared" if each.unprepared not in ("", each.scheme) else ""
        bases = set(each.basis.values())
        shared = next(iter(bases)) if len(bases) == 1 else ""
        link = pieces.many([each.link.name, pieces.below(shared)])
        taken = pieces.named(colours.get(each.scheme, SCHEMES[PLAIN]), each.scheme, pieces.below(also))
        return [link, taken, _times(each, not shared), each.reason]

    rows = [row(each) for each in benchmark.recommendations]
    return pieces.table(("link", "take", "an epoch", "why"), rows, "take")


def _times(each: Recommendation, with_basis: bool) -> Markup:
    """An epoch's with each scheme, the fastest first."""
    lines = []
    for scheme, value in sorted(each.seconds.items(), key=lambda pair: pair[1]):
        single = each.with_offline.get(scheme, value)
        basis = f", {each.basis[scheme]}" if with_basis and scheme in each.basis else ""
        note = f"{seconds(single)} with what is done ahead" if single > (1 + SMALL) * value else ""
        lines.append(pieces.line([f"{scheme} {seconds(value)}", pieces.soft(basis), pieces.below(note)]))
    return pieces.many(lines)


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


_FACTS = {
    "multi_buffer": "AVX-512 multi-buffer kernels",
    "bfv_arithmetic": "bfv arithmetic",
    "load_average": "load, over 1, 5 and 15 minutes",
}
"""What of the machine is called otherwise."""


def _how(benchmark: Benchmark) -> Markup:
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
    said = [pieces.code(benchmark.command), pieces.facts(facts, "list")]
    if isinstance(packages, dict):
        versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        said += [pieces.subheading("Versions"), pieces.code(versions)]
    if benchmark.parameters:
        table = pieces.table(("scheme", ("parameters", "code")), list(benchmark.parameters.items()), "narrow")
        said += [pieces.subheading("Parameters"), table]
    meanings = [pieces.many([pieces.strong(name), f": {meaning}"]) for name, meaning in _MEANINGS.items()]
    said += [pieces.subheading("What the figures mean"), pieces.bullets(meanings)]
    if benchmark.attacks:
        said.append(
            pieces.note("The scores of the attacks are of python -m benchmarks.privacy, run before, maybe elsewhere.")
        )
    return pieces.section("how", "How it was measured", pieces.many(said))


def _plain_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain_value(one)}" for key, one in value.items())
    return ", ".join(_plain_value(one) for one in value) if isinstance(value, list | tuple) else str(value)
