"""What a hostile peer does to one message of its own. Every mutation has a name; all choices follow from a seed.

Sent ─ swap ─▶ [Sent, ...] ─ encode ─▶ bytes ─ rewrite ─▶ bytes ─ cut ─▶ frames ─ refit ─▶ frames
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.harness.hostile.envelopes import REWRITES, Dice, Rewrite
from benchmarks.harness.hostile.fields import field_rewrites
from protocols.core.envelope import Phase
from protocols.core.message import Message
from protocols.wire.frames import CHUNK_BYTES, END_FRAME
from protocols.wire.varint import LENGTH, VARINT, write_tag, write_varint


@dataclass(frozen=True)
class Sent:
    """A message on its way, with its place."""

    phase: Phase
    round: int
    batch: int
    message: Message


# Swaps: another message, another place, none, several ----------------------------------------------------------------

Swap = Callable[[Sent, Mapping[str, Sent], Dice], list[Sent]]


def _another(sent: Sent, earlier: Mapping[str, Sent], dice: Dice) -> list[Sent]:
    """A message of another type, from an earlier run, in its place."""
    names = sorted(name for name in earlier if name != type(sent.message).__name__)
    return [replace(sent, message=earlier[dice.choice(names)].message)]


def _replayed(sent: Sent, earlier: Mapping[str, Sent], dice: Dice) -> list[Sent]:
    """The message of this type from an earlier run of another task."""
    return [replace(sent, message=earlier[type(sent.message).__name__].message)]


_OTHER_LANE = {Phase.OFFLINE: Phase.TRAIN}

SWAPS: dict[str, Swap] = {
    "next phase": lambda sent, _, __: [replace(sent, phase=Phase(sent.phase % 7 + 1))],
    "other lane": lambda sent, _, __: [replace(sent, phase=_OTHER_LANE.get(sent.phase, Phase.OFFLINE))],
    "next round": lambda sent, _, __: [replace(sent, round=sent.round + 1)],
    "next batch": lambda sent, _, __: [replace(sent, batch=sent.batch + 1)],
    "twice": lambda sent, _, __: [sent, sent],
    "dropped": lambda sent, _, __: [],
    "silence": lambda sent, _, __: [],
    "another type": _another,
    "replayed": _replayed,
}


# Other frames --------------------------------------------------------------------------------------------------------

Refit = Callable[[bytes, Sequence[bytes]], list[bytes]]


def _frame(length: int | None, chunk: bytes | None, extra: bytes = b"") -> bytes:
    parts = [b"" if length is None else write_tag(1, VARINT) + write_varint(length)]
    parts.append(b"" if chunk is None else write_tag(2, LENGTH) + write_varint(len(chunk)) + chunk)
    return b"".join(parts) + extra


FRAMES: dict[str, Refit] = {
    "length 2^62": lambda data, _: [_frame(1 << 62, data[:CHUNK_BYTES])],
    "length 2^64-1": lambda data, _: [_frame((1 << 64) - 1, data[:CHUNK_BYTES])],
    "length one more": lambda data, _: [_frame(len(data) + 1, data[:CHUNK_BYTES])],
    "length one less": lambda data, _: [_frame(len(data) - 1, data[:CHUNK_BYTES])],
    "no length": lambda data, _: [_frame(None, data[:CHUNK_BYTES])],
    "length only": lambda data, _: [_frame(len(data), None)],
    "two lengths": lambda data, frames: [frames[0] + _frame(7, None)],
    "empty frame": lambda data, frames: [b"", *frames],
    "byte by byte": lambda data, _: [_frame(len(data), data[:1]), *(_frame(None, data[at : at + 1]) for at in (1, 2))],
    "long frame": lambda data, _: [_frame(CHUNK_BYTES * 2, bytes(CHUNK_BYTES + (1 << 16)))],
    "end in the middle": lambda data, _: [_frame(CHUNK_BYTES + 1, bytes(CHUNK_BYTES)), END_FRAME],
    "frame after the end": lambda data, frames: [END_FRAME, *frames],
    "half, then silence": lambda data, _: [_frame(CHUNK_BYTES * 3, bytes(CHUNK_BYTES))],
    "the same bytes again": lambda data, frames: [*frames, *frames],
    "noise": lambda data, _: [random.Random(len(data)).randbytes(1000)],
}


# All of them ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutation:
    """One thing to do to the first message of a type. One of the first three is set, if anything is to be done."""

    swap: Swap | None = None
    rewrite: Rewrite | None = None
    refit: Refit | None = None
    then_silent: bool = False


def find(type_name: str, name: str) -> Mutation:
    """By its name."""
    then_silent = "silence" in name
    if name in SWAPS:
        return Mutation(swap=SWAPS[name], then_silent=then_silent)
    if name in FRAMES:
        return Mutation(refit=FRAMES[name], then_silent=then_silent)
    return Mutation(rewrite={**REWRITES, **field_rewrites(type_name)}[name])


def generic_names() -> list[str]:
    """Those that any message can suffer."""
    return [*SWAPS, *REWRITES, *FRAMES]


def field_names(type_name: str) -> list[str]:
    """Those of the fields of one type."""
    return list(field_rewrites(type_name))
