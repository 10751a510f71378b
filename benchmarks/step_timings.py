"""What the micro-benchmarks have in common: a step to a line, the table, the JSON, the command line.

    python -m benchmarks.NAME [--repeats N] [--quick] [--json FILE]

A line's name carries its parameters. Its times are of one call, after one to warm up: the median and the least wall
time, and the median processor time of this process. Where the wall is much the larger, the machine had other work.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from secure_hfl.bench.machine import machine

Result = TypeVar("Result")

PIPE_WIDTH = 150

Sample = tuple[float, float]
"""Wall and processor seconds of one call."""


@dataclass(frozen=True)
class StepTiming:
    """One measured step.

    Args:
        step: its name, with its parameters.
        seconds: wall time of a call, the median.
        least_seconds: of all calls.
        cpu_seconds: processor time, the median.
        items: what one call handles: how many of `unit`.
        unit: what they are.
        bytes: what one call sends or makes; 0 where that says nothing.
    """

    step: str
    seconds: float
    least_seconds: float
    cpu_seconds: float
    items: int = 1
    unit: str = ""
    bytes: int = 0

    @property
    def seconds_per_item(self) -> float:
        """Wall time."""
        return self.seconds / self.items


@dataclass
class StepTimings:
    """The lines of one benchmark as they are measured.

    Args:
        repeats: calls of each step.

    Attributes:
        notes: what else was found, as plain data.
    """

    repeats: int
    lines: list[StepTiming] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def time(
        self,
        step: str,
        call: Callable[[], Result],
        items: int = 1,
        unit: str = "",
        size: Callable[[Result], int] | int = 0,
        warm_up: bool = True,
    ) -> Result:
        """Measure a step.

        Args:
            size: the bytes, or how to tell them from what a call returns.

        Returns:
            What the last call returned.
        """
        if warm_up:
            call()
        samples = []
        for _ in range(self.repeats):
            sample, result = timed(call)
            samples.append(sample)
        self.add(step, samples, items, unit, size(result) if callable(size) else size)
        return result

    def add(self, step: str, samples: Sequence[Sample], items: int = 1, unit: str = "", size: int = 0) -> StepTiming:
        """A step that was measured elsewhere."""
        walls, processors = zip(*samples, strict=True)
        line = StepTiming(step, statistics.median(walls), min(walls), statistics.median(processors), items, unit, size)
        return self._append(line)

    def total(
        self, step: str, parts: Iterable[StepTiming], counts: Iterable[int] | None = None, size: int = 0
    ) -> StepTiming:
        """The sum of other lines, each for so many items; for its own by default."""
        chosen = list(parts)
        shares = [1.0] * len(chosen)
        if counts is not None:
            shares = [count / line.items for count, line in zip(counts, chosen, strict=True)]
        wall, least, processor = (
            sum(share * getattr(line, name) for share, line in zip(shares, chosen, strict=True))
            for name in ("seconds", "least_seconds", "cpu_seconds")
        )
        return self._append(StepTiming(step, wall, least, processor, bytes=size or sum(line.bytes for line in chosen)))

    def _append(self, line: StepTiming) -> StepTiming:
        if any(line.step == other.step for other in self.lines):
            raise ValueError(f"two steps are called {line.step!r}: a name must carry all parameters")
        self.lines.append(line)
        return line

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        lines = [{**asdict(line), "seconds_per_item": line.seconds_per_item} for line in self.lines]
        return {"repeats": self.repeats, "lines": lines, "notes": self.notes}

    def show(self, title: str) -> None:
        """The table, then the notes."""
        # A file or a pipe has no width, and a name must not be cut.
        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
        table = Table(title=title, title_justify="left", box=None)
        table.add_column("step", overflow="fold")
        for heading in ("ms", "least", "CPU", "us / item", "", "bytes"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for line in self.lines:
            table.add_row(
                line.step,
                *(f"{1e3 * seconds:,.3f}" for seconds in (line.seconds, line.least_seconds, line.cpu_seconds)),
                _short(1e6 * line.seconds_per_item) if line.unit else "",
                line.unit,
                f"{line.bytes:,}" if line.bytes else "",
            )
        console.print(table)
        for name, note in self.notes.items():
            for each in note if isinstance(note, list) else [note]:
                text = ", ".join(f"{key} {value}" for key, value in each.items()) if isinstance(each, dict) else each
                console.print(f"{name}: {text}")
        console.print()


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def timed(call: Callable[[], Result]) -> tuple[Sample, Result]:
    """The times of one call, and what it returned."""
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return (wall, processor), result


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For a benchmark that has none of its own."""


@dataclass(frozen=True)
class Benchmark:
    """One module's benchmark.

    Args:
        name: the module's.
        doc: the module's docstring.
        measure: given the parsed options, with `repeats` and `quick`, fills the lines.
        arguments: adds the module's own options.
        repeats: of each step, unless something else is asked for.
    """

    name: str
    doc: str | None
    measure: Callable[[StepTimings, argparse.Namespace], None]
    arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
    repeats: int = 9

    @property
    def title(self) -> str:
        """The docstring's first line."""
        return (self.doc or self.name).splitlines()[0]

    def run(self, arguments: Sequence[str] = ()) -> StepTimings:
        """Measure."""
        return self._measure(self._parser().parse_args(arguments))

    def main(self) -> None:
        """The command line."""
        parser = self._parser()
        options = parser.parse_args()
        about = machine()
        lines = self._measure(options)
        lines.show(self.title)
        if options.json:
            write_json(options.json, parser.prog, about, {"benchmark": self.name, **lines.as_json()})

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}",
            description=self.doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        common_arguments(parser)
        self.arguments(parser)
        return parser

    def _measure(self, options: argparse.Namespace) -> StepTimings:
        lines = StepTimings(options.repeats or (1 if options.quick else self.repeats))
        self.measure(lines, options)
        return lines


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """What all have."""
    parser.add_argument("--repeats", type=int, help="calls of each step; the median is shown")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, once: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines here as well")


def write_json(path: Path, program: str, about: dict[str, Any], values: dict[str, Any]) -> None:
    """With the command, and what `machine()` said before anything was measured: later, the load is our own."""
    found = {"command": shlex.join([*program.split(), *sys.argv[1:]]), "machine": about, **values}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
