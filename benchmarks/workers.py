"""Does a task between processes end well if both parties' rows come from a `DataLoader` with worker processes?

    python -m benchmarks.workers                              20 runs for each start method of multiprocessing
    python -m benchmarks.workers --runs 10 --methods fork --fork-support 1      with gRPC's own support for forks

The scripts have no main guard, like the tutorial's. A run is good if both processes exit with code 0.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.cases import Case
from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine

METHODS = ("fork", "forkserver", "spawn")


def run(method: str, fork_support: str) -> list[str]:
    """The errors of one run's parties; none if all is well."""
    with tempfile.TemporaryDirectory(prefix="secure-hfl-workers-") as directory:
        parties = Parties(Path(directory))
        parties.new_task()
        cases = {"party0": Case(arguments={"max_rounds": 1, "log_rounds": 1})}
        environment = {"WORKERS_METHOD": method, "GRPC_ENABLE_FORK_SUPPORT": fork_support}
        try:
            running = [
                parties.start(
                    name,
                    "workers_party.py",
                    case=cases.get(name),
                    environment=environment,
                    with_python=True,
                    is_real=True,
                )
                for name in parties.names
            ]
            ended = [party.ended() for party in running]
        finally:
            parties.stop()
    return [each.err[-500:] for each in ended if each.code]


def main() -> None:
    """All start methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--fork-support", default="0", choices=("0", "1"), help="gRPC's; 0 is what secure_hfl sets")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    about = machine()
    found: dict[str, Any] = {}
    for method in options.methods:
        failed = [errors for errors in (run(method, options.fork_support) for _ in range(options.runs)) if errors]
        found[method] = {"runs": options.runs, "ended well": options.runs - len(failed), "errors": failed}
        print(f"{method}: {options.runs - len(failed)} of {options.runs} runs ended well", flush=True)
    if options.json:
        write_json(options.json, "python -m benchmarks.workers", about, {"methods": found})


if __name__ == "__main__":
    main()
