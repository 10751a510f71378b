"""What every worker shares: the line it answers with, its clocks, its memory. Standard library only.

    driver: python -m benchmarks.peers.<peer>.worker request.json      one process for each measurement
    worker: one line of JSON on stdout, as `measurement.Measurement` has it; whatever its library prints goes to stderr

Matrices come in a JSON file of the request's directory, ids in CSV files, and results go there, so that the driver
checks them without a line of the worker's code.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

SECONDS_TO_REPEAT = 2.0
"""A step is not begun again after this long."""


class Steps:
    """Times steps; each is repeated, up to a time, and its median kept."""

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self.lines: list[dict[str, Any]] = []

    def measure(
        self,
        name: str,
        work: Callable[[], Result],
        *,
        times: float = 1.0,
        size: Callable[[Result], int] = lambda _: 0,
        once: bool = False,
    ) -> Result:
        """Call `work`, once or more often, and keep a line.

        Args:
            name: of the step; the driver's table knows a few.
            work: what is timed.
            times: how often the whole case holds what was measured of it; the driver multiplies.
            size: bytes that the result takes on the wire.
            once: do not repeat: a second call would find its work done.
        """
        taken: list[tuple[float, float]] = []
        began = time.perf_counter()
        while not taken or (
            not once and len(taken) < self._repeats and time.perf_counter() - began < SECONDS_TO_REPEAT
        ):
            wall, cpu = time.perf_counter(), time.process_time()
            result = work()
            taken.append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = (statistics.median(each) for each in zip(*taken))
        self.add(name, wall, cpu, bytes=size(result), times=times)
        return result

    def add(self, name: str, seconds: float, cpu_seconds: float | None = None, **more: float) -> None:
        """Keep a line that was measured elsewhere."""
        self.lines.append({"name": name, "seconds": seconds, "cpu_seconds": cpu_seconds, **more})


class Matrices:
    """X [m, k], M [k, n] and R [m, n] as lists of integers, and the sample of them that is to be computed."""

    def __init__(self, request: dict[str, Any]) -> None:
        matrices = json.loads((Path(request["directory"]) / "matrices.json").read_text())
        sample = request["sample"]
        m, k, n = (request[name] for name in ("m", "k", "n"))
        rows, inner, columns = (sample[name] or whole for name, whole in zip(("rows", "inner", "columns"), (m, k, n)))
        self.factor: list[list[int]] = [row[:inner] for row in matrices["factor"][:rows]]
        self.matrix: list[list[int]] = [row[:columns] for row in matrices["matrix"][:inner]]
        self.addend: list[list[int]] = [row[:columns] for row in matrices["addend"][:rows]]
        self.operand_times = k / inner * (n / columns)
        self.product_times = m / rows * self.operand_times
        self.result_times = m / rows * (n / columns)


def ids_in(path: str) -> list[str]:
    """The ids of a CSV file with a header and one column."""
    return Path(path).read_text().split()[1:]


def save_result(request: dict[str, Any], result: list[Any]) -> None:
    """Rows of a product, or ids, for the driver to check."""
    (Path(request["directory"]) / "result.json").write_text(json.dumps(result))


def peak_mb() -> float:
    """This process's own peak, in MB (10^6 bytes). getrusage's would begin at the peak of whoever started it."""
    for line in _status():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmHWM: these benchmarks need Linux")


def _status() -> Iterator[str]:
    with open("/proc/self/status", encoding="ascii") as file:
        yield from file


def answer(
    request: dict[str, Any], peer: str, packages: tuple[str, ...], steps: Steps, peak: dict[str, float], **more: Any
) -> dict[str, Any]:
    """A measurement as plain data; `more` are parameters of the peer's own."""
    return {
        "peer": peer,
        "variant": request["variant"],
        "versions": {name: version(name) for name in packages},
        "parameters": more,
        "steps": steps.lines,
        "peak_mb": peak,
    }


def main(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read the request, take the cores it allows, measure, answer."""
    line = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries log to stdout
    request = json.loads(Path(sys.argv[1]).read_text())
    if request["cores"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-request["cores"] :])
    line.write(json.dumps(measure(request)) + "\n")
    line.close()
