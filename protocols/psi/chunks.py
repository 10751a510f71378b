"""Streams of points or digests in chunks, as messages announce and carry them: PSI, overlaps and lookups."""

from __future__ import annotations

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes
from protocols.psi.encode import PAIR_BYTES, SUITE
from protocols.psi.ids import MAX_IDS
from protocols.wire.sizes import data, number

MAX_CHUNK = 1 << 15
"""Most points in a chunk: 1 MiB."""


def opening_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    """Of a message that opens a direction: numbers, none of them 0, the pair and the suite."""
    if not all(recorded):
        raise InvalidInput("an empty set or chunk, or numbers of 0")
    size = sum(map(number, recorded)) + data(PAIR_BYTES) + data(len(SUITE))
    return size, size


def chunk_bounds(
    task: TaskSizes, opening: type[Message], owner: Sender, recorded: Recorded, item_bytes: int
) -> Range | None:
    """Of one chunk with an item for each of `owner`'s, who has announced how many, and in what chunks, by `opening`."""
    opened, (index,) = task.announced(opening, owner), recorded
    if opened is None:
        return None
    items, chunk = opened[:2]
    size = number(index) + data(item_bytes * max(0, min(chunk, items - index * chunk)))
    return size, size


def require_items(message: Message, name: str, item_bytes: int, most: int = MAX_CHUNK) -> None:
    """Raise `MalformedMessage` unless the field of this name holds 1 to `most` whole items."""
    value = getattr(message, name)
    message.require(isinstance(value, bytes), f"{name} must be bytes, not {type(value).__name__}")
    fits = 0 < len(value) <= most * item_bytes and len(value) % item_bytes == 0
    message.require(fits, f"{name} must be 1 to {most} items of {item_bytes} bytes, not {len(value)} bytes")


def require_chunk(message: Message, name: str, item_bytes: int) -> None:
    """Raise `MalformedMessage` unless a chunk has an index, and items in the field of this name."""
    message.require_int("index", 0, MAX_IDS - 1)
    require_items(message, name, item_bytes)
