"""Every field of every message, changed in every way.

It goes by the .proto descriptors, so that a new message is covered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from benchmarks.harness.hostile.envelopes import Dice, Rewrite, flipped
from protocols.wire.values import DTYPES
from secure_hfl.transport import secure_hfl_pb2 as pb

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
    "flipped": lambda value, dice: flipped(value, dice) if value else b"\x01",
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
    tensor.data = flipped(tensor.data, dice)


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
