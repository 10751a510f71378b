"""The way back from transform form in numpy, for who has no engine: a judge, and tests.

Reference: Harvey, Faster arithmetic for number-theoretic transforms (2014); the order is SEAL's (`bfv_wire`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.he.residues import multiply_by, multiply_words, reduce_once

Residues = NDArray[np.uint64]


@lru_cache(maxsize=16)
def least_root(prime: int, degree: int) -> int:
    """The least primitive 2N-th root of unity."""
    order = 2 * degree
    root = next(
        found
        for found in (pow(base, (prime - 1) // order, prime) for base in range(2, prime))
        if pow(found, degree, prime) == prime - 1
    )
    square, odd, least = root * root % prime, root, root
    for _ in range(degree):
        odd = odd * square % prime
        least = min(least, odd)
    return least


def reversed_bits(count: int) -> NDArray[np.int64]:
    """For each index below a power of two, the index with its bits reversed."""
    found = np.zeros(1, np.int64)
    while len(found) < count:
        found = np.concatenate((2 * found, 2 * found + 1))
    return found


@lru_cache(maxsize=16)
def _twiddles(prime: int, degree: int) -> tuple[Residues, Residues]:
    """Powers of the root's inverse in bit-reversed order, and floor(2^64 power / p)."""
    inverse, powers = pow(least_root(prime, degree), -1, prime), [1]
    for _ in range(degree - 1):
        powers.append(powers[-1] * inverse % prime)
    quotients = np.array([(power << 64) // prime for power in powers], np.uint64)
    order = reversed_bits(degree)
    return np.array(powers, np.uint64)[order], quotients[order]


def coefficients(values: Residues, prime: int) -> Residues:
    """A polynomial in transform form [N] as coefficients [N], modulo a prime below 2^62."""
    degree, length, current = len(values), 1, values
    powers, quotients = _twiddles(prime, degree)
    while length < degree:
        pairs = degree // (2 * length)
        left, right = current.reshape(pairs, 2, length).transpose(1, 0, 2)
        own = slice(pairs, 2 * pairs)
        apart = multiply_words(left + (np.uint64(prime) - right), powers[own, None], quotients[own, None], prime)
        current = np.stack((reduce_once(left + right, prime), apart), axis=1).reshape(degree)
        length *= 2
    return multiply_by(current, pow(degree, -1, prime), prime)
