"""The kernel's arithmetic in Python's integers and FLINT's polynomials, from the definitions in kernel.h."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import gmpy2
import numpy as np
from flint import fmpz_poly, nmod_poly
from numpy.typing import NDArray

from protocols.he.layout import Layout

N = 8192
T = 1 << 59


@lru_cache
def primes(bits: int, count: int, below_half: bool = False) -> tuple[int, ...]:
    """The largest primes of so many bits that are 1 mod 2N; or the smallest: then half of all draws are skipped."""
    start, step = ((1 << (bits - 1)) + 1, 2 * N) if below_half else ((1 << bits) + 1 - 2 * N, -2 * N)
    found = []
    while len(found) < count:
        if start.bit_length() == bits and gmpy2.is_prime(start):
            found.append(start)
        start += step
    return tuple(found)


@lru_cache
def least_root(p: int) -> int:
    """The least primitive 2N-th root of unity modulo p."""
    some = next(root for g in range(2, 99) if pow(root := pow(g, (p - 1) // (2 * N), p), N, p) == p - 1)
    return min(pow(some, power, p) for power in range(1, 2 * N, 2))


def reversed_bits(i: int) -> int:
    return int(f"{i:013b}"[::-1], 2)


def value_at(coefficients: Sequence[int], i: int, p: int) -> int:
    """Value i of a polynomial in transform form."""
    root = pow(least_root(p), 2 * reversed_bits(i) + 1, p)
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * root + coefficient) % p
    return value


def times(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """a b modulo X^N + 1, in integers."""
    product = [int(x) for x in (fmpz_poly(list(a)) * fmpz_poly(list(b))).coeffs()]
    product += [0] * (2 * N - len(product))
    return [low - high for low, high in zip(product[:N], product[N:], strict=True)]


def sum_of_products(left: Sequence[Sequence[int]], right: Sequence[Sequence[int]], p: int) -> list[int]:
    """Modulo X^N + 1 and p."""
    total = nmod_poly([], p)
    for a, b in zip(left, right, strict=True):
        total += nmod_poly([x % p for x in a], p) * nmod_poly(list(b), p)
    found = [int(x) for x in total.coeffs()]
    found += [0] * (2 * N - len(found))
    return [(low - high) % p for low, high in zip(found[:N], found[N:], strict=True)]


def factor_polynomials(layout: Layout, factor: NDArray[np.int64], group: int) -> list[list[int]]:
    """Not by the layout's own way, which reduces into the ring."""
    out = [[0] * N for _ in range(layout.k_tiles)]
    rows = factor[group * layout.rows : (group + 1) * layout.rows].tolist()
    for i, row in enumerate(rows):
        for a, x in enumerate(row):
            tile, inner = divmod(a, layout.k_tile)
            out[tile][i * layout.k_tile * layout.n_tile + layout.k_tile - 1 - inner] = x
    return out


def moved(polynomial: Sequence[int], exponent: int) -> list[int]:
    """polynomial X^exponent modulo X^N + 1."""
    out = [0] * N
    for place, value in enumerate(polynomial):
        turns, to = divmod((place + exponent) % (2 * N), N)
        out[to] = -value if turns else value
    return out


def automorphism(polynomial: Sequence[int], number: int, packing: int) -> list[int]:
    """sigma_k: X -> X^(1 + k 2N/p)."""
    out = [0] * N
    for place, value in enumerate(polynomial):
        turns, to = divmod(place * (1 + number * 2 * N // packing) % (2 * N), N)
        out[to] = -value if turns else value
    return out


def composed(residues: Sequence[Sequence[int]], moduli: Sequence[int]) -> list[int]:
    """Integers modulo the product of the primes."""
    q = math.prod(moduli)
    units = [q // p * pow(q // p, -1, p) for p in moduli]
    return [
        sum(unit * int(x) for unit, x in zip(units, column, strict=True)) % q for column in zip(*residues, strict=True)
    ]


def packed(values: Sequence[int], width: int) -> bytes:
    """`width` bits each, least significant first."""
    whole = 0
    for value in reversed(values):
        whole = whole << width | value
    return whole.to_bytes(-(-len(values) * width // 8), "little")


def unpacked(data: bytes, count: int, width: int) -> list[int]:
    whole = int.from_bytes(data, "little")
    mask = (1 << width) - 1
    return [whole >> (i * width) & mask for i in range(count)]


def uniform(stream: bytes, moduli: Sequence[int]) -> list[list[int]]:
    """Residues from draws, by prime; raises IndexError if the stream is too short."""
    rows, at = [], 0
    for p in moduli:
        row: list[int] = []
        size = -(-p.bit_length() // 8)
        while len(row) < N:
            if at + size > len(stream):
                raise IndexError("short stream")
            draw = int.from_bytes(stream[at : at + size], "little") & ((1 << p.bit_length()) - 1)
            at += size
            if draw < p:
                row.append(draw)
        rows.append(row)
    return rows


def scaled(values: Sequence[int], moduli: Sequence[int], width: int) -> list[int]:
    """c 2^W / q by kernel.h's formula, for integers c modulo q."""
    q = math.prod(moduli)
    constants = [((1 << (width + 52)) + p // 2) // p for p in moduli]
    units = [pow(q // p, -1, p) for p in moduli]
    out = []
    for c in values:
        total = 1 << 51
        for p, constant, unit in zip(moduli, constants, units, strict=True):
            total += constant * (c * unit % p)
        out.append((total >> 52) % (1 << width))
    return out


def message(m: int, q: int) -> int:
    """round(q m / t)."""
    return (2 * q * m + T) // (2 * T)


def flooding(words: Sequence[int], count: int, flood_bits: int) -> list[int]:
    """The centred sums of three integers each, from words [2][3][count]."""
    low_bits = flood_bits - 62
    out = []
    for i in range(count):
        high = sum(words[row * count + i] >> 2 for row in range(3))
        low = sum(words[(3 + row) * count + i] >> (64 - low_bits) for row in range(3))
        out.append((high << low_bits) + low - (3 << (flood_bits - 1)))
    return out
