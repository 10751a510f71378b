"""Many tasks in one host process, at once and one after another, and many collaborators in one task.

    python -m benchmarks.many --json benchmarks/results/many.json          all of it, about 15 minutes on two cores
    python -m benchmarks.many --tasks 1 50 --collaborators --in-turns 0    only tasks at once

Two processes over mutual TLS on loopback, torch with one thread each: the host's, which is measured, and one whose
threads are all the collaborators: a process for each would measure two cores shared by 64 interpreters, and 64 times
the 280 MB of Python and torch. The clock starts when both have imported everything and made their runs: joining,
private set intersection of 1,024 ids, two rounds of training with a test each, and results are in the figures. Memory
is the host process's, in MB of 10^6 bytes; `before` is what it was when the clock started. Schedulers are kept until
the process ends, as a user's variables keep them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.many.measure import measure
from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine

SHOWN = ("scheme", "tasks", "collaborators", "in_turns", "cpu_seconds", "peak_mb_before", "peak_mb", "threads")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run, print, save."""
    doc = str(__doc__).splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=doc)
    parser.add_argument("--tasks", type=int, nargs="*", default=[1, 10, 25, 50], help="at once")
    parser.add_argument("--collaborators", type=int, nargs="*", default=[1, 16, 32, 64], help="of one task")
    parser.add_argument("--in-turns", type=int, default=25, help="tasks one after another")
    parser.add_argument("--task-schemes", nargs="*", default=["plain", "bfv"])
    parser.add_argument("--schemes", nargs="*", default=["plain", "masked", "bfv"], help="with many collaborators")
    parser.add_argument("--turn-schemes", nargs="*", default=["plain", "bfv", "paillier"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases: list[tuple[str, int, int, bool]] = []
    cases += [(scheme, count, 1, False) for scheme in options.task_schemes for count in options.tasks]
    cases += [(scheme, 1, count, False) for scheme in options.schemes for count in options.collaborators]
    cases += [(scheme, options.in_turns, 1, True) for scheme in options.turn_schemes if options.in_turns]
    about, console, lines = machine(), Console(), list[dict[str, Any]]()
    for case in dict.fromkeys(cases):  # one task of one collaborator is in both lists
        lines.append(line := measure(*case))
        figures = (line[name] for name in SHOWN)
        console.print(*(f"{name} {_short(value)}" for name, value in zip(SHOWN, figures)))
        if options.json:
            write_json(options.json, parser.prog, about, {"lines": lines})


if __name__ == "__main__":
    main()
