"""PSI: its steps, whole runs in one process and between two, how they grow with the sets, and OpenSSL as a yardstick.

    python -m benchmarks.psi                                 steps at 25000 x 24000 ids, whole runs of 10^4 to 10^6
    python -m benchmarks.psi --sizes 10000 100000 --plain-sizes 10000
    python -m benchmarks.psi --processes                     whole runs also between two processes

Steps are the functions that the roles call, on one core. A whole run has sets of equal size with half in common: "in
one process" is both roles in a fresh process, on one core, chunk by chunk, with the bytes of every message field and
the growth of its peak memory over what it was with both lists in it. "Two processes" is a task as it runs
(benchmarks.psi_processes), on all cores.

"fast": with the multi-buffer kernels where the processor has them; "plain": without. Growth is from one size to the
next: microseconds for an id more, and the exponent e of time ~ ids^e. The yardstick is 4 multiplications for each id at
the rate of `openssl speed ecdhx25519` on one core, spread over the cores in use; the ratio is a whole run's time to it.
It is no bound: OpenSSL multiplies one point at a time, and the fast path eight.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from benchmarks import psi_processes
from benchmarks.step_timings import Benchmark, Sample, StepTiming, StepTimings, timed
from protocols.core import multi_buffer
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness
from protocols.psi import PSI_CHUNK, PsiReceiver, PsiSender, check_ids, hash_ids
from protocols.psi.comparison import match
from protocols.psi.curve import Scalar, digest, multiply
from secure_hfl.engine.psi_work import chunk_size
from secure_hfl.executor import usable_cores
from secure_hfl.metrics import peak_rss_mb

T = TypeVar("T", bound=Message)
SESSION = bytes(32)
RATE = re.compile(r"X25519\)\s+\S+s\s+([0-9.]+)")
"""In the last line of `openssl speed`: operations a second, behind the seconds of one."""


def make_sets(n: int, m: int) -> tuple[list[str], list[str]]:
    """Ids like those of a customer table; the smaller set's first half is shared."""
    start = n - min(n, m) // 2
    return [f"customer-{i:010d}" for i in range(n)], [f"customer-{i:010d}" for i in range(start, start + m)]


@dataclass
class Wire:
    """Counts what passes."""

    count: int = 0

    def carry(self, messages: Iterable[T]) -> Iterator[T]:
        """Every message of a stream."""
        for message in messages:
            yield self.one(message)

    def one(self, message: T) -> T:
        """The bytes of its fields; a number has 8."""
        values = [getattr(message, field.name) for field in fields(message)]
        self.count += sum(len(value) if isinstance(value, bytes | str) else 8 for value in values)
        return message


def whole_run(ours: list[str], theirs: list[str]) -> int:
    """One run from plain ids to both results; the bytes that passed."""
    wire = Wire()
    host = PsiReceiver(hash_ids(SESSION, ours), OsRandomness())
    collaborator = PsiSender(hash_ids(SESSION, theirs), OsRandomness())
    collaborator.receive_open(wire.one(host.open()))
    host.receive_open(wire.one(collaborator.open()))
    host.receive_points(wire.carry(collaborator.masked_points()))
    host.receive_digests(wire.carry(collaborator.replies(wire.carry(host.masked_points()))))
    shared = host.intersection()
    learnt = collaborator.receive_result(wire.one(host.result(shared)))
    if not learnt == shared == set(ours) & set(theirs):
        raise RuntimeError("the run gave a wrong intersection")
    return wire.count


@dataclass(frozen=True)
class Whole:
    """One whole run: its line, and what the notes say about it."""

    kind: str
    path: str
    size: int
    cores: int
    line: StepTiming


@contextmanager
def path(name: str) -> Iterator[None]:
    """The plain path is the fast one switched off, in this process and in those it starts."""
    before = os.environ.get(multi_buffer.SWITCH)
    os.environ[multi_buffer.SWITCH] = "1" if name == "plain" else "0"
    try:
        yield
    finally:
        del os.environ[multi_buffer.SWITCH]
        if before is not None:
            os.environ[multi_buffer.SWITCH] = before


def paths() -> list[str]:
    """Those that this machine has."""
    return ["fast", "plain"] if multi_buffer.available() else ["plain"]


def multiply_chunks(scalar: Scalar, points: bytes) -> list[bytes]:
    """As the roles do it."""
    return [multiply(scalar, points[at : at + PSI_CHUNK * 32]) for at in range(0, len(points), PSI_CHUNK * 32)]


def steps(lines: StepTimings, n: int, m: int) -> None:
    """The functions that the roles spend their time in, each on its own."""
    ids, others = make_sets(n, m)
    ours_scalar, theirs_scalar = Scalar(OsRandomness()), Scalar(OsRandomness())
    lines.time(f"check ids, n={n}", lambda: check_ids(ids), n, "id")
    for name in paths():
        with path(name):
            where = f"chunk={PSI_CHUNK}, n={n}, path={name}"
            hashed = lines.time(f"check and hash ids, {where}", lambda: hash_ids(SESSION, ids), n, "id")
            call = partial(multiply_chunks, ours_scalar, hashed.points)
            masked = lines.time(f"multiply points by a scalar, {where}", call, n, "point")
    points = b"".join(masked)
    lines.time(f"digest points, n={n}", lambda: digest(SESSION, points), n, "point")
    ours = [digest(SESSION, chunk) for chunk in multiply_chunks(theirs_scalar, points)]
    theirs = digest(SESSION, multiply(ours_scalar, multiply(theirs_scalar, hash_ids(SESSION, others).points)))
    lines.time(f"find equal digests, n={n}, m={m}", lambda: match(ours, [theirs]), n + m, "digest")


