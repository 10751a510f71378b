"""Ids on the disk, one chunk after the other, so that a set of any size takes the memory of one chunk.

    chunk   count and bytes of its text (uint32 each), lengths (uint16 each), UTF-8

A file is its owner's alone (0600). `written` checks what it writes as `check_ids` does a list.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.psi.ids import MAX_IDS, checked_names, repeated
from protocols.psi.packed import CHUNK, Texts, chunks_of, starts_of

_HEAD = struct.Struct("<II")

HASHES_AT_ONCE = 1 << 23
"""Hashes that are sorted at a time while repeats are looked for: 64 MiB."""


def open_private(path: Path, mode: str) -> BinaryIO:
    """To write ("w") or append ("a") to a file that nobody else reads."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if mode == "w" else os.O_APPEND)
    return os.fdopen(os.open(path, flags, 0o600), "ab" if mode == "a" else "wb")


def write_chunk(file: BinaryIO, ids: Sequence[str]) -> None:
    """Append some ids."""
    encoded = [each.encode() for each in ids]
    text = b"".join(encoded)
    file.write(_HEAD.pack(len(encoded), len(text)))
    file.write(np.fromiter(map(len, encoded), "<u2", len(encoded)).tobytes())
    file.write(text)


class IdFile:
    """Ids in a file that `written` or `write_chunk` has made.

    Args:
        path: of the file.
        count: how many there are.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks():
            yield from chunk

    def __repr__(self) -> str:
        return f"IdFile(<{len(self)} ids>)"

    def chunks(self) -> Iterator[list[str]]:
        """As they were written."""
        for texts in self.texts():
            yield texts.read(slice(0, len(texts)))

    def texts(self) -> Iterator[Texts]:
        """The same, packed."""
        if not self._count:
            return
        with self.path.open("rb") as file:
            while head := file.read(_HEAD.size):
                count, size = _HEAD.unpack(head)
                lengths = np.frombuffer(file.read(2 * count), "<u2").astype(np.int64)
                yield Texts(np.frombuffer(file.read(size), np.uint8), starts_of(lengths))


def written(path: Path, chunks: Iterable[list[str]]) -> IdFile:
    """Write ids to a file, and check them.

    Args:
        path: a new file, or one that is replaced; beside it one for hashes is made, and goes.
        chunks: of the ids.

    Raises:
        InvalidInput: as `check_ids`.
    """
    hashes = path.with_name(path.name + ".hashes")
    count = 0
    try:
        with open_private(path, "w") as file, open_private(hashes, "w") as hashed:
            for chunk in chunks:
                names = checked_names(chunk, count)
                count += len(chunk)
                if count > MAX_IDS:
                    raise InvalidInput(f"more than {MAX_IDS} sample ids are too many")
                write_chunk(file, chunk)
                hashed.write(np.fromiter(map(hash, names), np.int64, len(names)).tobytes())
        ids = IdFile(path, count)
        _check_distinct(ids, hashes)
        return ids
    finally:
        hashes.unlink(missing_ok=True)


def _check_distinct(ids: IdFile, hashes: Path) -> None:
    """By Python's hash of each, a part of all hashes at a time; by their text where two are equal."""
    parts = -(-len(ids) // HASHES_AT_ONCE)
    doubtful = [_repeats(hashes, part, parts) for part in range(parts)]
    suspects = {value for each in doubtful for value in each.tolist()}
    if not suspects:
        return
    first: dict[str, int] = {}
    count, example, position = 0, (0, 0), 0
    for chunk in ids.chunks():
        for name in checked_names(chunk, position):
            if hash(name) in suspects:
                earlier = first.setdefault(name, position)
                if earlier != position:
                    count += 1
                    example = example if count > 1 else (earlier, position)
            position += 1
    if count:
        raise repeated(count, len(ids), example)


def _repeats(hashes: Path, part: int, parts: int) -> NDArray[np.int64]:
    """Hashes that come twice, of those that are `part` modulo `parts`."""
    chosen = []
    with hashes.open("rb") as file:
        while block := file.read(8 << 20):
            values = np.frombuffer(block, np.int64)
            chosen.append(values[values % parts == part] if parts > 1 else values)
    ordered = np.concatenate(chosen)
    del chosen
    ordered.sort()
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def id_chunks(source: object, size: int = CHUNK) -> Iterator[list[str]]:
    """Ids as a user's method may return them, some at a time.

    Args:
        source: a list, a set, any other iterable, a numpy or Arrow array, or a column of a pandas or polars frame.
        size: how many at a time.

    Raises:
        InvalidInput: they are none of these.
    """
    if isinstance(source, str | bytes | dict) or not isinstance(source, Iterable):
        raise InvalidInput(f"load_local_ids must return a list of text ids, not {type(source).__name__}")
    slices = getattr(source, "to_pylist", None) and getattr(source, "slice", None)
    if slices is not None:  # Arrow
        for at in range(0, len(source), size):  # type: ignore[arg-type]
            yield slices(at, size).to_pylist()
    elif isinstance(source, np.ndarray):
        for at in range(0, len(source), size):
            yield source[at : at + size].tolist()
    else:
        yield from chunks_of(source, size)
