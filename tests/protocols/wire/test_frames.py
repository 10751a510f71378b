"""Cutting and assembling, against the protobuf library's Frame, and frames that nobody should send."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.errors import AnnouncedTooLarge, MalformedMessage
from protocols.wire.frames import (
    CHUNK_BYTES,
    END_FRAME,
    FRAME_SLACK,
    GRPC_PREFIX_BYTES,
    Assembler,
    cut,
    wire_size,
)
from secure_hfl.transport.secure_hfl_pb2 import Frame

LIMIT = 8 * CHUNK_BYTES


def frame(length: int = 0, chunk: bytes = b"", end: bool = False) -> bytes:
    """A frame as the protobuf library writes it."""
    return Frame(message_length=length, chunk=chunk, end=end).SerializeToString()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3 * CHUNK_BYTES) | st.sampled_from([CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]), st.binary())
def test_messages_survive_being_cut(length: int, start: bytes) -> None:
    message = (start + bytes(range(251)) * (length // 251 + 1))[:length]
    frames = list(cut(message))
    assert [Frame.FromString(data).SerializeToString() for data in frames] == frames
    assert max(map(len, frames)) <= CHUNK_BYTES + FRAME_SLACK
    assert sum(len(data) + GRPC_PREFIX_BYTES for data in frames) == wire_size(length)
    assert frame(end=True) == END_FRAME
    assembler = Assembler(LIMIT)
    *before, last = [assembler.add(data) for data in (*frames, *frames)]
    assert last == message
    assert [got for got in before if got is not None] == [message]
    assert assembler.add(END_FRAME) is None
    assert assembler.ended


FULL = b"x" * CHUNK_BYTES
FLAWED: dict[str, list[bytes]] = {
    "no frame": [b"\xff"],
    "nothing": [b""],
    "no length": [frame(chunk=b"x")],
    "no chunk": [frame(length=1)],
    "overrun in one frame": [frame(length=1, chunk=b"xx")],
    "short of one frame": [frame(length=2, chunk=b"x")],
    "overrun": [frame(CHUNK_BYTES + 1, FULL), frame(chunk=b"xx")],
    "short": [frame(CHUNK_BYTES + 2, FULL), frame(chunk=b"x")],
    "many small chunks": [frame(CHUNK_BYTES + 2, FULL), frame(chunk=b"")],
    "first chunk not full": [frame(CHUNK_BYTES + 1, b"x")],
    "length again": [frame(CHUNK_BYTES + 1, FULL), frame(1, b"x")],
    "end in the middle": [frame(CHUNK_BYTES + 1, FULL), END_FRAME],
    "end with a chunk": [frame(length=1, chunk=b"x", end=True)],
    "frame after the end": [END_FRAME, frame(1, b"x")],
    "end twice": [END_FRAME, END_FRAME],
    "unknown field": [frame(1, b"x") + b"\x20\x01"],
    "length twice": [b"\x08\x01" + frame(1, b"x")],
    "chunk twice": [frame(1, b"x") + frame(chunk=b"x")],
}


@pytest.mark.parametrize("frames", FLAWED.values(), ids=FLAWED.keys())
def test_flawed_frames(frames: list[bytes]) -> None:
    assembler = Assembler(LIMIT)
    *good, bad = frames
    for data in good:
        assert assembler.add(data) is None
    with pytest.raises(MalformedMessage):
        assembler.add(bad)


def test_the_announced_length_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(AnnouncedTooLarge, match=str(LIMIT)):
        Assembler(LIMIT).add(frame(LIMIT + 1, FULL))
    with pytest.raises(AnnouncedTooLarge):
        Assembler(LIMIT).add(frame(2**64 - 1, b"x"))


def test_an_announced_length_costs_no_memory() -> None:
    first = frame(1 << 40, FULL)
    assembler = Assembler(1 << 41)
    tracemalloc.start()
    try:
        assembler.add(first)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * CHUNK_BYTES
