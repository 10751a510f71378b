"""How fast this machine's native kernel transforms and multiplies, and how near a product is to that.

The bound of a step is its butterflies at the rate of a whole transform, and its multiply-accumulates at the rate of a
product that consists of nearly nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.products.counts import Work, transform_butterflies, work
from benchmarks.products.measure import FACTOR_BITS, MILLI, STEPS, ProductTimes
from protocols.he.bfv import PIECE
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout, best_layout
from protocols.he.native.kernel import Kernel
from protocols.he.parameters import TRAINING, BfvParameters

MUCH = MatrixShape(16, 32, 8192, 1)
"""With one row of M a tile, a factor tile has one number, and its transform only copies it."""

READ_BYTES = 1 << 28
"""Far more than a processor caches."""

ENOUGH_SAMPLES = 3

SHORT_SECONDS = 0.02
"""Of calls whose mean is one sample."""


@dataclass(frozen=True)
class Rates:
    """Of one core.

    Args:
        transform: microseconds, the mean of there and back.
        multiply_accumulate: microseconds of N of them.
        read: gigabytes of memory a second.
    """

    transform: float
    multiply_accumulate: float
    read: float

    def bound(self, needed: Work, parameters: BfvParameters) -> float:
        """Milliseconds."""
        degree = parameters.degree
        transforms = needed.all_butterflies(degree) / transform_butterflies(degree)
        return (transforms * self.transform + needed.multiply_accumulates / degree * self.multiply_accumulate) / MILLI


def least(call: Callable[[], object], samples: int) -> float:
    """Processor microseconds of a call: the least mean of some samples."""
    call()
    began = time.perf_counter()
    call()
    count = max(1, int(SHORT_SECONDS / max(time.perf_counter() - began, 1e-9)))
    found = []
    for _ in range(samples):
        start = time.thread_time()
        for _ in range(count):
            call()
        found.append((time.thread_time() - start) / count)
    return 1e6 * min(found)


def measure_rates(instruction_set: str, samples: int) -> Rates:
    """Of this kernel's C functions, called as the kernel calls them, without its checks in Python."""
    primes = TRAINING.data_primes
    kernel = Kernel(primes, scale_bits=TRAINING.reply_bits, drop_bits=TRAINING.dropped_bits,
                    flood_bits=TRAINING.flood_bits, instruction_set=instruction_set)  # fmt: skip
    library, context = kernel._lib, kernel._context
    row = kernel._new_words(kernel.uniform(bytes(32)))
    there = least(lambda: library.kernel_forward(context, 0, row), samples)
    back = least(lambda: library.kernel_inverse(context, 0, row), samples)

    layout = Layout(MUCH, 1, TRAINING.degree, 1, TRAINING.degree)
    seed, packed = bytes(32), kernel.pack(kernel.inverse(kernel.uniform(bytes(31) + b"1")))
    operand = kernel.load([(seed, packed)] * layout.operand_parts)
    factor = np.ones((MUCH.m, MUCH.k), np.int64)
    numbers, groups = kernel._layout(layout), range(layout.groups)
    workspace = kernel._pool.take(kernel._products_words(numbers, 0, layout.groups))
    sums = [kernel._pool.take(2 * len(primes) * TRAINING.degree) for _ in range(layout.sums)]
    for each in sums:
        each.words[:] = 0
    products = kernel._products(numbers, factor, operand, sums, groups, workspace)
    multiply = least(lambda: products.call(kernel._ffi.NULL), samples)
    count = work(layout, TRAINING)["multiply_add"].multiply_accumulates / TRAINING.degree
    memory = np.zeros(READ_BYTES // 8, np.uint64)
    memory[:] = 1  # so that every page is there
    return Rates((there + back) / 2, multiply / count, READ_BYTES / least(memory.sum, ENOUGH_SAMPLES) / 1e3)


def memory_milliseconds(layout: Layout, rates: Rates) -> float:
    """Of reading the loaded operand, once for every piece of groups that is made at once."""
    step = max(1, PIECE // (layout.n_tiles * layout.packed)) * layout.packed
    loaded = 2 * layout.operand_parts * len(TRAINING.data_primes) * layout.degree * 8
    return -(-layout.groups // step) * loaded / rates.read / 1e6


def nearness(times: ProductTimes, rates: Rates) -> dict[str, dict[str, float]]:
    """By step: counts, the bound in milliseconds, what was measured, and the bound's share of it."""
    layout = best_layout(MatrixShape(*times.shape, FACTOR_BITS), TRAINING)
    needed, out = work(layout, TRAINING), {}
    one = transform_butterflies(TRAINING.degree)
    for step in STEPS:
        bound, measured = rates.bound(needed[step], TRAINING), times.milliseconds[step]
        out[step] = {
            "transforms": round(needed[step].all_butterflies(TRAINING.degree) / one, 1),
            "multiply_accumulates": needed[step].multiply_accumulates,
            "bound_milliseconds": bound,
            "cpu_milliseconds": measured,
            "share": bound / measured,
        }
    out["multiply_add"]["memory_milliseconds"] = memory_milliseconds(layout, rates)
    return out
