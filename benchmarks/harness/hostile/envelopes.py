"""An envelope's bytes taken apart, changed and put together again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from protocols.wire.varint import LENGTH, VARINT, read_fields, write_tag, write_varint

Dice = random.Random

Rewrite = Callable[[bytes, Dice], bytes]


def _take_apart(data: bytes) -> tuple[list[tuple[int, int]], int, bytes]:
    """Header fields, the body's number, the body."""
    header: list[tuple[int, int]] = []
    for number, _, value in read_fields(memoryview(data)):
        if not isinstance(value, int):
            return header, number, bytes(value)
        header.append((number, value))
    raise AssertionError("an envelope without a body")


def _put_together(header: Sequence[tuple[int, int]], number: int, body: bytes) -> bytes:
    parts = [write_tag(field, VARINT) + write_varint(value) for field, value in header]
    return b"".join((*parts, write_tag(number, LENGTH), write_varint(len(body)), body))


def _with_header(name: int, change: Callable[[int], int]) -> Rewrite:
    def rewrite(data: bytes, dice: Dice) -> bytes:
        header, number, body = _take_apart(data)
        values = dict(header)
        values[name] = change(values.get(name, 0))
        return _put_together(sorted(values.items()), number, body)

    return rewrite


def _long_varint(data: bytes, dice: Dice) -> bytes:
    header, number, body = _take_apart(data)
    phase = dict(header)[2]
    start = b"".join(write_tag(field, VARINT) + write_varint(value) for field, value in header if field < 2)
    rest = _put_together([(field, value) for field, value in header if field > 2], number, body)
    return start + write_tag(2, VARINT) + bytes((phase | 0x80, 0)) + rest


def flipped(data: bytes, dice: Dice) -> bytes:
    """One bit is another."""
    changed = bytearray(data)
    changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _flipped_in_body(data: bytes, dice: Dice) -> bytes:
    header, number, body = _take_apart(data)
    return _put_together(header, number, flipped(body, dice) if body else b"\x01")


def _with_body(change: Callable[[bytes], bytes]) -> Rewrite:
    def rewrite(data: bytes, dice: Dice) -> bytes:
        header, number, body = _take_apart(data)
        return _put_together(header, number, change(body))

    return rewrite


_UNKNOWN = write_tag(1000, VARINT) + b"\x01"

REWRITES: dict[str, Rewrite] = {
    "cut by one byte": lambda data, _: data[:-1],
    "cut in half": lambda data, _: data[: len(data) // 2],
    "one byte": lambda data, _: data[:1],
    "header only": lambda data, _: _put_together(*_take_apart(data)[:1], 0, b"")[:-2],
    "random bytes": lambda data, dice: dice.randbytes(len(data)),
    "bit flipped": flipped,
    "bit of the body flipped": _flipped_in_body,
    "unknown field": lambda data, _: data + _UNKNOWN,
    "unknown field in the body": _with_body(lambda body: body + _UNKNOWN),
    "group in the body": _with_body(lambda body: body + write_tag(1000, 3)),
    "empty body": _with_body(lambda body: b""),
    "two bodies": lambda data, _: data + _put_together((), *_take_apart(data)[1:]),
    "varint too long": _long_varint,
    "phase 99": _with_header(2, lambda _: 99),
    "next sequence": _with_header(1, lambda value: value + 1),
    "sequence 2^64-1": _with_header(1, lambda _: (1 << 64) - 1),
    "round 2^63": _with_header(3, lambda _: 1 << 63),
    "a million phases": lambda data, _: (write_tag(2, VARINT) + b"\x01") * (1 << 20) + data,
}
