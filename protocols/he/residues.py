"""Vectors modulo a set's data primes, made here rather than in SEAL: messages scaled by q/t, flooding, small errors.

Everything is uint64 residues [primes, n], row i modulo prime i, so that it can be made for the few coefficients that
matter, ahead of time, or from this project's own randomness. No value leaves a word: products of two words are taken
by Shoup's method, and large integers by Horner's rule.

Reference: Halevi, Polyakov, Shoup (CT-RSA 2019) for scaling by the rational q/t; Shoup's modular multiplication as in
Harvey, Faster arithmetic for number-theoretic transforms (2014), section 3; Alkim et al., NewHope (USENIX Security
2016) for the centred binomial.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.core.randomness import Randomness
from protocols.he.interface import RING_BITS, as_signed
from protocols.he.parameters import ERROR_BOUND, BfvParameters

Residues = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_HIGH_BITS = 62
_ONE_BITS = np.array([value.bit_count() for value in range(1 << 16)], np.int8)
_TERNARY = np.array([0, 1, (1 << RING_BITS) - 1], np.uint64)


def reduce_once(values: Residues, prime: int) -> Residues:
    """Values below twice the prime, below it: the difference wraps where it is negative."""
    reduced: Residues = np.minimum(values, values - np.uint64(prime))
    return reduced


def _high_word(values: Residues, constant: int) -> Residues:
    """The upper 64 bits of each 128-bit product."""
    low, high = np.uint64(constant & 0xFFFFFFFF), np.uint64(constant >> 32)
    upper, lower = values >> _WORD, values & _LOW
    middle = upper * low + (lower * low >> _WORD)
    product: Residues = upper * high + (middle >> _WORD) + ((lower * high + (middle & _LOW)) >> _WORD)
    return product


def multiply_by(values: Residues, constant: int, prime: int) -> Residues:
    """values * constant mod prime, for any words as values, constant < prime < 2^62."""
    quotient = _high_word(values, (constant << 64) // prime)
    return reduce_once(values * np.uint64(constant) - quotient * np.uint64(prime), prime)


def scaled_message(ring: Residues, parameters: BfvParameters) -> Residues:
    """round(q m / t) for ring elements m [n]: what BFV encrypts them as.

    It is (q m - r) / t with r the centred remainder of q m mod t, and q is 0 modulo each prime: -r / t remains.
    """
    modulus, half = math.prod(parameters.data_primes), 1 << (RING_BITS - 1)
    remainder = as_signed(ring * np.uint64(modulus % (1 << RING_BITS)))
    shifted = (half - remainder).view(np.uint64)  # of one sign
    out = np.empty((len(parameters.data_primes), len(ring)), np.uint64)
    for row, prime in zip(out, parameters.data_primes, strict=True):
        inverse = pow(1 << RING_BITS, -1, prime)
        row[:] = reduce_once(multiply_by(shifted, inverse, prime) + np.uint64(-half * inverse % prime), prime)
    return out


def add_residues(left: Residues, right: Residues, parameters: BfvParameters) -> Residues:
    """The sum of reduced residues, reduced."""
    total = left + right
    primes = np.array(parameters.data_primes, np.uint64)[:, None]
    reduced: Residues = np.minimum(total, total - primes)
    return reduced


def flooding_noise(stream: Randomness, parameters: BfvParameters, count: int) -> Residues:
    """`count` sums of three integers uniform in [0, 2^flood_bits), less 3/2 of 2^flood_bits."""
    low_bits = parameters.flood_bits - _HIGH_BITS
    # Three numbers of 62 bits add up in a word.
    high = stream.ring((3, count), _HIGH_BITS).sum(axis=0)
    low = stream.ring((3, count), low_bits).sum(axis=0)
    out = np.empty((len(parameters.data_primes), count), np.uint64)
    for row, prime in zip(out, parameters.data_primes, strict=True):
        p, room = np.uint64(prime), 64 - prime.bit_length()
        row[:] = high % p
        for shift in range(low_bits, 0, -room):  # times 2^low_bits, as many bits at a time as fit above the residue
            row[:] = (row << np.uint64(min(room, shift))) % p
        centre = np.uint64(-parameters.largest_flood % prime)
        row[:] = (row + low % p + centre) % p
    return out


def small_error(stream: Randomness, parameters: BfvParameters) -> Residues:
    """One RLWE error: N centred binomials of 2 x ERROR_BOUND bits, SEAL's own distribution."""
    half = (1 << ERROR_BOUND) - 1
    words = stream.ring((parameters.degree,), 64) & np.uint64(half << 32 | half)
    ones = _ONE_BITS[words.astype("<u8", copy=False).view("<u2").reshape(-1, 4)]
    error = (ones[:, 0] + ones[:, 1] - ones[:, 2] - ones[:, 3]).astype(np.int64)
    negative = error < 0
    return np.stack([(error + negative * prime).view(np.uint64) for prime in parameters.data_primes])


def ternary(stream: Randomness, degree: int) -> Residues:
    """N coefficients uniform in {-1, 0, 1} to within 2^-62 each, as ring elements [N]."""
    coefficients: Residues = _TERNARY[stream.ring((degree,), 64) % np.uint64(3)]
    return coefficients
