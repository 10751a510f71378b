"""The search finds a secret however it was written down, and finds nothing where there is none."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable

import numpy as np
import pytest

from protocols.he.interface import as_ring
from tests.secrets.search import Finding, Search, Secret

LOG = b"2026-01-01 12:00:00,123 INFO secure_hfl: Round 1: 2 batches in 0.13 s; loss 0.6931471805599453\n" * 500
SECRET = bytes(range(7, 256, 41)) * 5 + bytes([39, 92, 34, 10, 200])  # quotes, a backslash and a line feed too
KEY = (os.urandom(33) + SECRET)[:32]
RING = np.frombuffer(os.urandom(800), "<u8") >> np.uint64(5)
FLOATS = np.random.default_rng(1).normal(size=50)
SMALL = np.random.default_rng(1).integers(-1, 2, 256).astype(np.int8)
ORDER = np.random.default_rng(1).permutation(100)
MODULUS = 1 << 59


def planted(text: bytes | str, at: int) -> bytes:
    """A log with something in it, at some offset."""
    return LOG[:at] + (text if isinstance(text, bytes) else text.encode()) + LOG[at:]


BYTES: dict[str, Callable[[bytes], bytes | str]] = {
    "raw": lambda key: key,
    "a part": lambda key: key[9:24],
    "reversed": lambda key: key[::-1],
    "repr": repr,
    "repr of an error": lambda key: f"{ValueError(key)!r}",
    "repr with the other quotes": lambda key: repr(b"'" + key),
    "hex": lambda key: key.hex(),
    "HEX": lambda key: key.hex().upper(),
    "a part in hex": lambda key: key[5:20].hex(),
    "hex with colons": lambda key: key.hex(":"),
    "HEX with colons": lambda key: key.hex(":").upper(),
    "hex of a little-endian number": lambda key: f"{int.from_bytes(key, 'little'):x}",
    "HEX of a little-endian number": lambda key: f"{int.from_bytes(key, 'little'):X}",
    "0x": lambda key: hex(int.from_bytes(key, "big")),
    "decimal": lambda key: str(int.from_bytes(key, "big")),
    "decimal of a little-endian number": lambda key: str(int.from_bytes(key, "little")),
    "list": lambda key: str(list(key)),
    "JSON list": lambda key: json.dumps(list(key)),
    "numpy": lambda key: str(np.frombuffer(key, np.uint8)),
    "repr of numpy": lambda key: repr(np.frombuffer(key, np.uint8)),
    **{f"base64 after {n}": lambda key, n=n: base64.b64encode(bytes(n) + key + b"end") for n in range(3)},
    **{f"base64url after {n}": lambda key, n=n: base64.urlsafe_b64encode(bytes(n) + key + b"end") for n in range(3)},
    "PEM": lambda key: base64.encodebytes(bytes(40) + key + bytes(40)),
}


@pytest.mark.parametrize("way", BYTES)
@pytest.mark.parametrize("key", [KEY, SECRET], ids=["random", "awkward"])
@pytest.mark.parametrize("at", [0, 12345, len(LOG)], ids=["beginning", "middle", "end"])
def test_bytes_are_found(way: str, key: bytes, at: int) -> None:
    search = Search([Secret("key", "bytes", key)])
    found = search.in_bytes("log.txt", planted(BYTES[way](key), at))
    assert {(finding.label, finding.place) for finding in found} == {("key", "log.txt")}


@pytest.mark.parametrize(
    ("form", "array", "way"),
    [
        ("ring", RING, lambda array: array.tobytes()),
        ("ring", RING, lambda array: str(array)),
        ("ring", RING, lambda array: repr(array.reshape(10, 10))),
        ("ring", RING, lambda array: f"entry {array[0]} is too large"),
        ("ring", RING, lambda array: f"entry {int(array[1]) - MODULUS} is out of range"),
        ("float", FLOATS, lambda array: array.tobytes()),
        ("float", FLOATS, lambda array: str(array.tolist())),
        ("float", FLOATS, lambda array: f"value {array[0]!r}"),
        ("float32", FLOATS.astype(np.float32), lambda array: array.tobytes()),
        ("small", SMALL, lambda array: array.tobytes()),
        ("small", SMALL, lambda array: array.tobytes().hex()),
        ("small", SMALL, lambda array: str(array.tolist())),
        ("small", SMALL, lambda array: as_ring(array).tobytes()),
        ("order", ORDER, lambda array: array.tobytes()),
        ("order", ORDER, lambda array: str(array.tolist())),
        ("order", ORDER, lambda array: ",".join(map(str, array[:20])).replace(",", ", ")),
    ],
)
def test_arrays_are_found(form: str, array: np.ndarray, way: Callable[[np.ndarray], bytes | str]) -> None:
    search = Search([Secret("mask", form, array.reshape(-1)[: 64 if form == "small" else 12].tobytes())])
    assert search.in_bytes("log.txt", planted(way(array), 4321))
    assert not search.in_bytes("log.txt", LOG)


@pytest.mark.parametrize("way", [str.encode, lambda item: item.encode().hex(), lambda item: json.dumps({"id": item})])
def test_text_is_found(way: Callable[[str], bytes | str]) -> None:
    item = "730000000042"
    search = Search([Secret("sample id", "text", item.encode())])
    assert search.in_bytes("log.txt", planted(way(item), 99)) == {Finding("sample id", "hex", "log.txt")} or (
        search.in_bytes("log.txt", planted(way(item), 99)) == {Finding("sample id", "raw", "log.txt")}
    )


def test_nothing_is_found_by_chance() -> None:
    search = Search([Secret("key", "bytes", os.urandom(64)) for _ in range(1000)])
    assert not search.in_bytes("random", os.urandom(1 << 23))
    assert not search.in_bytes("log.txt", LOG)


def test_constants_are_not_sought() -> None:
    search = Search([Secret("key", form, bytes(256)) for form in ("bytes", "int", "ring", "float", "float32")])
    assert not search.in_bytes("zeros", bytes(1000) + LOG)
