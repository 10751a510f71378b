"""The checks that all messages share."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.known_messages import MESSAGE_TYPES
from protocols.core.errors import InvalidInput
from protocols.core.message import Message, check_array


@dataclass(frozen=True)
class Note(Message):
    """A message that checks nothing by itself."""

    value: Any


@pytest.mark.parametrize("value", [0, 5])
def test_int(value: int) -> None:
    Note(value).require_int("value", 0, 5)


@pytest.mark.parametrize("value", [-1, 6, True, 1.0, "1", None, np.int64(1)])
def test_not_an_int(value: Any) -> None:
    with pytest.raises(InvalidInput, match="Note: value must be an integer from 0 to 5"):
        Note(value).require_int("value", 0, 5)


@pytest.mark.parametrize("value", [b"", b"123", "12", None, bytearray(2), memoryview(b"12")])
def test_not_the_bytes(value: Any) -> None:
    with pytest.raises(InvalidInput, match="Note: value must be"):
        Note(value).require_bytes("value", 2)


@pytest.mark.parametrize("value", ["", "abcd", "a\nb", "\x00", "\x1b[m", "\u202e", b"ab", None])
def test_not_the_text(value: Any) -> None:
    with pytest.raises(InvalidInput, match="Note: value must"):
        Note(value).require_text("value", 3)


def test_text() -> None:
    Note("äß字").require_text("value", 3)
    Note("").require_text("value", 3, allow_empty=True)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([[1.0]], "must be an array, not list"),
        (np.zeros((1, 2)), "must have dtype float32, not float64"),
        (np.zeros(2, np.float32), "must have 2 dimensions, not 1"),
        (np.zeros((0, 2), np.float32), "must not be empty"),
        (np.zeros((1, 3), np.float32), r"must have shape \(any, 2\), not \(1, 3\)"),
        (np.zeros((1, 2), object), "must have dtype float32, not object"),
        (np.zeros((1, 2), ">f4"), "must have dtype float32"),
    ],
)
def test_not_the_array(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"Note.value {problem}"):
        Note(value).require_array("value", np.float32, 2, (None, 2))
    with pytest.raises(InvalidInput, match=f"here {problem}"):
        check_array("here", value, np.float32, 2, (None, 2))


def test_messages_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Note(1).value = 2  # type: ignore[misc]


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_every_message_checks_itself(kind: type[Message]) -> None:
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.__doc__
    if fields(kind):
        assert hasattr(kind, "__post_init__"), "a message with fields checks them"
        names = [field.name for field in fields(kind)]
        for wrong in (None, object(), 1.5):
            with pytest.raises(InvalidInput):
                kind(**dict.fromkeys(names, wrong))


def test_names_are_unique() -> None:
    names = [kind.__name__ for kind in MESSAGE_TYPES]
    assert len(set(names)) == len(names)
