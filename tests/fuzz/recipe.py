"""Fuzzed bytes as decisions: which valid input to start from, and what to change in it.

A recipe is read front to back and never runs out: after its end every decision is 0. So any bytes are a recipe, a short
one changes little, and both libFuzzer and Hypothesis can mutate and shrink recipes without knowing a format. The same
`alter` edits whatever a format parses into: nested lists and dicts with leaves (`tests.fuzz.formats`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
Tree = Any
"""dict or list of trees, or a leaf: None, bool, int, float, str, bytes, numpy array."""

MAX_EDITS = 6
MAX_SLOTS = 2000
"""A tree that has grown so far is left as it is: the fuzzer tests parsers, not its own memory."""
NUMBERS = (0, 1, 2, 3, 4, 8, 16, 17, 127, 128, 255, 256, 4095, 65535, 65536, -1)
NUMBERS += tuple(value + by for bits in (18, 20, 27, 31, 32, 59, 63, 64) for value in (1 << bits,) for by in (-1, 0, 1))
FLOATS = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 1e7)
TEXTS = ("", " ", "a", "plain", "bfv", "masked", "host", "\0", "\x1b[31m", "a\nb", "é", "e\u0301", "\u202e", "\ud800")
TEXTS += ("x" * 65, "x" * 101, "x" * 20_000, "NaN", "9" * 5000, "@nested@")
OTHERS: tuple[Tree, ...] = (None, True, -1, 1.5, "x", b"x", [], {}, [[]], [{}], {"": ""})


class Recipe:
    """Decisions read from fuzzed bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def is_over(self) -> bool:
        """Whether all further decisions are 0."""
        return self._at >= len(self._data)

    def take(self, count: int) -> bytes:
        """The next bytes, fewer at the end."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """All bytes left."""
        return self.take(max(0, len(self._data) - self._at))

    def below(self, bound: int) -> int:
        """An integer in [0, bound), from one byte or two."""
        width = 1 if bound <= 256 else 2 if bound <= 1 << 16 else 4
        return int.from_bytes(self.take(width), "little") % max(1, bound)

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.below(len(choices))]

    def blob(self) -> bytes:
        """Up to 63 bytes of the recipe, as they are or many times over."""
        size = self.below(256)
        return self.take(size & 63) * (1 if size < 192 else 1 << (size & 7))


def alter(tree: Tree, recipe: Recipe) -> Tree:
    """The tree with up to `MAX_EDITS` edits, made in place but for the root."""
    root = [tree]
    for _ in range(MAX_EDITS):
        if recipe.is_over():
            break
        slots = list(_slots(root))
        if len(slots) > MAX_SLOTS:
            break
        container, key = slots[recipe.below(len(slots))]
        edit = recipe.pick(_EDITS)
        edit(container, key, slots, recipe)
        if not root:
            root = [None]
    return root[0]


def copied(tree: Tree) -> Tree:
    """A copy that shares no container with the tree."""
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [copied(value) for value in tree]
    return tree.copy() if isinstance(tree, np.ndarray) else tree


Slot = tuple[Any, Any]


def _slots(root: Tree) -> Iterator[Slot]:
    """Every place in a tree that holds a value, parents first."""
    for key in list(root) if isinstance(root, dict) else range(len(root)):
        yield root, key
        if isinstance(root[key], dict | list):
            yield from _slots(root[key])


def _change(container: Any, key: Any, slots: list[Slot], recipe: Recipe) -> None:
    """Another value of the same kind."""
    value = container[key]
    for kind, change in _CHANGES.items():
        if isinstance(value, kind):
            container[key] = change(value, recipe)
            return
    container[key] = copied(recipe.pick(OTHERS))


def _replace(container: Any, key: Any, slots: list[Slot], recipe: Recipe) -> None:
    container[key] = copied(recipe.pick(OTHERS))


def _remove(container: Any, key: Any, slots: list[Slot], recipe: Recipe) -> None:
    del container[key]


def _repeat(container: Any, key: Any, slots: list[Slot], recipe: Recipe) -> None:
    if isinstance(container, list):
        container[key:key] = [copied(container[key]) for _ in range(recipe.pick((1, 1, 2, 40)))]
    else:
        container[recipe.pick(TEXTS)] = copied(container[key])


def _splice(container: Any, key: Any, slots: list[Slot], recipe: Recipe) -> None:
    """What stands somewhere else in the tree."""
    other, at = slots[recipe.below(len(slots))]
    container[key] = copied(other[at])


def _swap(container: Any, key: Any, slots: list[Slot], recipe: Recipe) -> None:
    keys = list(container) if isinstance(container, dict) else range(len(container))
    other = recipe.pick(keys)
    container[key], container[other] = container[other], container[key]


_EDITS = (_change, _change, _change, _change, _remove, _repeat, _swap, _splice, _replace)


def _number(value: int, recipe: Recipe) -> int:
    how = recipe.below(len(NUMBERS) + 4)
    if how < len(NUMBERS):
        return NUMBERS[how]
    by = recipe.below(256)
    return (value + by, value - by, value ^ 1 << by % 64, int.from_bytes(recipe.take(8), "little"))[how - len(NUMBERS)]


def _real(value: float, recipe: Recipe) -> float:
    if recipe.below(2):
        return recipe.pick(FLOATS)
    number: float = struct.unpack("<d", recipe.take(8).ljust(8, b"\0"))[0]
    return number


def _octets(value: bytes, recipe: Recipe) -> bytes:
    at, how = recipe.below(len(value) + 1), recipe.below(7)
    if how == 0:
        return value[:at]
    if how == 1:
        return value[at:]
    if how == 2:
        return value[:at] + recipe.blob() + value[at:]
    if how == 3:
        return recipe.blob()
    if how == 4:
        return value[:at] + bytes((recipe.pick((0, 0xFF)),)) * (len(value) - at)
    new = recipe.blob() if how == 5 else bytes((value[at] ^ 1 << recipe.below(8),)) if at < len(value) else b"\0"
    return (value[:at] + new + value[at + len(new) :])[: len(value)]


def _text(value: str, recipe: Recipe) -> str:
    how = recipe.below(3)
    if how == 0:
        return recipe.pick(TEXTS)
    if how == 1:
        at = recipe.below(len(value) + 1)
        return value[:at] + recipe.pick(TEXTS) + value[at + 1 :]
    return _octets(value.encode(errors="replace"), recipe).decode(errors="replace")


_DTYPES = ("<f4", "<f8", "<i4", "<i8", "u1", "<u8")


def _array(value: np.ndarray[Any, Any], recipe: Recipe) -> np.ndarray[Any, Any]:
    how = recipe.below(6)
    if how == 0:
        with np.errstate(all="ignore"):
            return value.astype(recipe.pick(_DTYPES))
    if how == 1:
        return np.ascontiguousarray(value.T)
    if how == 2:
        return np.concatenate([value] * (1 + recipe.below(4)))
    if how == 3:
        return np.ascontiguousarray(value[tuple(slice(recipe.below(3), None) for _ in value.shape)])
    if how == 4:
        return value.reshape(recipe.pick(((-1,), (1, -1), (-1, 1), (1, 1, -1))))
    raw = bytearray(value.tobytes())
    for _ in range(1 + recipe.below(4)):
        item = (recipe.pick(NUMBERS) & (1 << 64) - 1).to_bytes(8, "little") if recipe.below(2) else recipe.take(8)
        at = recipe.below(max(1, value.size)) * value.itemsize
        raw[at : at + value.itemsize] = item.ljust(8, b"\0")[-value.itemsize :]
    return np.frombuffer(bytes(raw[: value.nbytes]), value.dtype).reshape(value.shape)


_CHANGES: dict[type, Callable[[Any, Recipe], Any]] = {
    bool: lambda value, recipe: not value,
    int: _number,
    float: _real,
    bytes: _octets,
    str: _text,
    np.ndarray: _array,
    list: lambda value, recipe: list(reversed(value)) if recipe.below(2) else [],
    dict: lambda value, recipe: {},
}