def in_one_process(size: int, connection: Any) -> None:
    """In a process of its own: one run, its time, bytes and memory."""
    ours, theirs = make_sets(size, size)
    hash_ids(SESSION, ours[:1])  # loads what is loaded once
    before = peak_rss_mb()
    sample, count = timed(lambda: whole_run(ours, theirs))
    connection.send((sample, count, peak_rss_mb() - before))


def fresh(size: int) -> tuple[Sample, int, float]:
    """The same, from here."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=in_one_process, args=(size, theirs))
    process.start()
    theirs.close()
    found: tuple[Sample, int, float] = ours.recv()
    process.join()
    return found


def whole_runs(lines: StepTimings, name: str, sizes: list[int], processes: bool) -> Iterator[Whole]:
    """In one process and between two, each size once."""
    memory = lines.notes.setdefault("memory", [])
    with path(name):
        for size in sizes:
            sample, count, grown = fresh(size)
            step = f"whole run in one process, n=m={size}, chunk={PSI_CHUNK}, path={name}, cores=1"
            memory.append({"run": step, "grown by MB": round(grown)})
            yield Whole("one process", name, size, 1, lines.add(step, [sample], size, "id a side", count))
        for size in sizes if processes else ():
            found = psi_processes.run(size)
            cores = usable_cores()
            chunk = chunk_size(size)
            step = f"whole run between two processes, n=m={size}, chunk={chunk}, path={name}, cores={cores}"
            memory.append({"run": step, **{key: round(value) for key, value in found.items() if key.endswith("_mb")}})
            sample = found["seconds"], found["cpu_seconds"]
            line = lines.add(step, [sample], size, "id a side", round(found["megabytes"] * 1e6))
            yield Whole("two processes", name, size, cores, line)


def growth(runs: list[Whole]) -> Iterator[dict[str, Any]]:
    """From each size to the next of the same kind."""
    for kind, name in dict.fromkeys((run.kind, run.path) for run in runs):
        same = sorted((run for run in runs if (run.kind, run.path) == (kind, name)), key=lambda run: run.size)
        for small, large in pairwise(same):
            seconds, ratio = large.line.seconds - small.line.seconds, large.line.seconds / small.line.seconds
            yield {
                "run": f"{kind}, path={name}",
                "n=m from": small.size,
                "to": large.size,
                "us per id": round(1e6 * seconds / (large.size - small.size), 2),
                "exponent": round(math.log(ratio) / math.log(large.size / small.size), 3),
            }


def openssl_rate() -> float | None:
    """X25519 exchanges a second on one core, the median of three times that `openssl speed` finds; None without it."""
    program = shutil.which("openssl")
    if program is None:
        return None
    command = [program, "speed", "-seconds", "1", "ecdhx25519"]
    outputs = [subprocess.run(command, capture_output=True, text=True).stdout for _ in range(3)]
    found = [float(rate) for output in outputs for rate in RATE.findall(output)]
    return statistics.median(found) if found else None


def against_openssl(runs: list[Whole], rate: float) -> Iterator[dict[str, Any]]:
    """Each run's time to that of its multiplications alone, as OpenSSL does them, one at a time."""
    for run in runs:
        yardstick = 4 * run.size / rate / run.cores
        ratio = round(run.line.seconds / yardstick, 3)
        yield {"run": run.line.step, "openssl in s": round(yardstick, 3), "ratio": ratio}


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All of it."""
    n, m = (500, 400) if options.quick else options.ids
    sizes, plain_sizes = ([1000, 2000], [500, 1000]) if options.quick else (options.sizes, options.plain_sizes)
    steps(lines, n, m)
    by_path = {"fast": sizes, "plain": plain_sizes} if multi_buffer.available() else {"plain": plain_sizes}
    runs = [run for name, chosen in by_path.items() for run in whole_runs(lines, name, chosen, options.processes)]
    lines.notes["growth"] = list(growth(runs))
    rate = openssl_rate()
    lines.notes["openssl speed ecdhx25519"] = "not measured: there is no `openssl` here"
    if rate is not None:
        one = {"operations a second, one core": rate, "us": round(1e6 / rate, 2)}
        lines.notes["openssl speed ecdhx25519"] = one
        lines.notes["time to 4 n multiplications by openssl"] = list(against_openssl(runs, rate))
    if not multi_buffer.available():
        lines.notes["no fast path"] = multi_buffer.why_unavailable()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes."""
    parser.add_argument("--ids", nargs=2, type=int, default=[25_000, 24_000], metavar=("N", "M"), help="of the steps")
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("--sizes", nargs="*", type=int, default=sizes, help="of whole runs, path=fast")
    parser.add_argument("--plain-sizes", nargs="*", type=int, default=sizes[:2], help="of whole runs, path=plain")
    parser.add_argument("--processes", action="store_true", help="whole runs also between two processes")


BENCHMARK = Benchmark("psi", __doc__, measure, arguments, repeats=3)

if __name__ == "__main__":
    BENCHMARK.main()
