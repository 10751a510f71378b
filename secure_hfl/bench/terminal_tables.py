"""What a benchmark says on the terminal: tables of time, bytes and memory, then a sentence or two for each link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from protocols.core.wording import plural
from secure_hfl.bench.model import ONE_PROCESS, PLAIN, REFERENCE, WORK, Benchmark, Case, Sweep
from secure_hfl.bench.numbers import (
    OFFLINE,
    accuracy,
    against,
    describe,
    difference,
    measured,
    memory,
    messages,
    of_scheme,
    parity,
    percent,
    seconds,
    size,
    times,
    typical_work,
)
from secure_hfl.cli.output import plain, table

NOTHING = "-"
MOST_TYPES = 4
WHERE: dict[Sweep, str] = {"width": "features", "batch": "samples a batch", "collaborators": "collaborators"}
SERIES: tuple[Sweep, ...] = ("width", "batch", "collaborators", "link")


def print_benchmark(out: Console, benchmark: Benchmark) -> None:
    """Everything."""
    cases = benchmark.of("schemes")
    for grid in (cost_table(benchmark), *work_tables(cases), message_table(cases)):
        if grid is not None:
            _show(out, grid)
    for sweep in SERIES:
        grid = series_table(benchmark, sweep)
        if grid is not None:
            _show(out, grid)
    for case in benchmark.cases:
        if case.refused:
            out.print(plain(f"{case.scheme} refuses {describe(case.point)}: {case.refused}"), soft_wrap=True)
    for note in benchmark.notes:
        out.print(plain(note), soft_wrap=True)
    for each in benchmark.recommendations:
        out.print()
        out.print(plain(f"{each.link.name}: {each.scheme}", "bold"))
        out.print(plain(each.reason), soft_wrap=True)


def cost_table(benchmark: Benchmark) -> Table | None:
    """All schemes at the standard point, a column for each."""
    cases = benchmark.of("schemes")
    kept = measured(cases)
    if not kept:
        return None
    plain_case, one_process, reference = (of_scheme(cases, name) for name in (PLAIN, ONE_PROCESS, REFERENCE))
    figures: dict[str, Callable[[Case], str]] = {
        "epoch": lambda case: seconds(case.epoch_seconds) if case.is_whole else NOTHING,
        "a batch": lambda case: seconds(case.batch_seconds),
        "times plain": lambda case: _against(case, plain_case),
        "times one process": lambda case: _against(case, one_process),
        "offline": lambda case: seconds(case.offline_seconds) if case.offline_seconds else NOTHING,
        "bytes a batch, both ways": lambda case: size(case.bytes_per_batch) if case.bytes_per_batch else NOTHING,
        "round trips a batch": lambda case: f"{case.round_trips_per_batch:.1f}" if case.bytes_per_batch else NOTHING,
        "messages in the run": _messages,
        "accuracy": lambda case: percent(accuracy(case)),
        "loss differs at most": lambda case: difference(_parity(case, reference)),
        "memory, host": lambda case: _memory(case, True),
        "memory, collaborator": lambda case: _memory(case, False),
    }
    title = f"{describe(kept[0].point)}: medians of {plural(benchmark.runs, 'run')}"
    grid = _table(("", *(_with_batches(case) for case in kept)), title)
    for name, figure in figures.items():
        shown = [figure(case) for case in kept]
        if any(cell != NOTHING for cell in shown):
            _row(grid, name, *shown)
    grid.caption = plain("\n".join(_meanings(kept)))
    return grid


def _against(case: Case, other: Case | None) -> str:
    found = None if other is None else against(case, other)
    return NOTHING if found is None else times(found)


def _meanings(cases: Sequence[Case]) -> Iterator[str]:
    """What some rows of the table of costs are, where they are there."""
    if not all(case.is_whole for case in cases):
        yield (
            "A batch: an epoch's seconds over its batches; of a part of an epoch, the median without the first two. "
            "Times another: by whole epochs, or where either of the two is a part of one, by that median of both."
        )
    if any(case.offline_seconds for case in cases):
        yield f"Offline: {OFFLINE}. A run's, over its epochs."
    if any(case.bytes_per_batch for case in cases):
        yield "Bytes a batch: of a run's rounds the least, as the others carry masks for the next."


def _messages(case: Case) -> str:
    count = median([sum(each.sent + each.received for each in sample.messages) for sample in case.samples])
    return f"{count:,.0f}" if count else NOTHING


def _parity(case: Case, reference: Case | None) -> float | None:
    """Plain computes something else than the schemes with the layer, and one process draws other numbers."""
    return None if case.scheme in (PLAIN, ONE_PROCESS) else parity(case, reference)


def _memory(case: Case, is_host: bool) -> str:
    largest = max((mb for name, mb in memory(case).items() if (name == "host") == is_host), default=None)
    return NOTHING if largest is None else f"{largest:.0f} MB"


def work_tables(cases: Iterable[Case]) -> Iterable[Table]:
    """Where the host's and the first collaborator's training seconds go, a column for each scheme."""
    kept = [(case, typical_work(case)) for case in measured(cases)]
    found = [(case, list(work.values())) for case, work in kept if work]
    for place, whose in ((0, "the host's"), (1, "a collaborator's")):
        own = [(case, parties[place]) for case, parties in found if len(parties) > place]
        if own:
            headings = ("", *(_with_batches(case) for case, _ in own))
            grid = _table(headings, f"Where {whose} training goes")
            for kind in WORK:
                if any(work.get(kind) for _, work in own):
                    _row(grid, kind, *(seconds(work[kind]) if work.get(kind) else NOTHING for _, work in own))
            _row(grid, "together", *(seconds(sum(work.values())) for _, work in own))
            yield grid


def _with_batches(case: Case) -> str:
    return case.scheme if case.is_whole else f"{case.scheme}, {case.batches} batches"


def message_table(cases: Iterable[Case]) -> Table | None:
    """The types with the most bytes in a whole run, for each scheme."""
    grid = _table(("scheme", "message", "sent", "bytes", "received", "bytes"), "What crosses the wire, at the host")
    for case in measured(cases):
        for number, each in enumerate(messages(case)[:MOST_TYPES]):
            _row(
                grid,
                "" if number else _with_batches(case),
                each.type,
                *_counted(each.sent, each.sent_bytes),
                *_counted(each.received, each.received_bytes),
            )
    return grid if grid.row_count else None


def _counted(count: int, count_of_bytes: int) -> tuple[str, str]:
    return (f"{count:,}", size(count_of_bytes)) if count else (NOTHING, NOTHING)


def series_table(benchmark: Benchmark, sweep: Sweep) -> Table | None:
    """A batch's time and bytes along one parameter."""
    cases = measured(benchmark.of(sweep))
    if not cases:
        return None
    schemes = list(dict.fromkeys(case.scheme for case in cases))
    places = list(dict.fromkeys(_place(case, sweep) for case in benchmark.of(sweep)))
    if sweep in WHERE:
        places.sort(key=int)
    grid = _table((WHERE.get(sweep, sweep), *schemes), f"A batch, along {WHERE.get(sweep, sweep)}")
    for place in places:
        cells = []
        for scheme in schemes:
            case = next((case for case in cases if case.scheme == scheme and _place(case, sweep) == place), None)
            cells.append(f"{seconds(case.batch_seconds)}, {size(case.bytes_per_batch)}" if case else NOTHING)
        _row(grid, place, *cells)
    return grid


def _place(case: Case, sweep: Sweep) -> str:
    point = case.point
    named = {"width": point.features, "batch": point.batch, "collaborators": point.collaborators}
    return point.link.name if sweep == "link" else str(named[sweep])


def _show(out: Console, grid: Table) -> None:
    """Its title and caption on lines of their own, as a table folds them into its own width."""
    title, caption = grid.title, grid.caption
    grid.title = grid.caption = None
    out.print(title, soft_wrap=True)
    out.print(grid)
    if caption:
        out.print(caption, soft_wrap=True)


def _table(headings: Sequence[str], title: str) -> Table:
    grid = table(*headings)
    grid.title = plain(title, "bold")
    for number, column in enumerate(grid.columns):
        column.justify = "right" if number and headings[number] != "message" else "left"
    return grid


def _row(grid: Table, *cells: str) -> None:
    grid.add_row(*(plain(cell) for cell in cells))
