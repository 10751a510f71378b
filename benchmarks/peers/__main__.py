"""Ours beside its peers: python -m benchmarks.peers [psi] [paillier] [bfv] [cheetah] [--json FILE]

    python -m benchmarks.peers --install spu openmined_psi heu      once: an environment each
    python -m benchmarks.peers --quick                              minutes instead of half an hour

Every contender runs in a process of its own, in turn (ours, theirs, ours, theirs); figures are medians over runs, and
ratios medians over pairs. A peer without an environment is skipped, with a line that says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console

from benchmarks.peers.cases import POINTS, WrongResult
from benchmarks.peers.driver import Driver, WorkerFailed
from benchmarks.peers.environments import PEERS, Environments, NoEnvironment, default_directory
from benchmarks.peers.measurement import Report
from benchmarks.peers.show import show
from secure_hfl.bench.machine import machine

WIDTH = 132
"""Of tables in a file or pipe."""


def install(environments: Environments, peers: list[str], console: Console) -> int:
    """Make environments; the exit code."""
    failed = 0
    for peer in peers:
        console.print(f"installing {peer} in {environments.directory / peer}", markup=False)
        try:
            environments.install(peer)
        except NoEnvironment as error:
            console.print(str(error), markup=False)
            failed = 1
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, save; the exit code is 1 if a peer that is there failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="|".join(POINTS), help="all, if none is named")
    parser.add_argument("--install", nargs="+", choices=PEERS, metavar="PEER", help="make environments; nothing else")
    parser.add_argument("--environments", type=Path, default=default_directory(), help="where they are")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one small point of each case, once")
    parser.add_argument(
        "--slow", action="store_true", help="no samples, no peer left out at a point that takes it long"
    )
    parser.add_argument("--json", type=Path, help="write the report here as well")
    options = parser.parse_args(arguments)
    if unknown := [case for case in options.cases if case not in POINTS]:
        parser.error(f"there is no case {unknown[0]!r}; there are {', '.join(POINTS)}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    environments = Environments(options.environments.resolve())
    if options.install:
        return install(environments, options.install, console)
    runs = 1 if options.quick else options.runs
    driver = Driver(environments, runs, tell=lambda line: print(line, file=sys.stderr))
    points = [point for case in options.cases or POINTS for point in POINTS[case](options.quick, options.slow)]
    about = machine()
    try:
        comparisons = driver.compare(points)
    except (WorkerFailed, WrongResult) as error:
        console.print(f"ours: {error}", markup=False)
        return 1
    report = Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=" ".join(["python -m benchmarks.peers", *(sys.argv[1:] if arguments is None else arguments)]),
        machine=about,
        runs=runs,
        comparisons=tuple(comparisons),
        skipped=tuple(driver.skipped),
        failed=tuple(driver.failed),
    )
    show(report, console)
    if options.json:
        options.json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return 1 if driver.failed else 0


if __name__ == "__main__":
    sys.exit(main())
