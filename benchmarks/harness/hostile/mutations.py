"""What a hostile peer does to one message of its own. Every mutation has a name; all choices follow from a seed.

    Sent ─ swap ─▶ [Sent, ...] ─ encode ─▶ bytes ─ rewrite ─▶ bytes ─ cut ─▶ frames ─ refit ─▶ frames

Field mutations go by the .proto descriptors, so that they cover every message and field there is and will be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from protocols.core.envelope import Phase
from protocols.core.message import Message
from protocols.wire.frames import CHUNK_BYTES, END_FRAME
from protocols.wire.values import DTYPES
from protocols.wire.varint import LENGTH, VARINT, read_fields, write_tag, write_varint
from secure_hfl.transport import secure_hfl_pb2 as pb

Dice = random.Random
MARKER = "QzXw"
HUGE_BYTES = 8 << 20
HUGE_ELEMENTS = 1 << 20
_F = FieldDescriptor
_INTEGERS = {
    _F.TYPE_INT32: (1 << 31) - 1,
    _F.TYPE_INT64: (1 << 63) - 1,
    _F.TYPE_UINT32: (1 << 32) - 1,
    _F.TYPE_UINT64: (1 << 64) - 1,
}


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


# Rewrites of the envelope's bytes ------------------------------------------------------------------------------------

Rewrite = Callable[[bytes, Dice], bytes]


def _take_apart(data: bytes) -> tuple[list[tuple[int, int]], int, bytes]:
    """Header fields, the body's number, the body."""
    header: list[tuple[int, int]] = []
    for number, _, value in read_fields(memoryview(data)):
        if not isinstance(value, int):
            return header, number, bytes(value)
        header.append((number, value))
    raise AssertionError("an envelope without a body")


def _put_together(header: Sequence[tuple[int, int]], number: int, body: bytes) -> bytes:
    parts = [write_tag(field, VARINT) + write_varint(value) for field, value in header]
    return b"".join((*parts, write_tag(number, LENGTH), write_varint(len(body)), body))


def _with_header(name: int, change: Callable[[int], int]) -> Rewrite:
    def rewrite(data: bytes, dice: Dice) -> bytes:
        header, number, body = _take_apart(data)
        values = dict(header)
        values[name] = change(values.get(name, 0))
        return _put_together(sorted(values.items()), number, body)

    return rewrite


def _long_varint(data: bytes, dice: Dice) -> bytes:
    header, number, body = _take_apart(data)
    phase = dict(header)[2]
    start = b"".join(write_tag(field, VARINT) + write_varint(value) for field, value in header if field < 2)
    rest = _put_together([(field, value) for field, value in header if field > 2], number, body)
    return start + write_tag(2, VARINT) + bytes((phase | 0x80, 0)) + rest


def _flipped(data: bytes, dice: Dice) -> bytes:
    changed = bytearray(data)
    changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _flipped_in_body(data: bytes, dice: Dice) -> bytes:
    header, number, body = _take_apart(data)
    return _put_together(header, number, _flipped(body, dice) if body else b"\x01")


def _with_body(change: Callable[[bytes], bytes]) -> Rewrite:
    def rewrite(data: bytes, dice: Dice) -> bytes:
        header, number, body = _take_apart(data)
        return _put_together(header, number, change(body))

    return rewrite


_UNKNOWN = write_tag(1000, VARINT) + b"\x01"

