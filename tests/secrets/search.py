"""Finds known secrets in any bytes, however they were written down.

    secret ─▶ windows of 8 bytes ─▶ needles: the window as raw bytes, hexadecimal, base64, escapes, a list of numbers
    number ─▶ needles: its decimal digits as well

A window is short, so a part of a secret of 15 bytes or more is found wherever it begins. By chance 8 random bytes are
found in a hundred megabytes once in 10^11 windows. All needles are sought at once: numpy compares the eight bytes at
every offset with a table of needles' beginnings, and what passes is compared in full.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

WINDOW = 8
MANY = 64  # entries of three values: 100 bits
LEAST_DIGITS = 14
MOST_DIGITS_OF = 512  # bytes; a longer one is no number
RING = 1 << 59  # shares and masks are shown as they are, or as negative numbers
_TABLE_BITS = 24
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Secret:
    """What must not be seen: the name of its kind, and one value.

    `form` says what the bytes are: "bytes"; "int" (one large number); "ring" (uint64, each a secret by itself); "float"
    (float64, likewise); "float32" (secret in pairs); "order" (a permutation, int64); "small" (int8, of few values, so
    that only many together are a secret); "text".
    """

    label: str
    form: str
    data: bytes


@dataclass(frozen=True)
class Finding:
    """A kind of secret in some bytes, and how it stands there."""

    label: str
    encoding: str
    place: str


def _base64(encode: Callable[[bytes], bytes], before: int) -> Callable[[bytes], bytes]:
    """The characters that these bytes alone decide, if so many bytes of something else stand before them."""

    def written(window: bytes) -> bytes:
        first, last = -(-before * 8 // 6), (before + len(window)) * 8 // 6
        return encode(bytes(before) + window)[first:last]

    return written


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda window: window,
    "raw, reversed": lambda window: window[::-1],
    "hex": lambda window: window.hex().encode(),
    "HEX": lambda window: window.hex().upper().encode(),
    "hex, reversed": lambda window: window[::-1].hex().encode(),
    "HEX, reversed": lambda window: window[::-1].hex().upper().encode(),
    "he:xa": lambda window: window.hex(":").encode(),
    "HE:XA": lambda window: window.hex(":").upper().encode(),
    "escapes": lambda window: repr(b"'" + window)[3:-1].encode(),
    "escapes, other quotes": lambda window: repr(window)[2:-1].encode(),
    "numbers": lambda window: ",".join(map(str, window)).encode(),
    "numbers, apart": lambda window: ", ".join(map(str, window)).encode(),
    "numbers, spaced": lambda window: " ".join(f"{byte:3}" for byte in window).encode(),
    **{f"base64 at {at}": _base64(base64.b64encode, at) for at in range(3)},
    **{f"base64url at {at}": _base64(base64.urlsafe_b64encode, at) for at in range(3)},
}


def needles(secret: Secret) -> Iterator[tuple[str, bytes]]:
    """(encoding, bytes to look for) for one secret."""
    data, form = secret.data, secret.form
    if form == "text":
        for name in ("raw", "hex", *(name for name in ENCODINGS if name.startswith("base64"))):
            yield name, ENCODINGS[name](data)
        return
    if form == "order":
        numbers = np.frombuffer(data, "<i8")[:12].tolist()
        yield "raw", data[: 8 * 12]
        yield "numbers", ",".join(map(str, numbers)).encode()
        yield "numbers, apart", ", ".join(map(str, numbers)).encode()
        yield "numbers, spaced", " ".join(map(str, numbers)).encode()
        return
    if form == "small":
        for start in range(0, len(data) - MANY + 1, MANY):
            yield from _many(data[start : start + MANY])
        return
    for window in _windows(data):
        for name, encode in ENCODINGS.items():
            yield name, encode(window)
    for digits in _digits(form, data):
        yield "digits", digits.encode()


def _many(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The same for small signed numbers, all of them together."""
    for name, encode in ENCODINGS.items():
        yield name, encode(data)
    signed = np.frombuffer(data, np.int8)
    for separator in (",", ", ", " "):
        yield "signed numbers", separator.join(map(str, signed.tolist())).encode()
    yield "ring elements", (signed.astype(np.int64).view(np.uint64) % np.uint64(RING)).tobytes()


def _windows(data: bytes) -> Iterator[bytes]:
    """Up to twelve: the beginning, the middle and the end of what is long. Constants are no secrets."""
    starts = range(0, len(data) - WINDOW + 1, WINDOW)
    chosen = starts if len(starts) <= 12 else [*starts[:4], *starts[len(starts) // 2 :][:4], *starts[-4:]]
    for start in chosen:
        window = data[start : start + WINDOW]
        if len(set(window)) > 4:
            yield window


def _digits(form: str, data: bytes) -> Iterator[str]:
    numbers: list[str] = []
    if form in ("bytes", "int") and len(data) <= MOST_DIGITS_OF:
        whole = [str(int.from_bytes(data, order)) for order in ("big", "little")]
        numbers = [part for digits in whole for part in (digits[:20], digits[-20:])]
    elif form == "ring":
        values = np.frombuffer(data, "<u8").tolist()
        numbers = [str(number) for value in values for number in (value, RING - value)]
    elif form == "float":
        numbers = [repr(abs(value)).lstrip("0.") for value in np.frombuffer(data, "<f8").tolist()]
    yield from (digits for digits in numbers if len(digits) > LEAST_DIGITS)


class Search:
    """Looks for many secrets at once.

    Args:
        secrets: what to look for. A value that has several labels keeps the first.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._by_start: dict[bytes, dict[bytes, tuple[str, str]]] = defaultdict(dict)
        self.labels: set[str] = set()
        for secret in secrets:
            self.labels.add(secret.label)
            for encoding, needle in needles(secret):
                if len(needle) >= WINDOW:
                    self._by_start[needle[:WINDOW]].setdefault(needle, (secret.label, encoding))
        self._table = np.zeros(1 << _TABLE_BITS, np.bool_)
        starts = np.frombuffer(b"".join(self._by_start), "<u8")
        self._table[_slots(starts)] = True

    def in_bytes(self, place: str, data: bytes) -> set[Finding]:
        """What is in these bytes; in text, also across spaces and line breaks."""
        is_text = b"\0" not in data
        return self._scan(place, data) | (self._scan(place, b"".join(data.split())) if is_text else set())

    def _scan(self, place: str, data: bytes) -> set[Finding]:
        found = set()
        for begin in range(0, len(data), _BLOCK):
            block = data[begin : begin + _BLOCK + WINDOW].ljust(2 * WINDOW, b"\0")
            for offset in range(WINDOW):
                words = np.frombuffer(block, "<u8", (len(block) - offset) // WINDOW, offset)
                for index in np.flatnonzero(self._table[_slots(words)]).tolist():
                    at = begin + offset + index * WINDOW
                    for needle, (label, encoding) in self._by_start.get(data[at : at + WINDOW], {}).items():
                        if data.startswith(needle, at):
                            found.add(Finding(label, encoding, place))
        return found


def _slots(words: Any) -> Any:
    return (words.astype(np.uint64, copy=False) * _SPREAD) >> np.uint64(64 - _TABLE_BITS)
