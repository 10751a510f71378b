"""A product of the projection layer step by step, for any encryption: what `bfv` and `paillier` measure alike.

    owner:      prepare, encrypt          decrypt
    evaluator:  prepare, load operand, multiply_add

`prepare` fills the stock of randomness, which training does beside the batches; `encrypt` and `multiply_add` take from
it, as in training. The result is checked against integers.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from benchmarks.step_timings import StepTiming, StepTimings
from protocols.core.randomness import SeededRandomness
from protocols.he.interface import RING_BITS, Backend, CiphertextBundle, MatrixShape, PublicSide, SecretSide
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import LayerShapes, add
from protocols.schemes.masked.triples import TRAIN, TripleShapes


@dataclass(frozen=True)
class Units:
    """How many ciphertexts an operand and a reply have, and how many encryptions of zero a product takes."""

    operand: int
    product: int
    reply: int


def add_shapes(parser: argparse.ArgumentParser, *inputs: int) -> None:
    """The options that `specs` reads; `inputs` are the default widths."""
    parser.add_argument("--batch", type=int, default=128, help="samples in a batch")
    parser.add_argument("--inputs", type=int, nargs="+", default=list(inputs), help="d, widths of the features")
    parser.add_argument("--outputs", type=int, default=20, help="o, width of the projection")


def specs(options: argparse.Namespace) -> list[LayerSpec]:
    """The layers that the options ask for."""
    widths, outputs, rows = options.inputs, options.outputs, options.batch
    if options.quick:
        widths, outputs, rows = [3], 2, 4
    return [LayerSpec("benchmark", width, outputs, rows, True, bytes(32), seed=1) for width in widths]


def describe(spec: LayerSpec) -> str:
    """For names."""
    return f"B={spec.rows} d={spec.width_in} o={spec.width_out}"


def layer_products(spec: LayerSpec) -> dict[str, MatrixShape]:
    """The three products of a training batch."""
    shapes = LayerShapes(spec.width_in, spec.width_out, LayerParameters())
    rows = spec.rows
    return {"z": shapes.forward(rows), "da": shapes.feature_gradient(rows), "dW": shapes.weight_gradient(rows)}


def triple_products(spec: LayerSpec, backend: Backend) -> dict[str, MatrixShape]:
    """Those of a triple for a training batch."""
    return {f"triple {product.name}": product.shape for product in TripleShapes(spec, backend).products(TRAIN)}


def random_factor(shape: MatrixShape, stream: SeededRandomness) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """As large as the shape allows."""
    limit = (1 << shape.factor_bits) - 1
    if shape.row_sum is not None:
        limit = min(limit, shape.row_sum // shape.k)
    if shape.square_sum is not None:
        limit = min(limit, math.isqrt(shape.square_sum // (shape.m * shape.k)))
    return np.rint((2 * stream.uniform((shape.m, shape.k)) - 1) * limit).astype(np.int64)


def size(bundle: CiphertextBundle) -> int:
    """Bytes."""
    return sum(map(len, bundle.parts))


def measure_product(
    lines: StepTimings, label: str, shape: MatrixShape, owner: SecretSide, evaluator: PublicSide, units: Units
) -> list[StepTiming]:
    """All steps of one product; those that a batch waits for are returned."""
    stream = SeededRandomness(1, label)
    factor = random_factor(shape, stream)
    matrix, addend = stream.ring((shape.k, shape.n), RING_BITS), stream.ring((shape.m, shape.n), RING_BITS)
    where = f"{label} {shape.m}x{shape.k}x{shape.n}, {shape.factor_bits} bits"
    zero, ciphertext = "zero", "ciphertext"
    # Each makes as much as the step that takes it will take.
    lines.time(f"{where}: prepare operand", lambda: owner.prepare(shape), units.operand, zero)
    lines.time(f"{where}: prepare product", lambda: evaluator.prepare(shape), units.product, zero)
    first = len(lines.lines)
    bundle = lines.time(
        f"{where}: encrypt operand", lambda: owner.encrypt(matrix, shape), units.operand, ciphertext, size
    )
    operand = lines.time(
        f"{where}: load operand", lambda: evaluator.load_operand(bundle, shape), units.operand, ciphertext
    )
    reply = lines.time(
        f"{where}: multiply_add",
        lambda: evaluator.multiply_add(factor, operand, addend, shape),
        shape.m * shape.k * shape.n,
        "term",
        size,
    )
    result = lines.time(f"{where}: decrypt", lambda: owner.decrypt(reply, shape), units.reply, ciphertext)
    if not np.array_equal(result, add(matmul(factor, matrix), addend)):
        raise RuntimeError(f"{where}: the product is wrong")
    return lines.lines[first:]
