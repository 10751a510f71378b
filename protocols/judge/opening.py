r"""An opening: one file in which a party shows a round to a judge. Also the frames that a party keeps until then.

    "secure-hfl-opening 1\n"
    frame H     {"agreement", "round", "sender"}      which conversation, which round, who opens it
    frame M     {"sender"}, the exact wire bytes      every message of set-up and of the round, sent or received
    frame N     {"name", "arrays"}, their bytes       what the party computed from (`protocols.core.witness`)
    frame S     the signature, over all before        by the key of the party's certificate

    frame = kind (1 byte) | length of the JSON (4, little-endian) | length of the bytes (8) | JSON | bytes

**Leaks** to whoever reads it: the key of the party's session, so all that the peer's messages of that session hold; and
of the round its features or gradients, and its share of the weights. With what the peer knows that gives W, and then
the features of all rounds. An opening is for a judge, not for the peer.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from protocols.core.envelope import MAX_ROUND
from protocols.core.errors import ProtocolError
from protocols.core.message import Array
from protocols.core.sender import Sender
from protocols.transcript.chain import DOMAIN
from protocols.wire.varint import Buffer

MAGIC = b"secure-hfl-opening 1\n"
HEAD, MESSAGE, NOTE, SIGNATURE = b"H", b"M", b"N", b"S"

MAX_JSON = 1 << 12
MAX_DIMENSIONS = 2
DTYPES = ("uint8", "int64", "uint64", "float32", "float64")

_FRAME = struct.Struct("<cIQ")


class InvalidOpening(ProtocolError):
    """A file is no opening, or not one that says the truth. It convicts nobody of anything in the round."""


class Unsupported(InvalidOpening):
    """What an opening says cannot be compared: the transcripts that were given do not go far enough."""


@dataclass(frozen=True)
class Note:
    """What a party computed from. Secret until it is opened."""

    name: str
    arrays: Mapping[str, Array] = field(repr=False)


@dataclass(frozen=True)
class Opening:
    """One, read.

    Attributes:
        name: of the file.
        agreement: digest of the conversation's terms.
        sender: who opens.
        round: which.
        messages: whose each is, and its wire bytes.
        notes: in the order in which they were made.
        statement, signature: what is signed, and how.
    """

    name: str
    agreement: bytes
    sender: Sender
    round: int
    messages: tuple[tuple[Sender, bytes], ...] = field(repr=False)
    notes: tuple[Note, ...] = field(repr=False)
    statement: bytes = field(repr=False)
    signature: bytes = field(repr=False)


# Writing --------------------------------------------------------------------------------------------------------------


def frame(kind: bytes, head: Mapping[str, Any], data: bytes | memoryview = b"") -> bytes:
    """The bytes of a frame."""
    return _beginning(kind, head, len(data)) + data


def _beginning(kind: bytes, head: Mapping[str, Any], size: int) -> bytes:
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return _FRAME.pack(kind, len(text), size) + text


def message_pieces(sender: Sender, data: Buffer) -> tuple[Buffer, Buffer]:
    """A message's frame, its bytes not copied."""
    return _beginning(MESSAGE, {"sender": sender.value}, len(data)), data


def message_frame(sender: Sender, data: Buffer) -> bytes:
    """The same in one piece."""
    return b"".join(message_pieces(sender, data))


def note_frame(name: str, arrays: Mapping[str, Array]) -> bytes:
    """A note."""
    described = [[key, str(value.dtype), list(value.shape)] for key, value in arrays.items()]
    little = (np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes() for value in arrays.values())
    return frame(NOTE, {"name": name, "arrays": described}, b"".join(little))


