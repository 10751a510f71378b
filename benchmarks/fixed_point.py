"""Fixed point step by step: quantising and decoding the tensors of a batch, per number, and the smoothing noise.

python -m benchmarks.fixed_point                        128 x 20 and 128 x 512
python -m benchmarks.fixed_point --shapes 1024x64
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.step_timings import Benchmark, StepTimings
from protocols.core.fixed_point import (
    BLOCK_BITS,
    FEATURE_BITS,
    GRADIENT_FEATURE_BITS,
    STEP_BITS,
    WEIGHT_BITS,
    decode,
    encode,
    encode_block,
    encode_stochastic,
)
from protocols.core.randomness import expand
from protocols.he.interface import as_ring, as_signed
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import noise_in_ring
from protocols.layer.smoothing import SmoothingNoise

LIMIT = 64.0
WIDTH = 20
"""Of the projection."""


def measure_shape(lines: StepTimings, rows: int, columns: int) -> None:
    """All steps for a tensor of one shape."""
    values = np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)
    randomness, parameters = expand(bytes(32)), LayerParameters(feature_norm=LIMIT)
    where, count, unit = f"{rows}x{columns}", rows * columns, "number"
    exact = lines.time(
        f"{where}: encode, {FEATURE_BITS} bits", lambda: encode("a", values, FEATURE_BITS, LIMIT), count, unit
    )
    lines.time(
        f"{where}: quantise features, {FEATURE_BITS} and {GRADIENT_FEATURE_BITS} bits, norms",
        lambda: QuantisedFeatures.of("a", values, parameters),
        count,
        unit,
    )
    lines.time(f"{where}: encode a block, {BLOCK_BITS} bits", lambda: encode_block("dz", values), count, unit)
    lines.time(
        f"{where}: encode stochastically, {STEP_BITS} bits",
        lambda: encode_stochastic("lr dz", values, STEP_BITS, LIMIT, randomness),
        count,
        unit,
    )
    ring = lines.time(f"{where}: to the ring", lambda: as_ring(exact), count, unit)
    lines.time(f"{where}: from the ring", lambda: as_signed(ring), count, unit)
    decoded = lines.time(
        f"{where}: decode, {FEATURE_BITS} bits", lambda: decode("a", exact, FEATURE_BITS, LIMIT), count, unit
    )
    if np.abs(decoded - values).max() > 2.0 ** -(FEATURE_BITS + 1):
        raise RuntimeError(f"{where}: decoding does not undo encoding")
    noise, sigma = SmoothingNoise(randomness), parameters.smoothing_sigma(max(columns, WIDTH)) * 2.0**WEIGHT_BITS
    lines.time(
        f"{where}: smoothing noise on {rows}x{WIDTH}",
        lambda: noise_in_ring(noise.draw(0, 0, exact, WIDTH), sigma),
        rows * WIDTH,
        unit,
    )
    weights = as_ring(np.ones((columns, WIDTH), np.int64))
    lines.time(f"{where}x{WIDTH}: product in the ring", lambda: matmul(exact, weights), count * WIDTH, "term")


def measure(lines: StepTimings, options: argparse.Namespace) -> None:
    """All lines."""
    for shape in ["4x3"] if options.quick else options.shapes:
        rows, columns = map(int, shape.split("x"))
        measure_shape(lines, rows, columns)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Shapes."""
    parser.add_argument("--shapes", nargs="+", default=["128x20", "128x512"], help="rows x columns")


BENCHMARK = Benchmark("fixed_point", __doc__, measure, arguments, repeats=51)

if __name__ == "__main__":
    BENCHMARK.main()
