"""Products of bfv: by engine and instruction set, by width and batch, and beside what their transforms must take.

    python -m benchmarks.products engines      every engine that runs here, in turns, at four shapes
    python -m benchmarks.products growth       the best engine: width 8 to 1024 at 128 rows, 16 to 4096 rows at width 64
    python -m benchmarks.products bound        the best engine: counted transforms times their measured rate

Times are processor milliseconds of one core for both parties, the least of several products: of what a batch waits for
(encrypt, load, multiply_add, decrypt) and of what is prepared beside the batches. Each product is checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.products.bound import measure_rates, nearness
from benchmarks.products.measure import Contender, Shape, described, in_turns
from benchmarks.products.tables import TABLES
from benchmarks.step_timings import write_json
from protocols.he import engines
from protocols.he.native.kernel import instruction_sets
from protocols.he.parameters import TRAINING
from secure_hfl.bench.machine import machine

SHAPES: list[Shape] = [(128, 20, 20), (128, 128, 128), (128, 512, 512), (1024, 64, 64)]
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024]
ROWS = [16, 64, 256, 1024, 4096]
QUICK: list[Shape] = [(4, 3, 2)]

SECONDS = 4.0
"""Of the processor, for an engine at a shape."""


def by_engine(options: argparse.Namespace) -> dict[str, Any]:
    """All engines in turns."""
    contenders = [Contender(name) for name in (engines.SEAL, *reversed(instruction_sets()))]
    products = []
    for shape in QUICK if options.quick else SHAPES:
        products += in_turns(contenders, shape, options.rounds, SECONDS)
    return {"products": described(products)}


def growth(options: argparse.Namespace) -> dict[str, Any]:
    """The best engine, wider and wider, then with more and more rows."""
    shapes = [(128, width, width) for width in WIDTHS] + [(rows, 64, 64) for rows in ROWS]
    contenders = [Contender(engines.chosen())]
    products = []
    for shape in QUICK if options.quick else shapes:
        products += in_turns(contenders, shape, options.rounds, SECONDS)
    return {"products": described(products)}


def bound(options: argparse.Namespace) -> dict[str, Any]:
    """The best engine beside its own rates.

    Raises:
        SystemExit: SEAL is the best.
    """
    name = engines.chosen()
    if name == engines.SEAL:
        sys.exit("the rates are those of the native kernel, which was not built here or is switched off")
    rates, contenders, products = measure_rates(name, options.rounds), [Contender(name)], []
    for shape in QUICK if options.quick else SHAPES:
        (times,) = in_turns(contenders, shape, options.rounds, SECONDS)
        products.append({"shape": list(shape), "steps": nearness(times, rates)})
    units = "transform and N multiply-accumulates in microseconds, read in gigabytes a second; one core"
    return {"engine": name, "rates": {**asdict(rates), "units": units}, "products": products}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "engines": by_engine,
    "growth": growth,
    "bound": bound,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.products", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--rounds", type=int, default=9, help="products of each engine at each shape, at most")
    parser.add_argument("--quick", action="store_true", help="one tiny shape: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here as well")
    options = parser.parse_args(arguments)
    about = machine()
    found = PARTS[options.part](options)
    print(TABLES[options.part](found))
    if options.json:
        values = {"benchmark": f"products {options.part}", "parameters": TRAINING.name, **found}
        write_json(options.json, parser.prog, about, values)


if __name__ == "__main__":
    main()
