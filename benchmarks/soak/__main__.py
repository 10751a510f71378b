"""Eight hours of a task, compressed: does what its parties hold grow?

    python -m benchmarks.soak --json benchmarks/results/soak.json                20 minutes, three schemes
    python -m benchmarks.soak --schemes plain --minutes 1 --gap 5                does it run?

Two processes train in small batches through a proxy that cuts their connection at random moments in one of five ways;
each time they come back by themselves and go on from a checkpoint. Memory, threads, descriptors and files of both are
sampled every second. A task of eight hours that makes a checkpoint a minute and loses its connection every ten minutes
has 480 of the first and 48 of the second. A case runs for its minutes; all three together make more.

It fails (exit code 1) if anything grows behind the warm-up, which is the first 40 % of a case, by more than
`benchmarks/soak/verdict.py` allows: by Theil and Sen's slope, so that single outliers decide nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.soak.run import run
from benchmarks.soak.verdict import judged
from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine


def main() -> None:
    """Run, judge, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=str(__doc__).splitlines()[0])
    parser.add_argument("--schemes", nargs="*", default=["bfv", "masked", "plain"])
    parser.add_argument("--minutes", type=float, default=6.5, help="of each")
    parser.add_argument("--gap", type=float, default=6.0, help="seconds between two cuts, on average")
    parser.add_argument("--seed", type=int, default=1, help="of the cuts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    about, console, cases = machine(), Console(), list[dict[str, Any]]()
    for scheme in options.schemes:
        cases.append(case := judged(run(scheme, 60 * options.minutes, options.gap, options.seed)))
        console.print(f"{scheme}: {case['rounds']} rounds, {case['checkpoints']} checkpoints, {case['cuts']}")
        for line in case["growth"]:
            console.print(*(f"{name} {value}" for name, value in line.items()))
        if options.json:
            write_json(options.json, parser.prog, about, {"cases": cases})
    if problems := [problem for case in cases for problem in case["problems"]]:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
