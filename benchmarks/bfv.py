"""BFV products step by step: milliseconds, bytes, and noise bounds.

    python -m benchmarks.bfv                 the three products of one training batch (128 samples, 20 x 20)
    python -m benchmarks.bfv --batch 64 --inputs 40 --outputs 10 --repeats 20
    python -m benchmarks.bfv --json          the same figures for a machine

Each line is the median over repeats of one call, of one party, with its inputs ready; `encrypt` and `multiply_add`
take encryptions of zero and masks from stock, as in training, and `prepare` is what filling that stock costs. Nothing
is summed but the bytes of a batch and the milliseconds between messages (encrypt, load, multiply_add and decrypt of
all three products).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from protocols.he.bfv import BfvBackend, BfvPublic, BfvSecret
from protocols.he.interface import MatrixShape, as_ring
from protocols.he.layout import best_layout
from protocols.he.parameters import TRAINING, TRIPLES, BfvParameters
from protocols.randomness import SeededRandomness


@dataclass(frozen=True)
class Line:
    """One measured step. `size` is what it sends, in bytes; 0 for a step that sends nothing."""

    name: str
    milliseconds: float
    size: int = 0


def median_ms(call: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call in milliseconds, after one call to warm up."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def product_lines(owner: BfvSecret, public: BfvPublic, label: str, shape: MatrixShape, repeats: int) -> Iterator[Line]:
    """The steps of one product, checked against integers once."""
    stream = SeededRandomness(1, "benchmark")
    factor = stream.ring((shape.m, shape.k), min(shape.factor_bits, 58)).astype(np.int64)
    matrix, addend = stream.ring((shape.k, shape.n), 59), stream.ring((shape.m, shape.n), 59)
    bundle = owner.encrypt(matrix, shape)
    operand = public.load_operand(bundle, shape)
    where = f"{label} {shape.m}x{shape.k}x{shape.n} factor {shape.factor_bits} bits"
    prepared = [median_ms(lambda: side.prepare(shape), repeats) for side in (owner, public)]  # noqa: B023
    for side in (owner, public):
        while side.prepare(shape) < repeats + 2:  # so that each call below finds what it needs in stock
            pass
    reply = public.multiply_add(factor, operand, addend, shape)
    exact = as_ring(((factor.astype(object) @ matrix.astype(object) + addend) % (1 << 59)).astype(np.int64))
    if not np.array_equal(owner.decrypt(reply, shape), exact):
        sys.exit(f"{where}: the product is wrong")
    sent, returned = sum(map(len, bundle.parts)), sum(map(len, reply.parts))
    multiply = median_ms(lambda: public.multiply_add(factor, operand, addend, shape), repeats)
    yield Line(f"{where}: prepare operand", prepared[0])
    yield Line(f"{where}: encrypt operand", median_ms(lambda: owner.encrypt(matrix, shape), repeats), sent)
    yield Line(f"{where}: load operand", median_ms(lambda: public.load_operand(bundle, shape), repeats))
    yield Line(f"{where}: prepare product", prepared[1])
    yield Line(f"{where}: multiply_add", multiply, returned)
    yield Line(f"{where}: decrypt", median_ms(lambda: owner.decrypt(reply, shape), repeats))


def thread_scaling(public: BfvPublic, shape: MatrixShape, repeats: int) -> float:
    """How much faster two threads prepare masks than one: 1 where the binding holds the interpreter lock."""

    def work() -> None:
        for _ in range(repeats):
            public.prepare(shape)

    def in_turn() -> None:
        work()
        work()

    def in_threads() -> None:
        with ThreadPoolExecutor(2) as pool:
            for job in [pool.submit(work), pool.submit(work)]:
                job.result()

    return median_ms(in_turn, 3) / median_ms(in_threads, 3)


def noise_row(parameters: BfvParameters, label: str, shape: MatrixShape) -> dict[str, Any]:
    """What was computed from the parameters for one product."""
    layout = best_layout(shape, parameters)
    return {
        "product": label,
        "parameters": parameters.name,
        "operands": layout.operand_parts,
        "replies": layout.reply_parts,
        "tile": f"{layout.k_tile}x{layout.n_tile}",
        "noise_bound_bits": parameters.product_noise(layout.norm).bit_length(),
        "flood_bits": parameters.flood_bits,
        "distance_bits": round(parameters.distance_bits(layout.norm), 1),
        "margin_bits": round(parameters.decryption_margin_bits, 2),
    }


def measure(batch: int, inputs: int, outputs: int, repeats: int) -> dict[str, Any]:
    """All figures as plain data."""
    products = [
        (TRAINING, "z", MatrixShape(batch, inputs, outputs, 23)),
        (TRAINING, "da", MatrixShape(batch, outputs, inputs, 18)),
        (TRAINING, "dW", MatrixShape(inputs, batch, outputs, 17)),
        (TRIPLES, "triple", MatrixShape(batch, inputs, outputs, 59)),
    ]
    lines: list[Line] = []
    noise = []
    between = 0.0
    batch_bytes = 0
    scaling = 0.0
    for parameters in (TRAINING, TRIPLES):
        backend = BfvBackend(parameters)
        owner = backend.generate()
        public = backend.load_public(owner.public_key())
        key = owner.public_key()
        lines.append(Line(f"{parameters.name}: generate key pair", median_ms(backend.generate, repeats), len(key)))
        lines.append(Line(f"{parameters.name}: load public key", median_ms(lambda: backend.load_public(key), repeats)))  # noqa: B023
        for chosen, label, shape in products:
            if chosen is not parameters:
                continue
            noise.append(noise_row(parameters, label, shape))
            steps = list(product_lines(owner, public, label, shape, repeats))
            lines.extend(steps)
            if parameters is TRAINING:
                between += sum(step.milliseconds for step in steps if ": prepare " not in step.name)
                batch_bytes += sum(step.size for step in steps)
                scaling = thread_scaling(public, shape, 2)
    return {
        "repeats": repeats,
        "steps": [asdict(line) for line in lines],
        "noise": noise,
        "batch_milliseconds_between_messages": between,
        "batch_bytes": batch_bytes,
        "two_threads_speedup": scaling,
    }


def show(result: dict[str, Any]) -> None:
    """The figures as tables."""
    console = Console()
    steps = Table(title=f"BFV steps, median of {result['repeats']}")
    steps.add_column("step")
    steps.add_column("ms", justify="right")
    steps.add_column("bytes sent", justify="right")
    for line in result["steps"]:
        steps.add_row(line["name"], f"{line['milliseconds']:.2f}", f"{line['size']:,}" if line["size"] else "")
    console.print(steps)
    noise = Table(title="Computed from the parameters")
    for column in result["noise"][0]:
        noise.add_column(column.replace("_", " ").removesuffix(" bits"), justify="right", no_wrap=True)
    for row in result["noise"]:
        noise.add_row(*(str(value) for value in row.values()))
    console.print(noise)
    console.print(
        f"One training batch (z, da, dW): {result['batch_bytes']:,} bytes, "
        f"{result['batch_milliseconds_between_messages']:.0f} ms of both parties' work between messages. "
        f"Two threads are {result['two_threads_speedup']:.2f} times as fast as one."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="BFV products step by step")
    parser.add_argument("--batch", type=int, default=128, help="samples in a batch")
    parser.add_argument("--inputs", type=int, default=20, help="inputs of the projection layer")
    parser.add_argument("--outputs", type=int, default=20, help="outputs of the projection layer")
    parser.add_argument("--repeats", type=int, default=9, help="calls per step; the median is shown")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    result = measure(given.batch, given.inputs, given.outputs, given.repeats)
    if given.json:
        json.dump(result, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(result)


if __name__ == "__main__":
    main()
