"""One product X M + R of bfv, timed: processor milliseconds of each step, the least of several rounds, on one core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.step_timings import timed
from protocols.core.randomness import SeededRandomness
from protocols.he.bfv import BfvBackend
from protocols.he.engines import make_engine
from protocols.he.interface import RING_BITS, CiphertextBundle, MatrixShape
from protocols.he.parameters import TRAINING
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import add

FACTOR_BITS = 17
"""X has signed 18-bit integers, as features and gradients have."""

PREPARED = ("prepare operand", "prepare product")
AWAITED = ("encrypt", "load", "multiply_add", "decrypt")
STEPS = PREPARED + AWAITED

MILLI = 1e3
ENOUGH_ROUNDS = 2
"""An engine that has taken its time takes part in no more rounds than these."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class ProductTimes:
    """One engine at one shape.

    Args:
        engine: as `engines.make_engine` calls it.
        shape: m, k, n.
        rounds: how many products were made.
        milliseconds: by step, of the processor.
        operand_bytes, reply_bytes: on the wire.
    """

    engine: str
    shape: Shape
    rounds: int
    milliseconds: dict[str, float]
    operand_bytes: int
    reply_bytes: int

    @property
    def awaited(self) -> float:
        """Milliseconds of what a batch waits for."""
        return sum(self.milliseconds[step] for step in AWAITED)

    @property
    def prepared(self) -> float:
        """Milliseconds of what is made beside the batches."""
        return sum(self.milliseconds[step] for step in PREPARED)


class Contender:
    """One engine with a key pair of its own.

    Args:
        name: of the engine.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        backend = BfvBackend(TRAINING, engine=make_engine(TRAINING, name))
        self._owner = backend.generate()
        self._evaluator = backend.load_public(self._owner.public_key())
        self._seconds: dict[str, list[float]] = {}
        self._bytes = (0, 0)

    @property
    def rounds(self) -> int:
        """Products since the last `start`."""
        return len(self._seconds["decrypt"])

    @property
    def spent(self) -> float:
        """Processor seconds since the last `start`."""
        return sum(map(sum, self._seconds.values()))

    def start(self) -> None:
        """Forgets what was measured."""
        self._seconds = {step: [] for step in STEPS}

    def multiply(self, shape: MatrixShape) -> None:
        """One product, whose result is checked against integers."""
        stream = SeededRandomness(1, f"{shape.m} {shape.k} {shape.n}")
        limit = shape.largest
        factor = np.rint((2 * stream.uniform((shape.m, shape.k)) - 1) * limit).astype(np.int64)
        matrix, addend = stream.ring((shape.k, shape.n), RING_BITS), stream.ring((shape.m, shape.n), RING_BITS)
        self._time("prepare operand", lambda: self._owner.prepare(shape))
        self._time("prepare product", lambda: self._evaluator.prepare(shape))
        sent = self._time("encrypt", lambda: self._owner.encrypt(matrix, shape))
        operand = self._time("load", lambda: self._evaluator.load_operand(sent, shape))
        reply = self._time("multiply_add", lambda: self._evaluator.multiply_add(factor, operand, addend, shape))
        result = self._time("decrypt", lambda: self._owner.decrypt(reply, shape))
        if not np.array_equal(result, add(matmul(factor, matrix), addend)):
            raise RuntimeError(f"{self.name}: the product {shape.m} x {shape.k} x {shape.n} is wrong")
        self._bytes = _size(sent), _size(reply)

    def times(self, shape: Shape) -> ProductTimes:
        """Of the rounds since the last `start`."""
        least = {step: MILLI * min(seconds) for step, seconds in self._seconds.items()}
        return ProductTimes(self.name, shape, self.rounds, least, *self._bytes)

    def _time(self, step: str, call: Any) -> Any:
        (_, processor), result = timed(call)
        self._seconds[step].append(processor)
        return result


def in_turns(contenders: Sequence[Contender], shape: Shape, rounds: int, seconds: float) -> list[ProductTimes]:
    """Every engine makes the product in every round, so that what disturbs the machine disturbs all of them.

    Args:
        seconds: of the processor, after which an engine takes part in `ENOUGH_ROUNDS` rounds at most.
    """
    product = MatrixShape(*shape, FACTOR_BITS)
    for each in contenders:
        each.start()
    for _ in range(rounds):
        for each in contenders:
            if each.rounds < ENOUGH_ROUNDS or each.spent < seconds:
                each.multiply(product)
    return [each.times(shape) for each in contenders]


def _size(bundle: CiphertextBundle) -> int:
    return sum(map(len, bundle.parts))


def described(products: Iterable[ProductTimes]) -> list[dict[str, Any]]:
    """As plain data."""
    return [
        {
            "engine": each.engine,
            "shape": list(each.shape),
            "rounds": each.rounds,
            "cpu_milliseconds": {**each.milliseconds, "awaited": each.awaited, "prepared": each.prepared},
            "operand_bytes": each.operand_bytes,
            "reply_bytes": each.reply_bytes,
        }
        for each in products
    ]
