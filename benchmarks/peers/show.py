"""Comparisons as tables for people.

product     reading the operand's bytes, and the product
hide        what re-randomises a reply, where that is a step of its own: ours does it within the product, TenSEAL
            by adding R as an encryption, HEU not at all
/ ours      how many times as long as ours takes; "with prep.": with what fills our stock for the product
"""

from __future__ import annotations

from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import markdown
from benchmarks.peers.measurement import Comparison, Contender, Report

MILLI = 1e3


def show(report: Report, console: Console) -> None:
    """A table for each point, then what did not run."""
    for comparison in report.comparisons:
        console.print(TABLES[comparison.case](comparison))
    for line in report.skipped:
        console.print(f"skipped {line}", markup=False)
    for line in report.failed:
        console.print(f"[red]failed[/red] {line}")


def ratio(theirs: Contender, ours: Contender, *names: str, ours_names: tuple[str, ...] = (), cpu: bool) -> float | None:
    """How many times as long theirs takes: the median over runs, each with the run of ours just before it."""
    found = []
    for run in range(len(theirs.measurements)):
        a, b = (
            each.seconds(*chosen, run=run, cpu=cpu) for each, chosen in ((theirs, names), (ours, ours_names or names))
        )
        if a is None or not b:
            return None
        found.append(a / b)
    return median(found)


def _psi(comparison: Comparison) -> Table:
    table = _table(
        comparison,
        "seconds",
        "/ ours",
        "of that,\nprotocol",
        "/ ours",
        "CPU s",
        "MB on\nthe wire",
        "peak MB,\neach party",
    )
    ours = comparison.contenders[0]
    for each in comparison.contenders:
        table.add_row(
            _label(each),
            _number(each.seconds("psi")),
            "" if each is ours else _ratio(ratio(each, ours, "psi", cpu=False)),
            _number(each.seconds("protocol")),
            _ratio(ratio(each, ours, "protocol", ours_names=("psi",), cpu=False)),
            _number(each.seconds("psi", cpu=True)),
            _number(each.bytes("psi") / 1e6),
            ", ".join(f"{value:.0f}" for value in each.peak_mb().values()),
        )
    return table


PREPARED = ("prepare encrypt", "prepare product")
PRODUCT = ("load", "product")
COLUMNS = (PREPARED, ("encrypt",), PRODUCT, ("re-randomise",), ("decrypt",), ())
"""The steps of each column of times; the last one is all of them."""


def _product(comparison: Comparison) -> Table:
    times = ("prepare", "encrypt", "product", "hide", "decrypt", "all")
    ratios = ("product\n/ ours", "with\nprep.", "all\n/ ours")
    table = _table(comparison, *times, *ratios, "kB out", "kB back", "error")
    ours = comparison.contenders[0]
    for each in comparison.contenders:
        columns = [each.seconds(*steps, cpu=True) for steps in COLUMNS]
        ratios_to_ours = (
            ratio(each, ours, *PRODUCT, cpu=True),
            ratio(each, ours, *PRODUCT, ours_names=("prepare product", *PRODUCT), cpu=True),
            ratio(each, ours, cpu=True),
        )
        table.add_row(
            _label(each),
            *map(_milliseconds, columns),
            *("" if each is ours else _ratio(value) for value in ratios_to_ours),
            _number(each.bytes("encrypt") / 1e3),
            _number(each.bytes("product", "re-randomise", "reply") / 1e3),
            "exact" if each.worst_error == 0 else f"{each.worst_error:.0e}",
        )
    return table


def _between_two(comparison: Comparison) -> Table:
    wire = ("kB\non the wire", "setup\nkB")
    table = _table(comparison, "ms", "/ ours", "CPU ms,\nboth", "/ ours", "prepare\nCPU ms", *wire, "error")
    ours = comparison.contenders[0]
    for each in comparison.contenders:
        seconds = (each.seconds("product"), each.seconds("product", cpu=True), each.seconds("prepare", cpu=True))
        wall, cpu, prepare = map(_milliseconds, seconds)
        ratios = ["" if each is ours else _ratio(ratio(each, ours, "product", cpu=kind)) for kind in (False, True)]
        table.add_row(
            _label(each),
            *(wall, ratios[0], cpu, ratios[1], prepare),
            _number(each.bytes("product") / 1e3),
            _number(each.bytes("setup") / 1e3),
            "exact" if each.worst_error == 0 else f"{each.worst_error:.0e}",
        )
    return table


def between_two_markdown(report: dict[str, Any]) -> str:
    """The products between two processes of a report, for the documentation."""
    rows = []
    for comparison in Report.model_validate(report).comparisons:
        ours = comparison.contenders[0]
        shape = " x ".join(str(comparison.parameters[side]) for side in ("m", "k", "n"))
        for each in comparison.contenders:
            wall, cpu = (_milliseconds(each.seconds("product", cpu=kind)) for kind in (False, True))
            ratios = ["" if each is ours else _ratio(ratio(each, ours, "product", cpu=kind)) for kind in (False, True)]
            wire = [_number(each.bytes(step) / 1e3) for step in ("product", "setup")]
            rows.append([f"{shape}, {_name(each)}", wall, ratios[0], cpu, ratios[1], *wire])
    return markdown.table(["product", "ms", "/ ours", "CPU ms, both", "/ ours", "kB", "kB once, keys"], rows)


TABLES = {"psi": _psi, "paillier": _product, "bfv": _product, "cheetah": _between_two}
"""By case."""


def _table(comparison: Comparison, *columns: str) -> Table:
    samples = {each.sample for each in comparison.contenders if each.sample}
    notes = [
        f"{sample}: {', '.join(_name(each) for each in comparison.contenders if each.sample == sample)}"
        for sample in sorted(samples)
    ]
    caption = "* measured on a part and multiplied. " + "; ".join(notes) if notes else None
    table = Table(
        title=comparison.point,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("who", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _name(contender: Contender) -> str:
    return " ".join(filter(None, (contender.peer, contender.variant)))


def _label(contender: Contender) -> str:
    return _name(contender) + ("*" if contender.sample else "")


def _number(value: float | None) -> str:
    return "" if value is None else markdown.number(value)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else markdown.number(seconds * MILLI)


def _ratio(value: float | None) -> str:
    return "" if value is None else _number(value)
