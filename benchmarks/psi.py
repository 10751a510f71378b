"""PSI step by step and as a whole, both parties in one process, on the fast and on the plain path.

    python -m benchmarks.psi --ids 25000 24000 --json psi.json
    python -m benchmarks.psi --million              also 10^6 x 10^6, fast path only, with memory
    python -m benchmarks.psi --workers 2            whole runs also with a pool of processes

Steps are the functions that the roles call, on one core, best of `--repeats`; a line's microseconds are wall time per
item of its own parameters, and the processor time of this process stands beside it (less than the wall where others
ran too). "whole run" streams chunk by chunk through both roles and counts the bytes of every message field. Memory is
the growth of a fresh process's peak resident size over what it had with both lists of ids in it, for both roles.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from protocols import multi_buffer
from protocols.message import Message
from protocols.psi import PSI_CHUNK, PsiReceiver, PsiSender, check_ids, hash_ids
from protocols.psi.curve import Scalar, digest, multiply
from protocols.psi.receiver import match
from protocols.randomness import OsRandomness

T = TypeVar("T", bound=Message)
SESSION = bytes(32)

Time = tuple[float, float]
"""Wall and processor seconds."""


@dataclass
class Line:
    """One row of the table: what was measured, and on which path."""

    step: str
    path: str
    seconds: float
    cpu_seconds: float
    microseconds_per_item: float
    wire_bytes: int = 0
    peak_memory_bytes: int = 0


@dataclass
class Wire:
    """Counts what passes."""

    count: int = 0

    def carry(self, messages: Iterable[T]) -> Iterator[T]:
        for message in messages:
            yield self.one(message)

    def one(self, message: T) -> T:
        values = [getattr(message, field.name) for field in fields(message)]
        self.count += sum(len(value) if isinstance(value, bytes | str) else 8 for value in values)
        return message


def shared_ids(n: int, m: int) -> int:
    """How many ids two sets of these sizes share here."""
    return min(n, m) // 2


def make_sets(n: int, m: int) -> tuple[list[str], list[str]]:
    """The ids of both; the collaborator's list begins with the shared ones."""
    return make_ids(n, 0), make_ids(m, n - shared_ids(n, m))


def make_line(step: str, path_name: str, taken: Time, items: int, wire_bytes: int = 0) -> Line:
    return Line(step, path_name, *taken, taken[0] / items * 1e6, wire_bytes)


def make_ids(count: int, start: int) -> list[str]:
    """Ids like those of a customer table."""
    return [f"customer-{i:010d}" for i in range(start, start + count)]


def clock() -> Time:
    return time.perf_counter(), time.process_time()


def since(start: Time) -> Time:
    now = clock()
    return now[0] - start[0], now[1] - start[1]


def whole_run(n: int, m: int, ours: list[str], theirs: list[str], mapper: Any = map) -> tuple[Time, int]:
    """Time and bytes of one run, from plain ids to both results."""
    wire = Wire()
    start = clock()
    host = PsiReceiver(SESSION, ours, OsRandomness(), mapper)
    collaborator = PsiSender(SESSION, theirs, OsRandomness(), mapper)
    collaborator.receive_open(wire.one(host.open()))
    host.receive_open(wire.one(collaborator.open()))
    host.receive_points(wire.carry(collaborator.masked_points()))
    host.receive_digests(wire.carry(collaborator.replies(wire.carry(host.masked_points()))))
    shared = host.intersection()
    learnt = collaborator.receive_result(wire.one(host.result(shared)))
    taken = since(start)
    overlap = theirs[: shared_ids(n, m)]
    if not (len(overlap) == len(shared) and learnt == shared and all(name in shared for name in overlap)):
        raise RuntimeError("the run gave a wrong intersection")
    return taken, wire.count


@contextmanager
def path(name: str) -> Iterator[None]:
    """The plain path is the fast one switched off, in this process and in those it starts."""
    os.environ[multi_buffer.SWITCH] = "1" if name == "plain" else "0"
    try:
        yield
    finally:
        del os.environ[multi_buffer.SWITCH]


def best(repeats: int, work: Callable[[], object]) -> Time:
    """The fastest of several calls."""
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(since(start))
    return min(times)


