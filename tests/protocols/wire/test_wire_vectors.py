"""The bytes of every message are what they were when version 2 of the protocol was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.harness.known_messages import known_catalogue
from protocols.wire.codec import decode
from tests.vectors.make_wire import EXAMPLES, encodings

VECTORS: dict[str, str] = json.loads((Path(__file__).parents[2] / "vectors" / "wire.json").read_text())


def test_there_is_an_example_of_every_message() -> None:
    assert set(VECTORS) == {type(example).__name__ for example in EXAMPLES}


@pytest.mark.parametrize("name", VECTORS)
def test_bytes_are_unchanged(name: str) -> None:
    assert encodings()[name] == VECTORS[name]


@pytest.mark.parametrize("name", VECTORS)
def test_bytes_are_read_back(name: str) -> None:
    assert type(decode(bytes.fromhex(VECTORS[name]), known_catalogue()).message).__name__ == name
