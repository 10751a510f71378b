"""Paillier's products and randomisers as pieces that any process can make: a piece holds all that it takes.

    party                                                           worker
    chunk of [M], rows of X, randomisers, packed masks   -------->  window tables, kept for the next rows of the chunk
                                                         <--------  replies
    public key, exponents                                -------->  table of h^n, kept; powers
                                                         <--------  randomisers

The party draws all randomness, so the bytes are the same wherever a piece is made. X, the exponents, the randomisers
and the masks are its secrets; its secret key stays where it is. A millisecond of work comes with every kilobyte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.mapper import Work
from protocols.he.kept import Kept
from protocols.he.multi_exponentiation import FixedBase, SharedBases
from protocols.he.paillier_parameters import PaillierLayout

FACTOR_SECONDS, BASE_SECONDS, POWER_SECONDS = 1e-6, 0.4e-3, 1.4e-3
"""For keys of 3072 bits: one bit of a factor's entry; the tables of one base; one randomiser."""

ROWS = 64
"""Of a piece: a worker makes its chunk's tables first, which take as long as some twenty rows."""

POWERS = 32
"""Randomisers of a piece."""


@dataclass(frozen=True, repr=False)
class Bases:
    """One chunk of columns of a peer's [M].

    Args:
        name: random; of this chunk, for a worker that has its tables already.
        root: n.
        ciphertexts: one for each row of M.
        exponent_bits, rows: as of `SharedBases`.
    """

    name: bytes
    root: mpz
    ciphertexts: tuple[mpz, ...]
    exponent_bits: int
    rows: int

    def tables(self) -> SharedBases:
        """Take a while, and memory."""
        return SharedBases(self.ciphertexts, self.root, self.exponent_bits, self.rows)


@dataclass(frozen=True, repr=False)
class Rows:
    """Rows of X [m', k], and what hides their products.

    Args:
        factor: the rows.
        randomizers: one for each.
        plaintexts: one for each reply, that is for `fold` rows.
        fold, shift: how many rows share a reply, and by how many bits each is moved for the next.
    """

    factor: NDArray[np.int64]
    randomizers: list[mpz]
    plaintexts: list[mpz]
    fold: int
    shift: int

    def split(self) -> Iterator[Rows]:
        """In portions, each with whole replies."""
        replies = -(-ROWS // self.fold)
        for first in range(0, len(self.plaintexts), replies):
            own, rows = slice(first, first + replies), slice(first * self.fold, (first + replies) * self.fold)
            yield Rows(self.factor[rows], self.randomizers[rows], self.plaintexts[own], self.fold, self.shift)


def replies_of(tables: SharedBases, root: mpz, rows: Rows) -> list[mpz]:
    """The ciphertexts of [X M + R] for some rows and one chunk of columns."""
    square, fold, shift = root * root, rows.fold, mpz(1) << rows.shift
    products = [row * s % square for row, s in zip(tables.products(rows.factor), rows.randomizers, strict=True)]
    replies = []
    for group, plaintext in enumerate(rows.plaintexts):
        folded, *others = reversed(products[group * fold : (group + 1) * fold])
        for row in others:
            folded = gmpy2.powmod(folded, shift, square) * row % square
        replies.append(folded * (1 + root * plaintext) % square)
    return replies


_tables: Kept[SharedBases] = Kept(2)
_powers: Kept[FixedBase] = Kept(4)


def distant_replies(piece: tuple[Bases, Rows]) -> list[mpz]:
    """`replies_of`, at a worker."""
    bases, rows = piece
    tables = _tables.get(bases.name) or _tables.put(bases.name, bases.tables())
    return replies_of(tables, bases.root, rows)


@dataclass(frozen=True, repr=False)
class PublicBase:
    """h of a public key modulo n, and how many digits exponents have: powers of h^n."""

    h: mpz
    n: mpz
    digits: int

    @property
    def name(self) -> bytes:
        """Of all of it: another key with this n and an h of somebody's choice has another table."""
        return f"{self.digits} {self.n:x} {self.h:x}".encode()

    def table(self) -> FixedBase:
        """Takes 0.1 s, and 16 MB."""
        return FixedBase(gmpy2.powmod(self.h, self.n, self.n * self.n), self.n, self.digits)


def distant_powers(base: PublicBase, exponents: list[bytes]) -> list[mpz]:
    """(h^n)^e for each e, by its digits, at a worker."""
    table = _powers.get(base.name) or _powers.put(base.name, base.table())
    return [table.power(exponent) for exponent in exponents]


def product_work(layout: PaillierLayout, ciphertext_bytes: int) -> Work:
    """How much a product is, and what is sent for it."""
    shape, chunks = layout.shape, len(layout.chunks)
    seconds = chunks * shape.k * (BASE_SECONDS + shape.m * shape.factor_bits * FACTOR_SECONDS)
    pieces = chunks * -(-shape.m // ROWS)
    there = pieces * shape.k * ciphertext_bytes + chunks * shape.m * (8 * shape.k + ciphertext_bytes)
    return Work(seconds, there + 2 * layout.reply_ciphertexts * ciphertext_bytes)


def powers_work(count: int, ciphertext_bytes: int) -> Work:
    """The same of so many randomisers."""
    return Work(count * POWER_SECONDS, count * (ciphertext_bytes + ciphertext_bytes // 2))
