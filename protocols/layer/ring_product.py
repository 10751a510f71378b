"""Matrix products in the ring Z_{2^59}.

    left [m, k]                 small: |entries| < 2^SMALL_BITS               else integers, by numpy
    right [k, n]                limbs of `room` bits, so that sums over k are exact in a float64
    product                     sum over the limbs of 2^shift (left @ limb)

numpy multiplies matrices of floats many times faster than those of integers, but large ones by a library that turns all
cores for them, which here are the other party's. Blocks of `BLOCK` are multiplied where they are called.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.he.interface import RING_BITS, RING_MASK

Ring = NDArray[np.uint64]
Floats = NDArray[np.float64]

SMALL_BITS = 24
"""Every factor of a layer's products is smaller; shares and masks are not."""

BLOCK = 64
"""A product of such blocks is the largest that OpenBLAS does not spread over threads: 2^18 multiplications."""

_FLOAT_BITS = 53
"""Integers below this power of two are exact in a float64."""


def matmul(left: NDArray[np.int64] | Ring, right: Ring) -> Ring:
    """Integer matrix product in the ring: left [m, k] (signed, or of the ring) times right [k, n]."""
    (m, k), n = left.shape, right.shape[1]
    room = _FLOAT_BITS - SMALL_BITS - k.bit_length()
    signed = left.view(np.int64)
    if m * k * n < BLOCK**3 or room < 1 or (np.abs(signed) >= 1 << SMALL_BITS).any():
        product: Ring = (left.view(np.uint64) @ right) & RING_MASK
        return product
    return _by_floats(signed, right, room)


def _by_floats(left: NDArray[np.int64], right: Ring, room: int) -> Ring:
    (m, k), n = left.shape, right.shape[1]
    height = min(m, BLOCK)
    down, inner, across = -(-m // height), -(-k // BLOCK), -(-n // BLOCK)
    factor, ring = np.zeros((down * height, inner * BLOCK)), np.zeros((inner * BLOCK, across * BLOCK), np.uint64)
    factor[:m, :k], ring[:k, :n] = left, right
    factors = factor.reshape(down, height, inner, BLOCK).transpose(2, 0, 1, 3)[:, :, None]
    total = np.zeros((down, across, height, BLOCK), np.uint64)
    for shift in range(0, RING_BITS, room):
        limb = ((ring >> np.uint64(shift)) & np.uint64((1 << room) - 1)).astype(np.float64)
        limbs = limb.reshape(inner, BLOCK, across, BLOCK).transpose(0, 2, 1, 3)[:, None]
        some: Floats = np.zeros(total.shape)
        for one, other in zip(factors, limbs, strict=True):
            some += one @ other
        total += some.astype(np.int64).view(np.uint64) << np.uint64(shift)
    whole = total.transpose(0, 2, 1, 3).reshape(down * height, across * BLOCK)[:m, :n]
    return np.ascontiguousarray(whole) & RING_MASK