REWRITES: dict[str, Rewrite] = {
    "cut by one byte": lambda data, _: data[:-1],
    "cut in half": lambda data, _: data[: len(data) // 2],
    "one byte": lambda data, _: data[:1],
    "header only": lambda data, _: _put_together(*_take_apart(data)[:1], 0, b"")[:-2],
    "random bytes": lambda data, dice: dice.randbytes(len(data)),
    "bit flipped": _flipped,
    "bit of the body flipped": _flipped_in_body,
    "unknown field": lambda data, _: data + _UNKNOWN,
    "unknown field in the body": _with_body(lambda body: body + _UNKNOWN),
    "group in the body": _with_body(lambda body: body + write_tag(1000, 3)),
    "empty body": _with_body(lambda body: b""),
    "two bodies": lambda data, _: data + _put_together((), *_take_apart(data)[1:]),
    "varint too long": _long_varint,
    "phase 99": _with_header(2, lambda _: 99),
    "next sequence": _with_header(1, lambda value: value + 1),
    "sequence 2^64-1": _with_header(1, lambda _: (1 << 64) - 1),
    "round 2^63": _with_header(3, lambda _: 1 << 63),
    "a million phases": lambda data, _: (write_tag(2, VARINT) + b"\x01") * (1 << 20) + data,
}


# Rewrites of a field -------------------------------------------------------------------------------------------------


def _in_message(change: Callable[[Any, FieldDescriptor, Dice], None], field: FieldDescriptor) -> Rewrite:
    def rewrite(data: bytes, dice: Dice) -> bytes:
        envelope = pb.Envelope.FromString(data)
        change(getattr(envelope, envelope.WhichOneof("body") or ""), field, dice)
        return envelope.SerializeToString(deterministic=True)

    return rewrite


def _set(make: Callable[[Any, Dice], Any]) -> Callable[[Any, FieldDescriptor, Dice], None]:
    def change(message: Any, field: FieldDescriptor, dice: Dice) -> None:
        if field.is_repeated:
            values = getattr(message, field.name)
            values[:] = make(list(values), dice)
        else:
            setattr(message, field.name, make(getattr(message, field.name), dice))

    return change


def _first(make: Callable[[Any, Dice], Any]) -> Callable[[list[Any], Dice], list[Any]]:
    return lambda values, dice: [make(values[0], dice), *values[1:]] if values else values


_FLOATS = {"NaN": float("nan"), "infinite": float("inf"), "-1": -1.0, "1e300": 1e300, "1e6": 1e6}
_BYTES: dict[str, Callable[[bytes, Dice], bytes]] = {
    "empty": lambda _, __: b"",
    "shorter": lambda value, _: value[:-1],
    "longer": lambda value, _: value + b"\0",
    "zeros": lambda value, _: bytes(len(value)),
    "ones": lambda value, _: b"\xff" * len(value),
    "random": lambda value, dice: dice.randbytes(len(value)),
    "flipped": lambda value, dice: _flipped(value, dice) if value else b"\x01",
    "huge": lambda _, __: bytes(HUGE_BYTES),
}
_TEXTS: dict[str, Callable[[str, Dice], str]] = {
    "empty": lambda _, __: "",
    "other": lambda value, _: value + "x",
    "escape": lambda _, __: "\x1b[2J",
    "huge": lambda _, __: "x" * HUGE_BYTES,
}


def _scalars(field: FieldDescriptor) -> dict[str, Callable[[Any, Dice], Any]]:
    if field.type in _INTEGERS:
        largest = _INTEGERS[field.type]
        return {"0": lambda _, __: 0, "one more": lambda value, _: value + 1, "largest": lambda _, __: largest}
    if field.type == _F.TYPE_DOUBLE:
        return {name: lambda _, __, value=value: value for name, value in _FLOATS.items()}  # type: ignore[misc]
    if field.type == _F.TYPE_STRING:
        return dict(_TEXTS)
    if field.type == _F.TYPE_BYTES:
        return dict(_BYTES)
    return {"other": lambda value, _: not value}


_LISTS: dict[str, Callable[[list[Any], Dice], list[Any]]] = {
    "none": lambda _, __: [],
    "one less": lambda values, _: values[:-1],
    "doubled": lambda values, _: values * 2,
    "reversed": lambda values, _: values[::-1],
    "very many": lambda _, __: [b"\0"] * ((1 << 17) + 1),
}


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(tensor.data, DTYPES[tensor.dtype]).reshape(tuple(tensor.shape)).copy()


def _fill(tensor: Any, array: np.ndarray[Any, Any], dtype: int | None = None) -> None:
    tensor.dtype = tensor.dtype if dtype is None else dtype
    tensor.shape[:] = array.shape
    tensor.data = np.ascontiguousarray(array).tobytes()


def _tensor(make: Callable[[np.ndarray[Any, Any]], Any]) -> Callable[[Any, FieldDescriptor, Dice], None]:
    def change(message: Any, field: FieldDescriptor, dice: Dice) -> None:
        tensor = getattr(message, field.name)
        _fill(tensor, np.asarray(make(_array(tensor)), DTYPES[tensor.dtype]))

    return change


def _one_value(text: str) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """One element is this; integers take the bits of 2^59 and above for what only floats have."""

    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if array.dtype.kind == "f":
            array.flat[array.size // 2] = float(text)
        else:
            integer = {"nan": (1 << 63) - 1, "inf": 1 << 59, "1e30": -1 if array.dtype.kind == "i" else (1 << 64) - 1}
            array.flat[array.size // 2] = integer[text]
        return array

    return change


def _retyped(message: Any, field: FieldDescriptor, dice: Dice) -> None:
    """The same numbers in another type."""
    tensor = getattr(message, field.name)
    other = next(number for number in (2, 4) if number != tensor.dtype)
    _fill(tensor, _array(tensor).astype(DTYPES[other]), other)


def _of_tensor(change: Callable[[Any], None]) -> Callable[[Any, FieldDescriptor, Dice], None]:
    return lambda message, field, _: change(getattr(message, field.name))


def _reshaped(*shape: int) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.shape[:] = shape

    return change


def _flip_data(message: Any, field: FieldDescriptor, dice: Dice) -> None:
    tensor = getattr(message, field.name)
    tensor.data = _flipped(tensor.data, dice)


def _dtype(number: int) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.dtype = number

    return change


_TENSORS: dict[str, Callable[[Any, FieldDescriptor, Dice], None]] = {
    "one row less": _tensor(lambda array: array[:-1]),
    "one row more": _tensor(lambda array: np.concatenate([array, array[:1]])),
    "one column more": _tensor(lambda array: np.concatenate([array, array[..., :1]], -1)),
    "transposed": _tensor(lambda array: np.concatenate([array, array]).T if len(set(array.shape)) == 1 else array.T),
    "flat": _tensor(np.ravel),
    "huge": _tensor(lambda array: np.resize(array, (HUGE_ELEMENTS, *array.shape[1:]))),
    "NaN": _tensor(_one_value("nan")),
    "infinite": _tensor(_one_value("inf")),
    "too large": _tensor(_one_value("1e30")),
    "other dtype": _retyped,
    "flipped": _flip_data,
    "dtype 99": _of_tensor(_dtype(99)),
    "dtype 0": _of_tensor(_dtype(0)),
    "shape of 2^62": _of_tensor(_reshaped(1 << 62, 4)),
    "shape that overflows": _of_tensor(_reshaped(1 << 32, 1 << 32)),
    "empty shape": _of_tensor(_reshaped(0, 4)),
    "ninety axes": _of_tensor(_reshaped(*[1] * 90)),
    "no data": _tensor(lambda array: array[:0]),
}


def _invalid_text(field: FieldDescriptor) -> Rewrite:
    mark = _in_message(_set(_first(lambda *_: MARKER) if field.is_repeated else lambda *_: MARKER), field)
    return lambda data, dice: mark(data, dice).replace(MARKER.encode(), b"\xff\xfe\xc0\x80")


def _of_field(field: FieldDescriptor) -> Iterator[tuple[str, Rewrite]]:
    if field.message_type is not None:
        for name, change in _TENSORS.items():
            yield name, _in_message(change, field)
        return
    if field.is_repeated:
        for name, in_list in _LISTS.items():
            if name != "very many" or field.type == _F.TYPE_BYTES:
                yield name, _in_message(_set(in_list), field)
    for name, make in _scalars(field).items():
        yield name, _in_message(_set(_first(make) if field.is_repeated else make), field)
    if field.type == _F.TYPE_STRING:
        yield "invalid UTF-8", _invalid_text(field)


def _descriptor(type_name: str) -> Descriptor:
    return pb.DESCRIPTOR.message_types_by_name[type_name]


def field_rewrites(type_name: str) -> dict[str, Rewrite]:
    """Every field of a message type, done to in every way."""
    return {
        f"{field.name}: {name}": rewrite
        for field in _descriptor(type_name).fields
        for name, rewrite in _of_field(field)
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
