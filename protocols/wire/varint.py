"""The protobuf wire format, written and read in its one canonical form.

The bytes are those that the protobuf library writes for the same message (a test compares them), but large fields
are copied once instead of four times, a received array is a view of the received bytes, and reading is strict:
fields in ascending order, shortest varints, no zeros, nothing unknown, a bound on elements before they are made.
So every message has exactly one encoding, and a small message cannot grow into a large object.

Reference: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from protocols.core.errors import MalformedMessage

Buffer: TypeAlias = "bytes | memoryview"

VARINT = 0
FIXED64 = 1
LENGTH = 2

MAX_VARINT_BYTES = 10
MAX_FIELD_NUMBER = (1 << 29) - 1

_SMALL = tuple(bytes((value,)) for value in range(0x80))


def write_varint(value: int) -> bytes:
    """The shortest varint of an integer in [0, 2^64)."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: Buffer, at: int) -> tuple[int, int]:
    """The varint that starts at `at`, and where it ends."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if at + index >= len(data):
            raise MalformedMessage("a message ends in the middle of a number")
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if (byte == 0 and index) or value >> 64:
                raise MalformedMessage("a message has a number that is not in its shortest form, or above 64 bits")
            return value, at + index + 1
    raise MalformedMessage("a message has a number of more than 64 bits")


def write_tag(number: int, wire_type: int) -> bytes:
    """What precedes a field."""
    return write_varint(number << 3 | wire_type)


def read_fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """The fields of a message as (number, wire type, value): an int for VARINT, else a view of the bytes."""
    at, last = 0, 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number <= MAX_FIELD_NUMBER or number < last:
            raise MalformedMessage(f"a message has field {number} after field {last}")
        last = number
        if wire_type == VARINT:
            value, at = read_varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == LENGTH:
            size, at = read_varint(data, at)
        elif wire_type == FIXED64:
            size = 8
        else:
            raise MalformedMessage(f"field {number} of a message has the unsupported wire type {wire_type}")
        if size > len(data) - at:
            raise MalformedMessage(f"field {number} of a message is longer than the message")
        yield number, wire_type, data[at : at + size]
        at += size


def is_zero(payload: int | memoryview, wire_type: int) -> bool:
    """Whether this is the value that a singular field leaves out."""
    if isinstance(payload, memoryview) and wire_type == FIXED64:
        return not any(payload)
    return not payload
