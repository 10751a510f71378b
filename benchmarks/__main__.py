"""All micro-benchmarks: python -m benchmarks [NAME ...] [--repeats N] [--quick] [--json FILE]

Some minutes. What takes longer, or runs parties as processes, has commands of its own: python -m benchmarks.psi,
schemes, privacy, many, soak, faults, hostile, workers, ray_scale.
"""

from __future__ import annotations

import argparse

from benchmarks import bfv, fixed_point, masked, paillier, transcript, transport
from benchmarks.step_timings import common_arguments, write_json
from secure_hfl.bench.machine import machine

BENCHMARKS = {
    module.BENCHMARK.name: module.BENCHMARK for module in (fixed_point, masked, bfv, paillier, transport, transcript)
}


def main() -> None:
    """One after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(BENCHMARKS)}")
    common_arguments(parser)
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    asked = ["--quick"] * options.quick + ([] if options.repeats is None else ["--repeats", str(options.repeats)])
    about = machine()
    found = {}
    for name in options.names or BENCHMARKS:
        lines = BENCHMARKS[name].run(asked)
        lines.show(BENCHMARKS[name].title)
        found[name] = lines.as_json()
    if options.json:
        write_json(options.json, parser.prog, about, {"benchmarks": found})


if __name__ == "__main__":
    main()
