"""Millions of ids without a Python object for each: their UTF-8 one after the other, and where each begins.

A `PackedIds` is a set in a fixed order (by length, then by text, as `OrderedIds` of alignment.py) that also takes
positions: `ids[:n]`, `ids[mask]` and `ids[positions]` are parts of it, which share its text. An id takes the bytes of
its UTF-8 and 4 more (8 where all have 4 GiB or more); a part takes 4 an id, or nothing if it is a slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice, pairwise
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput

T = TypeVar("T")

CHUNK = 1 << 16
"""Ids that exist as Python objects at a time."""


def chunks_of(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Texts:
    """UTF-8 strings in two arrays.

    Args:
        data: uint8, all strings one after the other.
        starts: where each begins, and where the last ends; [n + 1], ascending.
    """

    def __init__(self, data: NDArray[np.uint8], starts: NDArray[Any]) -> None:
        self.data, self.starts = data, starts

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Of so many as may be objects at a time."""
        return cls.of_bytes([text.encode() for text in texts])

    @classmethod
    def of_bytes(cls, encoded: Sequence[bytes]) -> Texts:
        """Of strings that are encoded."""
        return cls(np.frombuffer(b"".join(encoded), np.uint8), starts_of(np.fromiter(map(len, encoded), np.int64)))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """In bytes."""
        return np.diff(self.starts).astype(np.int64, copy=False)

    def read(self, at: slice | NDArray[Any]) -> list[str]:
        """The strings in a slice (without a step), or at positions."""
        if isinstance(at, slice):
            return self._read(at.start, at.stop)
        begin, end = self.starts[at].tolist(), self.starts[at + 1].tolist()
        memory = memoryview(self.data)  # type: ignore[arg-type]
        return [str(memory[low:high], "utf-8") for low, high in zip(begin, end)]

    def _read(self, first: int, last: int) -> list[str]:
        begin = int(self.starts[first])
        raw = self.data[begin : int(self.starts[last])].tobytes()
        bounds = (self.starts[first : last + 1].astype(np.int64) - begin).tolist()
        pairs = pairwise(bounds)
        if raw.isascii():
            text = raw.decode()
            return [text[low:high] for low, high in pairs]
        return [raw[low:high].decode() for low, high in pairs]


def starts_of(lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Where strings of these lengths begin, as small as the sum allows."""
    total = int(lengths.sum())
    starts = np.zeros(len(lengths) + 1, np.uint32 if total < 1 << 32 else np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


class PackedIds(Set[str]):
    """Distinct ids, or a part of them. Made by `packed`."""

    def __init__(self, texts: Texts, at: slice | NDArray[Any] | None = None, is_ordered: bool = True) -> None:
        self._texts = texts
        self._at = slice(0, len(texts)) if at is None else at
        self._is_ordered = is_ordered

    @classmethod
    def _from_iterable(cls, items: Iterable[str]) -> PackedIds:  # type: ignore[override]
        """What a set's operators make their results of."""
        return packed(Texts.of(chunk) for chunk in chunks_of(items))

    def __len__(self) -> int:
        return self._at.stop - self._at.start if isinstance(self._at, slice) else len(self._at)

    def __repr__(self) -> str:
        return f"PackedIds(<{len(self)} ids>)"

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks():
            yield from chunk

    def __reversed__(self) -> Iterator[str]:
        return iter(self[np.arange(len(self) - 1, -1, -1)])

    def chunks(self, size: int = CHUNK) -> Iterator[list[str]]:
        """Lists of ids in their order."""
        for first in range(0, len(self), size):
            yield self._texts.read(self._positions(first, min(first + size, len(self))))

    def _positions(self, first: int, last: int) -> slice | NDArray[Any]:
        if isinstance(self._at, slice):
            return slice(self._at.start + first, self._at.start + last)
        return self._at[first:last]

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice | NDArray[Any]) -> PackedIds: ...
    def __getitem__(self, at: int | slice | NDArray[Any]) -> str | PackedIds:
        """An id, or a part: a slice, a mask of booleans, or distinct positions. Raises `InvalidInput` for repeats."""
        if isinstance(at, (int, np.integer)):
            position = range(len(self))[at]
            return self._texts.read(self._positions(position, position + 1))[0]
        if isinstance(at, slice):
            first, last, step = at.indices(len(self))
            if step == 1:
                return PackedIds(self._texts, self._positions(first, max(first, last)), self._is_ordered)
            at = np.arange(first, last, step)
        at = np.asarray(at)
        if at.dtype == np.bool_:
            at = np.flatnonzero(at)
        own = self._at
        chosen = at + own.start if isinstance(own, slice) else own[at]
        chosen = chosen.astype(np.uint32 if len(self._texts) < 1 << 32 else np.int64)
        ascends = bool((chosen[1:] > chosen[:-1]).all())
        if not ascends and len(np.unique(chosen)) != len(chosen):
            raise InvalidInput("the same position twice in a part of a set of ids")
        return PackedIds(self._texts, chosen, ascends)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, str):
            return False
        if not self._is_ordered:
            return any(item in chunk for chunk in self.chunks())
        low, high, key = 0, len(self), (len(item), item)
        while low < high:
            middle = (low + high) // 2
            found = self[middle]
            if (len(found), found) < key:
                low = middle + 1
            else:
                high = middle
        return low < len(self) and self[low] == item

    def is_part_of(self, other: object) -> bool:
        """Whether both are parts of one set, and this one holds nothing that the other lacks."""
        if not isinstance(other, PackedIds) or self._texts is not other._texts:
            return False
        if isinstance(other._at, slice):
            low, high = (self._at.start, self._at.stop - 1) if isinstance(self._at, slice) else self._ends()
            return not len(self) or (other._at.start <= low and high < other._at.stop)
        return bool(np.isin(self.positions(), other._at).all())

    def _ends(self) -> tuple[int, int]:
        return (int(self._at.min()), int(self._at.max())) if len(self) else (0, -1)  # type: ignore[union-attr]

    def ordered(self) -> PackedIds:
        """The same ids by length and text, whatever order they are taken in."""
        return self if self._is_ordered else PackedIds(self._texts, np.sort(self.positions()), True)

    def to_bytes(self) -> NDArray[np.uint8]:
        """Of a whole set: the number of ids, their lengths and their UTF-8; of a part of one: its positions."""
        if len(self) < len(self._texts) or not self._is_ordered:
            kind, body = b"part", [self.positions().astype("<u4")]
        else:
            texts = self.texts()
            kind, body = b"ids ", [np.array([len(texts)], "<u8"), texts.lengths.astype("<u2"), texts.data]
        return np.concatenate([np.frombuffer(kind, np.uint8), *(each.view(np.uint8) for each in body)])

    @staticmethod
    def from_bytes(data: NDArray[np.uint8], whole: PackedIds | None = None) -> PackedIds:
        """What `to_bytes` has made; its memory stays in use.

        Args:
            data: bytes.
            whole: the set of which it was a part.

        Raises:
            InvalidInput: it is nothing of the kind, or a part of which the whole is not given.
        """
        kind, body = data[:4].tobytes(), data[4:]
        try:
            if kind == b"part" and whole is not None:
                return whole[np.frombuffer(body, "<u4")]
            if kind == b"ids " and len(body) >= 8:
                count = int.from_bytes(body[:8].tobytes(), "little")
                lengths = np.frombuffer(body[8 : 8 + 2 * count], "<u2").astype(np.int64)
                texts = body[8 + 2 * count :]
                if len(lengths) == count and int(lengths.sum()) == len(texts):
                    return PackedIds(Texts(texts, starts_of(lengths)))
        except (ValueError, IndexError):
            pass
        raise InvalidInput(f"{len(data)} bytes are no packed ids")

    def positions(self) -> NDArray[Any]:
        """Of its ids in the set that it is a part of."""
        return np.arange(self._at.start, self._at.stop, dtype=np.uint32) if isinstance(self._at, slice) else self._at

    def texts(self) -> Texts:
        """Its ids, apart from what it is a part of."""
        whole = self._texts
        if isinstance(self._at, slice):
            low, high = int(whole.starts[self._at.start]), int(whole.starts[self._at.stop])
            return Texts(
                whole.data[low:high], whole.starts[self._at.start : self._at.stop + 1] - whole.starts.dtype.type(low)
            )
        pieces = [Texts.of(chunk) for chunk in self.chunks()]
        return joined(pieces)

    @property
    def nbytes(self) -> int:
        """Memory of the text and of this part."""
        part = 0 if isinstance(self._at, slice) else self._at.nbytes
        return self._texts.data.nbytes + self._texts.starts.nbytes + part