def steps(n: int, m: int, repeats: int) -> Iterator[Line]:
    """The functions that the roles spend their time in, each on its own."""
    ids, scalar = make_ids(n, 0), Scalar(OsRandomness())
    hashed = hash_ids(SESSION, ids)
    masked = multiply(scalar, hashed)
    ours = digest(SESSION, masked)
    theirs = ours[16 * (n - m // 2) :] + digest(SESSION, multiply(Scalar(OsRandomness()), hashed[: 32 * (m - m // 2)]))

    def line(name: str, path_name: str, items: int, work: Callable[[], object]) -> Line:
        return make_line(name, path_name, best(repeats, work), items)

    chunks = [slice(at, at + PSI_CHUNK * 32) for at in range(0, len(hashed), PSI_CHUNK * 32)]
    yield line(f"check ids n={n}", "both", n, lambda: check_ids(ids))
    yield line(f"check and hash ids n={n}", "both", n, lambda: hash_ids(SESSION, ids))
    for path_name in paths():
        with path(path_name):
            yield line(
                f"mask n={n} chunk={PSI_CHUNK}", path_name, n, lambda: [multiply(scalar, hashed[c]) for c in chunks]
            )
            yield line(
                f"raise and digest n={n} chunk={PSI_CHUNK}",
                path_name,
                n,
                lambda: [digest(SESSION, multiply(scalar, masked[c])) for c in chunks],
            )
    yield line(f"digest n={n}", "both", n, lambda: digest(SESSION, masked))
    yield line(f"compare n={n} m={m}", "both", n + m, lambda: match([ours], [theirs]))


def whole(n: int, m: int, repeats: int, workers: int) -> Iterator[Line]:
    """Whole runs; half of the smaller set is shared."""
    ours, theirs = make_sets(n, m)
    for path_name in paths():
        with path(path_name):
            taken, size = min(whole_run(n, m, ours, theirs) for _ in range(repeats))
            yield make_line(f"whole run n={n} m={m} processes=1", path_name, taken, n + m, size)
            if workers:
                with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                    mapper = windowed(pool, 3 * workers)
                    whole_run(n, m, ours, theirs, mapper)  # starts the processes
                    taken, size = min(whole_run(n, m, ours, theirs, mapper) for _ in range(repeats))
                yield make_line(f"whole run n={n} m={m} workers={workers}", path_name, taken, n + m, size)


def windowed(pool: ProcessPoolExecutor, window: int) -> Any:
    """A mapper over a pool that works at most `window` chunks ahead."""

    def mapper(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        source = iter(items)
        pending: deque[Future[Any]] = deque(pool.submit(function, item) for item in islice(source, window))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result

    return mapper


def million(count: int, connection: Any) -> None:
    """In a process of its own: one run, its time, bytes and memory."""
    ours, theirs = make_sets(count, count)
    before = peak_memory()
    taken, size = whole_run(count, count, ours, theirs)
    line = make_line(f"whole run n={count} m={count} processes=1", paths()[0], taken, 2 * count, size)
    line.peak_memory_bytes = peak_memory() - before
    connection.send(line)


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_fresh_process(count: int) -> Line:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=million, args=(count, theirs))
    process.start()
    theirs.close()
    line: Line = ours.recv()
    process.join()
    return line


def paths() -> list[str]:
    return ["fast", "plain"] if multi_buffer.available() else ["plain"]


def show(lines: list[Line]) -> None:
    table = Table(
        "step",
        "path",
        "seconds",
        "CPU seconds",
        "us / item",
        "MB on the wire",
        "peak MB",
        title="ECDH-PSI, one machine",
    )
    for line in lines:
        size = f"{line.wire_bytes / 1e6:.2f}" if line.wire_bytes else ""
        memory = f"{line.peak_memory_bytes / 1e6:.0f}" if line.peak_memory_bytes else ""
        times = (f"{line.seconds:.3f}", f"{line.cpu_seconds:.3f}", f"{line.microseconds_per_item:.2f}")
        table.add_row(line.step, line.path, *times, size, memory)
    console = Console()
    console.print(table)
    if not multi_buffer.available():
        console.print(f"no fast path: {multi_buffer.why_unavailable()}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.psi", description="Time PSI step by step.")
    parser.add_argument("--ids", nargs=2, type=int, default=[25000, 24000], metavar=("HOST", "COLLABORATOR"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="also run with this many processes")
    parser.add_argument("--million", action="store_true", help="also 10^6 x 10^6 on one core, with memory")
    parser.add_argument("--json", type=Path, help="write the lines here as well")
    options = parser.parse_args()
    n, m = options.ids
    if not 2 <= m <= n:
        parser.error("give the larger set first, and at least 2 ids")
    lines = [*steps(n, m, options.repeats), *whole(n, m, options.repeats, options.workers)]
    if options.million:
        lines.append(in_fresh_process(10**6))
    show(lines)
    if options.json:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