def opening_pieces(
    agreement: bytes, sender: Sender, number: int, frames: Iterable[bytes], sign: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """The bytes of an opening, piece by piece. `frames`: of messages and notes; `sign`: with the party's key."""
    running = sha256()
    head = frame(HEAD, {"agreement": agreement.hex(), "round": number, "sender": sender.value})
    for piece in (MAGIC, head, *frames):
        running.update(piece)
        yield piece
    yield frame(SIGNATURE, {}, sign(_statement(running.digest())))


def _statement(digest: bytes) -> bytes:
    return DOMAIN + b"opening\n" + digest


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One frame. `start`, `end`: where it is in the file."""

    kind: bytes
    head: Mapping[str, Any]
    data: memoryview
    start: int
    end: int


def frames_of(data: memoryview, at: int = 0) -> Iterator[Frame]:
    """The frames of a file from there on. Raises `InvalidOpening`."""
    while at < len(data):
        begin, start = at, at + _FRAME.size
        if start > len(data):
            raise InvalidOpening("the file ends within a frame")
        kind, json_bytes, size = _FRAME.unpack_from(data, at)
        at = start + json_bytes + size
        if json_bytes > MAX_JSON or at > len(data):
            raise InvalidOpening("a frame is longer than the file, or says too much of itself")
        try:
            head = json.loads(bytes(data[start : start + json_bytes]))
        except (ValueError, RecursionError) as error:
            raise InvalidOpening("a frame's head is not JSON") from error
        if not isinstance(head, dict):
            raise InvalidOpening("a frame's head is not an object")
        yield Frame(kind, head, data[start + json_bytes : at], begin, at)


def read_opening(name: str, data: bytes) -> Opening:
    """An opening from its bytes. Raises `InvalidOpening`; nothing in it has been compared with a transcript."""
    if not data.startswith(MAGIC):
        raise InvalidOpening(f"{name} is not an opening of this version")
    frames = list(frames_of(memoryview(data), len(MAGIC)))
    if len(frames) < 2 or frames[0].kind != HEAD or frames[-1].kind != SIGNATURE or frames[-1].head:
        raise InvalidOpening(f"{name} does not begin with its head and end with a signature")
    messages, notes = [], []
    for each in frames[1:-1]:
        if each.kind == MESSAGE:
            messages.append((_sender(each.head, {"sender"}), bytes(each.data)))
        elif each.kind == NOTE:
            notes.append(read_note(each))
        else:
            raise InvalidOpening(f"{name} has a frame of an unknown kind")
    head = frames[0].head
    sender = _sender(head, {"sender", "round", "agreement"})
    number, agreement = head["round"], head["agreement"]
    if type(number) is not int or not 1 <= number <= MAX_ROUND or frames[0].data:
        raise InvalidOpening(f"{name}: its head names no round")
    statement = _statement(sha256(data[: frames[-2].end]).digest())
    return Opening(
        name, _hex(agreement), sender, number, tuple(messages), tuple(notes), statement, bytes(frames[-1].data)
    )


def _sender(head: Mapping[str, Any], names: set[str]) -> Sender:
    try:
        if set(head) != names:
            raise ValueError
        return Sender(head["sender"])
    except (ValueError, TypeError) as error:
        raise InvalidOpening("a frame does not say whose it is") from error


def _hex(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise InvalidOpening("an agreement's digest has 64 hex digits")
    return bytes.fromhex(text)


def read_note(each: Frame) -> Note:
    """A note's frame. Raises `InvalidOpening`."""
    name, described = each.head.get("name"), each.head.get("arrays")
    if not isinstance(name, str) or not isinstance(described, list):
        raise InvalidOpening("a note has no name, or no arrays")
    arrays, at = dict[str, Array](), 0
    for entry in described:
        key, dtype, shape = _described(entry)
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        if at + size > len(each.data):
            raise InvalidOpening(f"the note {name!r} is shorter than it says")
        arrays[key] = np.frombuffer(each.data[at : at + size], np.dtype(dtype).newbyteorder("<")).reshape(shape)
        at += size
    if at != len(each.data):
        raise InvalidOpening(f"the note {name!r} is longer than it says")
    return Note(name, arrays)


def _described(entry: Any) -> tuple[str, str, tuple[int, ...]]:
    if not isinstance(entry, list) or len(entry) != 3:
        raise InvalidOpening("a note's array has a name, a dtype and a shape")
    key, dtype, shape = entry
    numbers = isinstance(shape, list) and all(type(side) is int and 0 <= side < 1 << 31 for side in shape)
    if not isinstance(key, str) or dtype not in DTYPES or not numbers or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise InvalidOpening("a note's array has a name, a dtype and a shape")
    return key, dtype, tuple(shape)