def joined(pieces: Sequence[Texts]) -> Texts:
    """One after the other, in new arrays."""
    if not pieces:
        return Texts(np.zeros(0, np.uint8), np.zeros(1, np.uint32))
    data = np.concatenate([piece.data for piece in pieces])
    return Texts(data, starts_of(np.concatenate([piece.lengths for piece in pieces])))


def packed(pieces: Iterable[Texts]) -> PackedIds:
    """A set of distinct ids, in its order.

    Sorts in place where all ids of one length are ASCII, as most are, so that it takes the memory of the texts twice.
    """
    by_length: dict[int, list[Texts]] = {}
    for piece in pieces:
        characters = _characters(piece)
        for length in np.unique(characters).tolist():
            at = np.flatnonzero(characters == length)
            by_length.setdefault(length, []).append(piece if len(at) == len(piece) else _taken(piece, at))
    parts = []
    for length in sorted(by_length):
        group = joined(by_length.pop(length))
        parts.append(_sorted(group, length))
        del group
    return PackedIds(joined(parts) if len(parts) != 1 else parts[0])


def _characters(texts: Texts) -> NDArray[np.int64]:
    """How many each has: bytes that do not go on with one."""
    if not len(texts):
        return np.zeros(0, np.int64)
    begins = (texts.data & 0xC0) != 0x80
    if begins.all():
        return texts.lengths
    counts: NDArray[np.int64] = np.add.reduceat(begins.astype(np.int64), texts.starts[:-1].astype(np.int64))
    return counts


def _taken(texts: Texts, at: NDArray[Any]) -> Texts:
    lengths = texts.lengths[at]
    starts = starts_of(lengths)
    source = np.repeat(texts.starts[at].astype(np.int64) - starts[:-1].astype(np.int64), lengths)
    return Texts(texts.data[source + np.arange(len(source))], starts)


def _sorted(group: Texts, characters: int) -> Texts:
    """Texts of so many characters each, in arrays of their own, by code points, that is by the bytes of UTF-8."""
    if len(group.data) == characters * len(group) and group.data.all():  # all ASCII, and no NUL, which numpy drops
        rows = group.data.view(f"S{characters}")
        rows.sort()
        return Texts(rows.view(np.uint8), group.starts)
    return Texts.of_bytes(sorted(text.encode() for text in group.read(slice(0, len(group)))))
