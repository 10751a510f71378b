"""BFV step by step: the primitives, and the products of a training batch and of a triple.

    python -m benchmarks.bfv                                       128 samples; d = 20, 128 and 512; o = 20
    python -m benchmarks.bfv --batch 64 --inputs 40 --outputs 10

Each line is one call of one party with its inputs ready. `prepare` is what training does beside the batches; the total
of a batch is what it waits for: both parties' encrypt, load, multiply_add and decrypt of z, da and dW. A note has the
noise bounds, which are computed from the parameters. `two threads` against `in turn` shows whether SEAL's binding lets
go of the interpreter lock.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.product_steps import (
    Units,
    add_shapes,
    describe,
    layer_products,
    measure_product,
    specs,
    triple_products,
)
from benchmarks.step_timings import Benchmark, StepTimings
from protocols.core.randomness import SeededRandomness
from protocols.he import engines
from protocols.he.bfv import BfvBackend
from protocols.he.bfv_engine import WORD_BYTES, BfvEngine
from protocols.he.budget import bfv_distance
from protocols.he.interface import RING_BITS, MatrixShape
from protocols.he.layout import Layout, best_layout
from protocols.he.parameters import TRAINING, TRIPLES, BfvParameters
from protocols.he.residues import ternary


def primitives(lines: StepTimings, engine: BfvEngine) -> None:
    """What all products consist of, a ciphertext at a time."""
    parameters, stream = engine.parameters, SeededRandomness(1, "primitives")
    size = parameters.degree * WORD_BYTES
    where = f"{parameters.name}, {engine.description}"
    secret = engine.secret_key(ternary(stream.ring((parameters.degree,), 64)).tobytes())
    seeds, errors, words = [stream.seed()], [stream.bytes(size)], stream.bytes(2 * size)
    lines.time(f"{where}: an encryption of zero", lambda: engine.zeros(secret, seeds, errors))
    message, calls = stream.ring((parameters.degree,), RING_BITS), lines.repeats + 1
    zeros = iter(engine.zeros(secret, seeds * calls, errors * calls))  # each can be used once
    body = lines.time(f"{where}: an operand", lambda: engine.operand_part(seeds[0], next(zeros), message), size=len)
    loaded = lines.time(f"{where}: load an operand", lambda: engine.load([body]))
    lines.time(f"{where}: a mask", lambda: engine.mask(loaded, words))


def noise(parameters: BfvParameters, label: str, layout: Layout) -> dict[str, Any]:
    """What is computed from the parameters for one product."""
    return {
        "product": f"{label} {layout.shape.m}x{layout.shape.k}x{layout.shape.n}",
        "parameters": parameters.name,
        "operands": layout.operand_parts,
        "replies": layout.reply_parts,
        "tile": f"{layout.k_tile}x{layout.n_tile}",
        "noise_bound_bits": parameters.product_noise(layout.norm).bit_length(),
        "flood_bits": parameters.flood_bits,
        "distance_bits": round(bfv_distance(layout, parameters).bits, 1),
        "margin_bits": round(parameters.decryption_margin_bits, 2),
    }


def threads(
    lines: StepTimings, parameters: BfvParameters, prepare: Callable[[MatrixShape], int], shape: MatrixShape
) -> None:
    """The same work in turn and at once."""

    def at_once() -> None:
        with ThreadPoolExecutor(2) as pool:
            for job in [pool.submit(prepare, shape) for _ in range(2)]:
                job.result()

    lines.time(f"{parameters.name}: prepare two products, in turn", lambda: (prepare(shape), prepare(shape)))
    lines.time(f"{parameters.name}: prepare two products, two threads", at_once)


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All lines."""
    lines.notes["noise"] = []
    for parameters in (TRAINING, TRIPLES):
        for name in sorted({engines.SEAL, engines.chosen()}):
            primitives(lines, engines.make_engine(parameters, name))
        backend = BfvBackend(parameters)
        owner = lines.time(
            f"{parameters.name}: generate a key pair", backend.generate, size=lambda it: len(it.public_key())
        )
        key = owner.public_key()
        public = lines.time(f"{parameters.name}: load a public key", partial(backend.load_public, key))
        for spec in specs(options):
            products = layer_products(spec) if parameters is TRAINING else triple_products(spec, backend)
            awaited = []
            for label, shape in products.items():
                layout = best_layout(shape, parameters)
                units = Units(layout.operand_parts, layout.reply_parts, layout.reply_parts)
                lines.notes["noise"].append(noise(parameters, label, layout))
                awaited += measure_product(lines, label, shape, owner, public, units)
            what = "batch" if parameters is TRAINING else "triple"
            lines.total(f"{describe(spec)}: {what}, both parties, without prepare", awaited)
        threads(lines, parameters, public.prepare, next(iter(products.values())))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Shapes."""
    add_shapes(parser, 20, 128, 512)


BENCHMARK = Benchmark("bfv", __doc__, measure, arguments)

if __name__ == "__main__":
    BENCHMARK.main()
