"""Heavy work on a Ray cluster, against doing it here: speed-up with 1 and 2 workers, and what a piece of work costs.

    python -m benchmarks.ray_scale                            about 90 s on two quiet cores
    python -m benchmarks.ray_scale --quick --json FILE

Two raylets with a worker each are started on this machine, and reached as `--engine ray://127.0.0.1:...`. Each case
runs here on one core, with the first raylet, and with both, in turns; the median of some turns is kept, and the results
must be the same bytes. What more workers would take is a model of two terms, fitted to 1 and 2 workers, and marked so:

    seconds(workers) = what this party does itself + what workers share / workers

On one machine workers share its cores with the party, so what is seen is the least that more machines do.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.ray_nodes import RayNodes
from benchmarks.ray_scale_tables import scale_markdown
from benchmarks.step_timings import write_json
from protocols.core.mapper import Distant, Mapper, nowhere
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he.bfv import BfvBackend
from protocols.he.interface import RING_BITS, Backend, MatrixShape, as_signed
from protocols.he.paillier import PaillierBackend
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.psi.curve import Scalar, multiply
from protocols.psi.hashed import hash_ids
from protocols.schemes.masked.triples import mask_product
from secure_hfl.bench.machine import machine
from secure_hfl.distant_work import ClusterLink
from secure_hfl.ray_executor import RayExecutor

STORE_BYTES = 512 << 20
WORKERS = (1, 2)
MODELLED = (4, 8, 16, 32)
CHUNK = 1 << 12


@dataclass(frozen=True)
class Sizes:
    """Of the cases: ids, and the products of paillier, of a layer in bfv, and of a triple."""

    ids: int
    paillier: MatrixShape
    bfv: MatrixShape
    triples: MatrixShape


FULL = Sizes(1 << 17, MatrixShape(128, 64, 128, 17), MatrixShape(128, 2048, 512, 17), mask_product(128, 1024, 256))
QUICK = Sizes(1 << 15, MatrixShape(64, 32, 40, 17), MatrixShape(128, 512, 256, 17), mask_product(128, 256, 128))

Run = Callable[[Mapper | None], Any]
"""Does the work of a case by a mapper, or here where there is none; what comes out is compared."""


@dataclass(frozen=True)
class Case:
    """Some work, by name."""

    name: str
    run: Run


def psi_points(count: int) -> Case:
    """Ids hashed to the curve, and masked."""
    ids, scalar = [f"patient-{number}" for number in range(count)], Scalar(SeededRandomness(0, "scalar"))

    def run(mapper: Mapper | None) -> list[bytes]:
        hashed = hash_ids(bytes(32), ids, mapper or map, CHUNK).points
        size = 32 * CHUNK
        pieces = [hashed[at : at + size] for at in range(0, len(hashed), size)]
        return list((mapper or map)(partial(multiply, scalar), pieces))

    return Case(f"PSI, {count:,} ids hashed and masked", run)


def product(name: str, make: Callable[..., Backend], shape: MatrixShape) -> Case:
    """X M + R, with what is precomputed for it."""
    stream = SeededRandomness(0, name)
    owner = make(OsRandomness(), nowhere).generate()
    factor = as_signed(stream.ring((shape.m, shape.k), RING_BITS)) >> (RING_BITS - shape.factor_bits)
    operand = owner.encrypt(stream.ring((shape.k, shape.n), RING_BITS), shape)
    addend = stream.ring((shape.m, shape.n), RING_BITS)

    def run(mapper: Mapper | None) -> tuple[bytes, ...]:
        distant: Distant = nowhere if mapper is None else lambda work: mapper
        public = make(SeededRandomness(1, name), distant).load_public(owner.public_key())
        return public.multiply_add(factor, public.load_operand(operand, shape), addend, shape).parts

    return Case(f"{name}, {shape.m} x {shape.k} x {shape.n}", run)


def cases(sizes: Sizes) -> list[Case]:
    """What is sent to a cluster, if it pays."""
    return [
        psi_points(sizes.ids),
        product("paillier", lambda random, away: PaillierBackend(randomness=random, distant=away), sizes.paillier),
        product("bfv", lambda random, away: BfvBackend(TRAINING, random, distant=away), sizes.bfv),
        product("triples", lambda random, away: BfvBackend(TRIPLES, random, distant=away), sizes.triples),
    ]


class Counted:
    """A mapper that counts what crosses.

    Attributes:
        pieces: how many.
        size: bytes, there and back; of what pieces have in common, once.
    """

    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper
        self.pieces = self.size = 0

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        self.size += _size(function)
        return self._counted(self._mapper(function, map(self._sent, items)))

    def _sent(self, item: Any) -> Any:
        self.pieces, self.size = self.pieces + 1, self.size + _size(item)
        return item

    def _counted(self, results: Iterator[Any]) -> Iterator[Any]:
        for result in results:
            self.size += _size(result)
            yield result


def _size(thing: Any) -> int:
    import ray

    return len(ray.cloudpickle.dumps(thing))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Timed:
    """Seconds of a run, and processor seconds of this process in it."""

    seconds: float
    own: float


def timed(run: Run, mapper: Mapper | None, expected: Any = None) -> tuple[Timed, Any]:
    """A run, and what came out of it, which is what was expected."""
    started, own = time.perf_counter(), time.process_time()
    found = run(mapper)
    spent = Timed(time.perf_counter() - started, time.process_time() - own)
    if expected is not None and found != expected:
        raise AssertionError("the cluster's results are others")
    return spent, found


def measured(all_cases: list[Case], port: int, repeats: int) -> tuple[ClusterLink, list[dict[str, Any]]]:
    """Every case here and there, in turns, with as many workers as the cluster has now."""
    executor = RayExecutor(f"ray://127.0.0.1:{port}")
    try:
        mapper = executor.mapper(2)
        link = ClusterLink.measured(mapper, executor.workers)
        found = []
        for case in all_cases:
            counted = Counted(mapper)
            _, expected = timed(case.run, counted)  # workers import, load and keep
            pairs = [[timed(case.run, each, expected)[0] for each in (None, mapper)] for _ in range(repeats)]
            here, there = ([turn[side] for turn in pairs] for side in (0, 1))
            found.append(
                {
                    "name": case.name,
                    "pieces": counted.pieces,
                    "megabytes": round(counted.size / 1e6, 2),
                    "here_seconds": _median(each.seconds for each in here),
                    "here_processor_seconds": _median(each.own for each in here),
                    "seconds": _median(each.seconds for each in there),
                    "own_processor_seconds": _median(each.own for each in there),
                }
            )
        return link, found
    finally:
        executor.close()


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 4)


def joined(by_workers: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """One case with its model: two terms, fitted to two measurements.

    What the party does itself is not less than its own processor time, and not more than all.
    """
    one, two = (by_workers[workers] for workers in WORKERS)
    fitted = 2 * two["seconds"] - one["seconds"]
    own = min(max(fitted, two["own_processor_seconds"]), one["seconds"])
    shared = one["seconds"] - own
    here = statistics.median(each["here_seconds"] for each in (one, two))
    modelled = {str(workers): round(own + shared / workers, 4) for workers in MODELLED}
    return {
        "name": one["name"],
        "pieces": one["pieces"],
        "megabytes": one["megabytes"],
        "here_seconds": round(here, 4),
        "own_processor_seconds": two["own_processor_seconds"],
        "seconds": {str(workers): by_workers[workers]["seconds"] for workers in WORKERS},
        "model": {"own_seconds": round(own, 4), "shared_seconds": round(shared, 4)},
        "modelled_seconds": modelled,
    }


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--quick", action="store_true", help="less work, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    about = machine()
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
    all_cases, nodes = cases(QUICK if options.quick else FULL), RayNodes(STORE_BYTES)
    try:
        links, found = {}, []
        for workers in WORKERS:
            if workers > 1:
                nodes.join()
            link, each = measured(all_cases, nodes.port, options.repeats)
            links[str(workers)] = {"piece_seconds": link.piece_seconds, "bytes_a_second": link.bytes_a_second}
            found.append(each)
    finally:
        nodes.end()
    lines = [joined(dict(zip(WORKERS, both, strict=True))) for both in zip(*found, strict=True)]
    result = {"repeats": options.repeats, "links": links, "cases": lines}
    print(scale_markdown(result))
    if options.json:
        write_json(options.json, "python -m benchmarks.ray_scale", about, result)


if __name__ == "__main__":
    main()
