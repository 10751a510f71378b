"""Another process, as far as what is sent tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pickle import dumps, loads
from typing import Any

from protocols.core.mapper import Mapper, Work
from protocols.core.randomness import expand
from protocols.he.interface import RING_BITS, MatrixShape, as_signed


class Elsewhere:
    """A `Distant` that takes all work, pickles all that crosses, and keeps the pieces."""

    def __init__(self) -> None:
        self.asked: list[Work] = []
        self.pieces: list[bytes] = []

    def __call__(self, work: Work, /) -> Mapper:
        self.asked.append(work)
        return self._map

    def _map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        sent = dumps(function)
        for item in items:
            self.pieces.append(dumps(item))
            there, argument = loads(sent), loads(self.pieces[-1])  # noqa: S301 - made here
            yield loads(dumps(there(argument)))  # noqa: S301 - made here


def inputs(shape: MatrixShape) -> tuple[Any, Any, Any]:
    """X, M and R of a product, the same every time."""
    stream = expand(bytes(32))
    factor = as_signed(stream.ring((shape.m, shape.k), RING_BITS)) >> (RING_BITS - shape.factor_bits)
    return factor, stream.ring((shape.k, shape.n), RING_BITS), stream.ring((shape.m, shape.n), RING_BITS)
