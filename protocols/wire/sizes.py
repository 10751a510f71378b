"""How many bytes fields and messages take in proto3: tag and varint, or tag, length and bytes; zeros are left out."""

from __future__ import annotations

from functools import lru_cache
from math import prod

_VARINTS = tuple(max(1, -(-bits // 7)) for bits in range(1024))  # a hostile transcript's sizes can be beyond 64 bits


def varint(value: int) -> int:
    """Bytes of a varint."""
    return _VARINTS[value.bit_length()]


def number(value: int) -> int:
    """Bytes of an integer field."""
    if value < 128:
        return 2 if value else 0
    return 1 + _VARINTS[value.bit_length()]


def data(size: int) -> int:
    """Bytes of a bytes, text or message field."""
    return 1 + varint(size) + size if size else 0


@lru_cache(256)
def tensor(shape: tuple[int, ...], item: int = 8) -> int:
    """Bytes of a Tensor field."""
    size = prod(shape) * item
    return data(2 + data(sum(map(varint, shape))) + data(size))


def header(sequence: int, phase: int, round_number: int, batch: int) -> int:
    """Bytes of an envelope up to its body's length."""
    return number(sequence) + _place(phase, round_number, batch) + 2


@lru_cache(256)
def _place(phase: int, round_number: int, batch: int) -> int:
    """Bytes of where a message was sent: the same for all messages of a batch."""
    return number(phase) + number(round_number) + number(batch)


def body(size: int) -> int:
    """Bytes of a body with its length."""
    return varint(size) + size
