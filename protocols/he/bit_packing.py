"""Integers packed to the bit, as numpy arrays: value i of `width` bits begins at bit i * width, little-endian.

Values of up to 58 bits, or 60 or 64, are one word each. Wider ones are two arrays, their low `LIMB` bits and the rest.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext
from protocols.wire.varint import Buffer

Words = NDArray[np.uint64]

LIMB = 52
"""Bits in the lower half of a wide value."""

LIMB_MASK = np.uint64((1 << LIMB) - 1)


class Wide(NamedTuple):
    """Values of more than `LIMB` bits: value i is low[i] + 2^LIMB high[i]."""

    low: Words
    high: Words


def packs(bits: int) -> bool:
    """Whether values of this width stay in one word at the shifts that packing gives them."""
    return bits + 8 - math.gcd(bits, 8) <= 64


def packed_size(count: int, width: int) -> int:
    """Bytes that `count` values of `width` bits take."""
    return -(-count * width // 8)


def lanes(width: int) -> tuple[int, int]:
    """How many values of `width` bits fill whole bytes, and how many bytes they fill."""
    count = 8 // math.gcd(width, 8)
    return count, count * width // 8


def pack(values: Words, width: int) -> bytes:
    """Values below 2^width. `packs(width)`."""
    return _pack(((values, 0),), width)


def pack_wide(values: Wide, width: int) -> bytes:
    """Values below 2^width, `LIMB` < width <= `LIMB` + 48."""
    return _pack(((values.low, 0), (values.high, LIMB)), width)


def unpack(data: Buffer, count: int, width: int) -> Words:
    """The inverse of `pack`; refuses a wrong length and bits set beyond the last value."""
    (values,) = _unpack(data, count, width, ((0, width),))
    return values


def unpack_wide(data: Buffer, count: int, width: int) -> Wide:
    """The inverse of `pack_wide`."""
    return Wide(*_unpack(data, count, width, ((0, LIMB), (LIMB, width - LIMB))))


def _pack(fields: tuple[tuple[Words, int], ...], width: int) -> bytes:
    """Fields: their words and at which bit of a value they begin."""
    count = len(fields[0][0])
    per_group, size = lanes(width)
    groups = -(-count // per_group)
    out = np.zeros((groups, size + 8), np.uint8)
    for words, offset in fields:
        missing = groups * per_group - count
        padded = np.concatenate((words, np.zeros(missing, np.uint64))) if missing else words
        grouped = padded.astype("<u8", copy=False).reshape(groups, per_group)
        for lane in range(per_group):
            start, shift = divmod(lane * width + offset, 8)
            windows = _windows(out, groups, start, size + 8)
            windows |= grouped[:, lane] << np.uint64(shift)
    return out[:, :size].tobytes()[: packed_size(count, width)]


def _unpack(data: Buffer, count: int, width: int, fields: tuple[tuple[int, int], ...]) -> list[Words]:
    """Fields: at which bit of a value they begin, and their width."""
    if len(data) != packed_size(count, width):
        raise InvalidCiphertext(f"{count} values of {width} bits take {packed_size(count, width)} bytes")
    if count * width % 8 and data[-1] >> (count * width % 8):
        raise InvalidCiphertext("bits are set beyond the last value")
    per_group, size = lanes(width)
    groups = -(-count // per_group)
    padded = b"".join((data, bytes(groups * size - len(data) + 8)))
    found = []
    for offset, bits in fields:
        out = np.empty((groups, per_group), np.uint64)
        for lane in range(per_group):
            start, shift = divmod(lane * width + offset, 8)
            np.right_shift(_windows(padded, groups, start, size), np.uint64(shift), out=out[:, lane])
        out &= np.uint64((1 << bits) - 1)
        found.append(out.reshape(-1)[:count])
    return found


def _windows(buffer: bytes | NDArray[np.uint8], count: int, start: int, stride: int) -> Words:
    """A word at every so many bytes, wherever it begins."""
    return np.ndarray((count,), "<u8", buffer, start, (stride,))
