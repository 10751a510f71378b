"""Products of `bfv` in other processes: what is sent there, in which portions, and how much work it is.

    party                                                      worker
    Sent: the owner's key and [M], as they came   -- once -->  an evaluator and a loaded [M], kept for what follows
    Portion: rows of X and of R, two seeds        --------->   masks, flooding, products
                                                  <---------   replies

A worker expands the seeds that the party drew, so the bytes are those of the party's own product. X, R and the seeds
are the party's secrets; its secret key stays where it is, and encrypting and decrypting with it: that is less work
than to send what comes out. So are masks: they are made where they are used, and none is made ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.mapper import Work
from protocols.he.bfv_engine import BfvEngine, Product, Ring
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout

TILE_SECONDS, SUM_SECONDS = 12e-6, 0.4e-3
"""One tile's product, and what comes with a sum: its mask, its flooding, its part of a reply. By the native kernel
without vector instructions of 512 bits it is more."""

SLOWER = 4
"""SEAL takes about so many times as long."""

PORTION_SECONDS = 0.03
"""Work that is worth handing over: some milliseconds are lost on each portion."""


@dataclass(frozen=True, repr=False)
class Sent:
    """A peer's [M] and its key, as they came.

    Args:
        name: random; of this operand, for a worker that has it already.
        parameters: the set's name.
        public_key: bytes, [n] uint8.
        parts: bytes of all parts, [parts, n] uint8: an operand's are of one length.
        shape: that it was loaded for.
    """

    name: bytes
    parameters: str
    public_key: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    shape: MatrixShape

    @classmethod
    def of(cls, name: bytes, parameters: str, public_key: bytes, parts: tuple[bytes, ...], shape: MatrixShape) -> Sent:
        """Arguments as the attributes, but bytes."""
        joined = np.frombuffer(b"".join(parts), np.uint8).reshape(len(parts), -1)
        return cls(name, parameters, np.frombuffer(public_key, np.uint8), joined, shape)


@dataclass(frozen=True, repr=False)
class Piece:
    """Some groups of rows, the masks that are ready for their replies, a seed for other masks, and one for flooding."""

    groups: range
    masks: list[Any]
    seed: bytes
    flooding_seed: bytes


@dataclass(frozen=True, repr=False)
class Portion:
    """Consecutive pieces of a product, with the rows of X [m', k] and R [m', n] that they need."""

    factor: NDArray[np.int64]
    addend: Ring
    pieces: tuple[Piece, ...]

    def product(self, layout: Layout, operand: Any, switching: Any) -> Product:
        """These rows as a product of their own; `layout` of the whole one."""
        m = len(self.factor)
        own = replace(layout, shape=replace(layout.shape, m=m), rows=min(layout.rows, m))
        return Product(own, self.factor, operand, self.addend, switching)


def portions(product: Product, pieces: Iterable[Piece], engine: BfvEngine) -> Iterator[Portion]:
    """Pieces that follow each other, as many as are worth it; their groups are counted from the portion's first."""
    layout = product.layout
    least = max(1, int(PORTION_SECONDS / _seconds(layout, 1, engine)))
    taken: list[Piece] = []
    for piece in pieces:
        taken.append(piece)
        if piece.groups.stop - taken[0].groups.start >= least:
            yield _portion(product, taken)
            taken = []
    if taken:
        yield _portion(product, taken)


def _portion(product: Product, pieces: list[Piece]) -> Portion:
    first, end = pieces[0].groups.start, pieces[-1].groups.stop
    rows = slice(first * product.layout.rows, end * product.layout.rows)
    own = (range(piece.groups.start - first, piece.groups.stop - first) for piece in pieces)
    moved = tuple(replace(piece, groups=groups) for piece, groups in zip(pieces, own, strict=True))
    return Portion(product.factor[rows], product.addend[rows], moved)


def work_of(layout: Layout, engine: BfvEngine, is_threaded: bool) -> Work:
    """How much a product is, and what is sent for it; `is_threaded`: as of `Work`."""
    parameters, shape = engine.parameters, layout.shape
    there = layout.operand_parts * parameters.operand_bytes + 8 * shape.m * (shape.k + shape.n)
    back = layout.reply_parts * parameters.degree * parameters.reply_width // 8
    return Work(_seconds(layout, layout.groups, engine), there + back, is_threaded)


def _seconds(layout: Layout, groups: int, engine: BfvEngine) -> float:
    sums = groups * layout.n_tiles
    return sums * (layout.k_tiles * TILE_SECONDS + SUM_SECONDS) * (1 if engine.releases_lock else SLOWER)
