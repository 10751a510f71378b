"""What a product cannot do without: the butterflies of its transforms and its multiply-accumulates, counted.

A transform of N = 8192 points is N / 2 log2 N = 53,248 butterflies modulo one prime. Rows of residues that are
transformed, with L data primes, and p operand parts, g row groups, c k tiles, s sums and r replies of a layout:

    prepare operand   p L
    prepare product   r L
    load              p L
    multiply_add      g c L of factor tiles; 2 L back for a reply of one sum, and what `_packed` says for one of several
    decrypt           2 r for each prime that c1 s needs

A key switch takes digits of one c1 back modulo L primes, and forth modulo each of the L others, P among them; of sums
that are modulo P as well L + 1, and L (L + 1). There are three for four sums, and one for each pair before; at the end
are 2 (L + 1) back (`protocols/he/packing.py`).

Factor tiles that are powers of two and fill the polynomial are mostly zeros, and whole stages only copy: of the first
log2 rows stages, k_tile points of each span take part, and of the last 13, log2 k_tile stages are left
(`protocols/he/native/products.inc`). Multiply-accumulates are 2 s c L N, and 2 L (L + 1) N for each key
switch. Drawing, hashing, and putting bits together are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocols.he.layout import Layout, spacing
from protocols.he.parameters import JOINED, BfvParameters

BLOCK = 64
LEAST_TILE = 8
"""Shorter tiles are repeated to this many words, so that vectors of any set are full."""


@dataclass(frozen=True)
class Work:
    """Of one step: `transforms` of whole polynomials modulo one prime, other butterflies, multiply-accumulates."""

    transforms: int = 0
    butterflies: int = 0
    multiply_accumulates: int = 0

    def all_butterflies(self, degree: int) -> int:
        """Those of the transforms as well."""
        return self.butterflies + self.transforms * transform_butterflies(degree)


def transform_butterflies(degree: int) -> int:
    """Of one transform."""
    return degree // 2 * int(math.log2(degree))


def work(layout: Layout, parameters: BfvParameters) -> dict[str, Work]:
    """By step of one product."""
    primes, degree, tiles = len(parameters.data_primes), layout.degree, layout.groups * layout.k_tiles
    replies = [len(layout.part(index)) for index in range(layout.reply_parts)]
    made = [_packed(sums, primes, degree) if sums > 1 else Work(2 * primes) for sums in replies]
    back = sum(each.transforms for each in made)
    blocks = sum(each.butterflies for each in made)
    accumulates = 2 * degree * layout.sums * layout.k_tiles * primes + sum(each.multiply_accumulates for each in made)
    multiply_add = Work(back + tiles * primes, blocks, accumulates)
    if is_pruned(layout):
        multiply_add = Work(back, blocks + tiles * primes * _pruned_butterflies(layout), accumulates)
    return {
        "prepare operand": Work(layout.operand_parts * primes),
        "prepare product": Work(layout.reply_parts * primes),
        "encrypt": Work(),
        "load": Work(layout.operand_parts * primes),
        "multiply_add": multiply_add,
        "decrypt": Work(2 * layout.reply_parts * result_primes(parameters)),
    }


def _packed(sums: int, primes: int, degree: int) -> Work:
    """Of one reply, from the sums' products on. Butterflies: those of the last 6 stages of what is left of c0, and of
    digits modulo their own primes; and those that lead to results, the last of each 8 values."""
    apart, count, switches, transforms, rows, picked = spacing(sums) // 2, sums, 0, 0, 0, 0
    moduli = primes  # of what is switched
    while apart >= JOINED:
        pairs = count - apart
        switches += pairs
        transforms += pairs * moduli * (1 + primes)
        rows += pairs * (primes if moduli == primes else 0)  # digits modulo their own primes
        picked += count * primes if moduli == primes else 0  # c0 of sums
        picked += pairs * (primes + 1) if apart > JOINED else 0  # and of what the keys make of pairs
        rows += 0 if apart > JOINED else primes + 1  # all results, back
        apart, count, moduli = apart // 2, apart, primes + 1
    switches += JOINED - 1
    transforms += (JOINED - 1) * moduli * (1 + primes) + 2 * (primes + 1)
    butterflies = rows * degree // 2 * 6 + picked * degree // 16 * (8 + 4 + 2 + 3)
    return Work(transforms, butterflies, 2 * degree * switches * primes * (primes + 1))


def is_pruned(layout: Layout) -> bool:
    """Whether transforms of factor tiles leave stages out."""
    span = layout.k_tile * layout.n_tile
    powers = all(value & (value - 1) == 0 for value in (span, layout.k_tile))
    return powers and span >= BLOCK and layout.k_tile <= BLOCK and layout.rows * span == layout.degree


def result_primes(parameters: BfvParameters) -> int:
    """How many primes hold c1 s as an integer: below 2^W N in size."""
    bits, count = 0, 0
    while bits < parameters.reply_bits + int(math.log2(parameters.degree)) + 1:
        bits += parameters.data_primes[count].bit_length() - 1
        count += 1
    return count


def _pruned_butterflies(layout: Layout) -> int:
    """Of one tile modulo one prime."""
    whole_rows = layout.rows // 2 * int(math.log2(layout.rows)) * max(layout.k_tile, LEAST_TILE)
    return whole_rows + layout.degree // 2 * int(math.log2(layout.k_tile))
