"""Whole batches between real parties, each in its process, on this machine.

    python -m benchmarks.batches widths          20, 128 and 512 features and as wide a layer; 12 batches
    python -m benchmarks.batches sustained       five whole rounds of the tutorial's task, one after the other
    python -m benchmarks.batches collaborators   1, 2, 4 and 8 of them; 12 batches

Schemes take turns. Each takes about a minute on two cores that have nothing else to do, and says nothing that can be
relied on where they have. --json puts cases into a file; those of other schemes that are in it stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.batches.measure import Case
from benchmarks.batches.tables import TABLES
from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine

WIDTHS = (20, 128, 512)
COLLABORATORS = (1, 2, 4, 8)
BATCHES = 12
ROUNDS = 5
DEFAULTS = {"widths": ("plain", "bfv"), "sustained": ("plain", "masked"), "collaborators": ("bfv",)}


def cases_of(part: str, schemes: Sequence[str], is_quick: bool = False) -> Iterable[Case]:
    """What a part measures, in turns."""
    if part == "sustained":
        yield from (Case(scheme, 2 if is_quick else ROUNDS, 3 if is_quick else None) for scheme in schemes)
    elif part == "widths":
        widths = WIDTHS[:1] if is_quick else WIDTHS
        yield from (Case(scheme, 1, BATCHES, width) for width in widths for scheme in schemes)
    else:
        counts = COLLABORATORS[:1] if is_quick else COLLABORATORS
        yield from (Case(scheme, 1, BATCHES, 20, count) for count in counts for scheme in schemes)


def measured(cases: Iterable[Case], runs: int) -> list[dict[str, Any]]:
    """All cases, each in so many runs, which take turns."""
    found: dict[Case, list[list[dict[str, Any]]]] = {case: [] for case in cases}
    for _ in range(runs):
        for case, samples in found.items():
            with tempfile.TemporaryDirectory(prefix="secure-hfl-batches-") as directory:
                samples.append(case.run(Path(directory)))
            print(f"{asdict(case)}: {samples[-1][0]['batch_milliseconds']} ms a batch", file=sys.stderr)
    return [{**asdict(case), "runs": runs, "rounds": best_of(samples)} for case, samples in found.items()]


def best_of(samples: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of several runs of a case, the one whose training took the median time, or the lower of two."""
    in_order = sorted(samples, key=lambda rounds: sum(float(each["train_seconds"]) for each in rounds))
    return in_order[(len(in_order) - 1) // 2]


def merged(before: Iterable[dict[str, Any]], now: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases of both; where both have one, that of now."""

    def key(case: dict[str, Any]) -> tuple[object, ...]:
        return case["scheme"], case["features"], case["collaborators"]

    return list({key(each): each for each in (*before, *now)}.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=list(DEFAULTS))
    parser.add_argument("--schemes", nargs="+", metavar="NAME")
    parser.add_argument("--runs", type=int, default=1, help="of each case; the median is kept")
    parser.add_argument("--quick", action="store_true", help="few batches: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="put the result into this file as well")
    options = parser.parse_args(arguments)
    about = machine()
    cases = measured(cases_of(options.part, options.schemes or DEFAULTS[options.part], options.quick), options.runs)
    if options.json and options.json.exists():
        cases = merged(json.loads(options.json.read_text(encoding="utf-8"))["cases"], cases)
    found = {"benchmark": f"batches {options.part}", "cases": cases}
    print(TABLES[options.part](found))
    if options.json:
        write_json(options.json, parser.prog, about, found)


if __name__ == "__main__":
    main()
