"""Vectors modulo a set's data primes in numpy: messages scaled by q/t, flooding, small errors, and scaling to 2^W.

What the SEAL engine does beside SEAL, and what the native engine is compared with. Everything is uint64 residues
[primes, n], row i modulo prime i, or `Wide` integers. Products of two words are taken by Shoup's method.

Reference: Halevi, Polyakov, Shoup (CT-RSA 2019) for scaling by the rational q/t; Shoup's modular multiplication as in
Harvey, Faster arithmetic for number-theoretic transforms (2014), section 3; Alkim et al., NewHope (USENIX Security
2016) for the centred binomial.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.he.bit_packing import LIMB, LIMB_MASK, Wide
from protocols.he.flooded_set import ERROR_BOUND
from protocols.he.interface import RING_BITS, RING_MASK, as_signed
from protocols.he.parameters import BfvParameters

Residues = NDArray[np.uint64]

DECRYPTION_PRIMES = 2
"""c1 s of a reply is below N 2^(W-1) in size: the first two data primes tell it exactly."""

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_HIGH_BITS = 62
_PAIRS, _FOURS, _EIGHTS = (np.uint64(byte * 0x0101010101010101) for byte in (0x55, 0x33, 0x0F))
_COUNT = np.uint64(63)
_TWO_THIRDS = np.uint64(0xAAAAAAAAAAAAAAAB)
"""Of 2^64, rounded up: division by 3 is a multiplication, which takes the same time for all words."""


def reduce_once(values: Residues, prime: int) -> Residues:
    """Values below twice the prime, below it: the difference wraps where it is negative."""
    reduced: Residues = np.minimum(values, values - np.uint64(prime))
    return reduced


def _high_word(values: Residues, constants: Residues | np.uint64) -> Residues:
    """The upper 64 bits of each 128-bit product."""
    low, high = constants & _LOW, constants >> _WORD
    upper, lower = values >> _WORD, values & _LOW
    middle = upper * low + (lower * low >> _WORD)
    product: Residues = upper * high + (middle >> _WORD) + ((lower * high + (middle & _LOW)) >> _WORD)
    return product


def multiply_words(
    values: Residues, constants: Residues | np.uint64, quotients: Residues | np.uint64, prime: int
) -> Residues:
    """values * constants mod prime, for any words as values, constants < prime < 2^62, quotients of 2^64 constants."""
    quotient = _high_word(values, quotients)
    return reduce_once(values * constants - quotient * np.uint64(prime), prime)


def multiply_by(values: Residues, constant: int, prime: int) -> Residues:
    """values * constant mod prime, for any words as values, constant < prime < 2^62."""
    return multiply_words(values, np.uint64(constant), np.uint64((constant << 64) // prime), prime)


def scaled_message(ring: Residues, primes: tuple[int, ...]) -> Residues:
    """round(q m / t) for ring elements m [n], q the product of the primes: what BFV encrypts them as.

    It is (q m - r) / t with r the centred remainder of q m mod t, and q is 0 modulo each prime: -r / t remains.
    """
    modulus, half = math.prod(primes), 1 << (RING_BITS - 1)
    remainder = as_signed(ring * np.uint64(modulus % (1 << RING_BITS)))
    shifted = (half - remainder).view(np.uint64)  # of one sign
    out = np.empty((len(primes), len(ring)), np.uint64)
    for row, prime in zip(out, primes, strict=True):
        inverse = pow(1 << RING_BITS, -1, prime)
        row[:] = reduce_once(multiply_by(shifted, inverse, prime) + np.uint64(-half * inverse % prime), prime)
    return out


def add_residues(left: Residues, right: Residues, primes: tuple[int, ...]) -> Residues:
    """The sum of reduced residues, reduced."""
    total = left + right
    reduced: Residues = np.minimum(total, total - np.array(primes, np.uint64)[:, None])
    return reduced


def subtract_residues(left: Residues, right: Residues, primes: tuple[int, ...]) -> Residues:
    """The difference of reduced residues, reduced."""
    difference = left - right
    reduced: Residues = np.minimum(difference, difference + np.array(primes, np.uint64)[:, None])
    return reduced


def residues_of(signed: NDArray[np.int64], primes: tuple[int, ...]) -> Residues:
    """Integers [n] that are smaller than every prime, as residues."""
    negative = signed < 0
    return np.stack([(signed + negative * prime).view(np.uint64) for prime in primes])


def flooding_noise(words: Residues, parameters: BfvParameters) -> Residues:
    """Sums of three integers uniform in [0, 2^flood_bits), less 3/2 of 2^flood_bits, from uniform words [2, 3, n]."""
    low_bits = parameters.flood_bits - _HIGH_BITS
    # Three numbers of 62 bits add up in a word.
    high = (words[0] >> np.uint64(64 - _HIGH_BITS)).sum(axis=0)
    low = (words[1] >> np.uint64(64 - low_bits)).sum(axis=0)
    out = np.empty((len(parameters.data_primes), len(high)), np.uint64)
    for row, prime in zip(out, parameters.data_primes, strict=True):
        upper = multiply_by(high, (1 << low_bits) % prime, prime)
        centre = np.uint64(-parameters.largest_flood % prime)
        row[:] = reduce_once(reduce_once(upper + multiply_by(low, 1, prime), prime) + centre, prime)
    return out


def small_error(words: Residues) -> NDArray[np.int64]:
    """Centred binomials of 2 x ERROR_BOUND bits from uniform words. Counted in both halves at once, without a table."""
    half = (1 << ERROR_BOUND) - 1
    ones = words & np.uint64(half << 32 | half)
    ones = ones - (ones >> np.uint64(1) & _PAIRS)
    ones = (ones & _FOURS) + (ones >> np.uint64(2) & _FOURS)
    ones = ones + (ones >> np.uint64(4)) & _EIGHTS
    ones += ones >> np.uint64(8)
    ones += ones >> np.uint64(16)
    error: NDArray[np.int64] = (ones & _COUNT).view(np.int64) - (ones >> _WORD & _COUNT).view(np.int64)
    return error


def ternary(words: Residues) -> NDArray[np.int8]:
    """Coefficients uniform in {-1, 0, 1} to within 2^-62 each from uniform words: 0, 1, 2 modulo 3 are 0, 1, -1."""
    rest = words - np.uint64(3) * (_high_word(words, _TWO_THIRDS) >> np.uint64(1))
    coefficients: NDArray[np.int8] = rest.astype(np.int8) - np.int8(3) * (rest >> np.uint64(1)).astype(np.int8)
    return coefficients


# ---- scaling to 2^W and back: `bfv_wire` has the formulas


def scale_down(residues: Residues, parameters: BfvParameters) -> Wide:
    """c 2^W / q, rounded, mod 2^W, for c [data primes, n]. The sum is kept modulo 2^128: no higher bit counts."""
    low = np.full(residues.shape[1], 1 << (LIMB - 1), np.uint64)
    high = np.zeros_like(low)
    for row, prime in zip(residues, parameters.data_primes, strict=True):
        rest = parameters.modulus // prime
        y = multiply_by(row, pow(rest, -1, prime), prime)
        constant = ((2 << (parameters.reply_bits + LIMB)) // prime + 1) // 2
        upper, lower = constant >> 64, constant % (1 << 64)
        product = y * np.uint64(lower)
        low += product
        high += _high_word(y, np.uint64(lower)) + y * np.uint64(upper) + (low < product)
    whole = (low >> np.uint64(LIMB)) | (high << np.uint64(64 - LIMB)) & LIMB_MASK
    return Wide(whole, (high >> np.uint64(2 * LIMB - 64)) & _ones(parameters.reply_bits - LIMB))


def drop_bits(values: Wide, parameters: BfvParameters) -> Wide:
    """Without the lowest bits, rounded, mod 2^(W - D)."""
    dropped = parameters.dropped_bits
    low = values.low + np.uint64(1 << (dropped - 1))
    high = values.high + (low >> np.uint64(LIMB))
    low = (low & LIMB_MASK) >> np.uint64(dropped) | high << np.uint64(LIMB - dropped)
    return Wide(low & LIMB_MASK, high >> np.uint64(dropped) & _ones(parameters.sent_bits - LIMB))


def lift(values: Wide, primes: tuple[int, ...], bits: int) -> Residues:
    """Integers mod 2^bits, centred, as residues."""
    negative = values.high >> np.uint64(bits - LIMB - 1)
    out = np.empty((len(primes), len(values.low)), np.uint64)
    for row, prime in zip(out, primes, strict=True):
        upper = multiply_by(values.high, (1 << LIMB) % prime, prime)
        below = negative * np.uint64(-(1 << bits) % prime)
        row[:] = reduce_once(reduce_once(upper + multiply_by(values.low, 1, prime), prime) + below, prime)
    return out


def decode(c0: Wide, product: Residues, parameters: BfvParameters) -> Residues:
    """Results, from c0 as it was sent and c1 s modulo the first `DECRYPTION_PRIMES`, at the same places."""
    first, second = parameters.data_primes[:DECRYPTION_PRIMES]
    bits, dropped = parameters.reply_bits, parameters.dropped_bits
    y = multiply_by(product[1] + np.uint64(2 * second) - product[0], pow(first, -1, second), second)
    negative = (y > np.uint64(second // 2)).astype(np.uint64)
    minus = -first * second % (1 << bits)
    lower, upper = y * np.uint64(first), _high_word(y, np.uint64(first))
    low = (lower & LIMB_MASK) + product[0] + ((c0.low << np.uint64(dropped)) & LIMB_MASK)
    low += np.uint64(1 << (bits - RING_BITS - 1)) + negative * np.uint64(minus & int(LIMB_MASK))
    high = (lower >> np.uint64(LIMB)) | upper << np.uint64(64 - LIMB)
    high += (c0.low >> np.uint64(LIMB - dropped)) + (c0.high << np.uint64(dropped))
    high += negative * np.uint64(minus >> LIMB) + (low >> np.uint64(LIMB))
    shift = bits - RING_BITS
    results: Residues = ((low & LIMB_MASK) >> np.uint64(shift) | high << np.uint64(LIMB - shift)) & RING_MASK
    return results


def _ones(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)
