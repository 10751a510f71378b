"""The kinds of value a message field can hold, and their payload (what follows tag and length) on the wire."""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.wire.varint import FIXED64, LENGTH, VARINT, Buffer, read_fields, read_varint, write_tag, write_varint

MAX_RANK = 8
_TENSOR_FIELDS = 3

# The numbers of enum DType; a test compares them.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("<i8"),
    5: np.dtype("u1"),
    6: np.dtype("<u8"),
}
_DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


class Kind(ABC):
    """One kind of value. `zero` is the payload that a singular field leaves out, None if it is always written."""

    wire_type: int
    zero: bytes | None
    default: Any = None

    @abstractmethod
    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        """The payload in pieces. Raises InvalidInput for a value of another type."""

    @abstractmethod
    def read(self, payload: int | memoryview, where: str) -> Any:
        """The value of a payload of this wire type. Raises MalformedMessage."""


def _wrong_type(where: str, wanted: str, value: object) -> InvalidInput:
    return InvalidInput(f"{where} must be {wanted}, not {type(value).__name__}")


def _malformed(where: str, problem: str) -> MalformedMessage:
    return MalformedMessage(f"{where} {problem}")


class BoolKind(Kind):
    """bool"""

    wire_type, zero, default = VARINT, b"\0", False

    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        if type(value) is not bool:
            raise _wrong_type(where, "a bool", value)
        return (b"\1" if value else b"\0",)

    def read(self, payload: int | memoryview, where: str) -> bool:
        if payload not in (0, 1):
            raise _malformed(where, "must be a bool")
        return payload == 1


class IntKind(Kind):
    """An int in [low, high]; negative numbers travel as 64-bit two's complement."""

    wire_type, zero, default = VARINT, b"\0", 0

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        if type(value) is not int:
            raise _wrong_type(where, "an int", value)
        if not self.low <= value <= self.high:
            raise InvalidInput(f"{where} must be from {self.low} to {self.high}")
        return (write_varint(value & 0xFFFF_FFFF_FFFF_FFFF),)

    def read(self, payload: int | memoryview, where: str) -> int:
        assert isinstance(payload, int)  # noqa: S101 - the wire type says so
        value = payload - (1 << 64) if self.low < 0 and payload >> 63 else payload
        if not self.low <= value <= self.high:
            raise _malformed(where, f"must be from {self.low} to {self.high}")
        return value


class FloatKind(Kind):
    """double"""

    wire_type, zero, default = FIXED64, bytes(8), 0.0

    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        if not isinstance(value, float):
            raise _wrong_type(where, "a float", value)
        return (struct.pack("<d", value),)

    def read(self, payload: int | memoryview, where: str) -> float:
        assert isinstance(payload, memoryview)  # noqa: S101
        value: float = struct.unpack("<d", payload)[0]
        return value


class TextKind(Kind):
    """string"""

    wire_type, zero, default = LENGTH, b"", ""

    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        if not isinstance(value, str):
            raise _wrong_type(where, "a str", value)
        try:
            return (value.encode(),)
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{where} must be text that UTF-8 can carry") from error

    def read(self, payload: int | memoryview, where: str) -> str:
        assert isinstance(payload, memoryview)  # noqa: S101
        try:
            return str(payload, "utf-8")
        except UnicodeDecodeError as error:
            raise _malformed(where, "must be UTF-8 text") from error


class BytesKind(Kind):
    """bytes"""

    wire_type, zero, default = LENGTH, b"", b""

    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        if not isinstance(value, bytes):
            raise _wrong_type(where, "bytes", value)
        return (value,)

    def read(self, payload: int | memoryview, where: str) -> bytes:
        return bytes(payload)


class TensorKind(Kind):
    """A numpy array as the message Tensor {dtype = 1, shape = 2, data = 3}."""

    wire_type, zero = LENGTH, None

    def write(self, value: Any, where: str) -> tuple[Buffer, ...]:
        if not isinstance(value, np.ndarray):
            raise _wrong_type(where, "an array", value)
        number = _DTYPE_NUMBERS.get(value.dtype.newbyteorder("<"))
        if number is None:
            raise InvalidInput(f"{where} must not have dtype {value.dtype}: {_DTYPE_NAMES}")
        if value.ndim > MAX_RANK or value.size == 0:
            raise InvalidInput(f"{where} must be non-empty, of at most {MAX_RANK} dimensions, not {value.shape}")
        data = np.ascontiguousarray(value, dtype=DTYPES[number]).reshape(-1).view(np.uint8).data
        shape = b"".join(map(write_varint, value.shape))
        head = write_tag(1, VARINT) + write_varint(number)
        if shape:
            head += write_tag(2, LENGTH) + write_varint(len(shape)) + shape
        return (head + write_tag(3, LENGTH) + write_varint(len(data)), data)

    def read(self, payload: int | memoryview, where: str) -> np.ndarray[Any, Any]:
        assert isinstance(payload, memoryview)  # noqa: S101
        found: dict[tuple[int, int], int | memoryview] = {}
        for number, wire_type, value in read_fields(payload):
            if number > _TENSOR_FIELDS or (number, wire_type) in found:
                raise _malformed(where, f"is a tensor with an unknown or second field {number}")
            found[number, wire_type] = value
        dtype_number = found.pop((1, VARINT), 0)
        shape = _read_shape(found.pop((2, LENGTH), memoryview(b"")), where)
        data = found.pop((3, LENGTH), memoryview(b""))
        if found or not isinstance(dtype_number, int) or dtype_number not in DTYPES:
            raise _malformed(where, f"is a tensor with an unknown field or dtype: {_DTYPE_NAMES}")
        dtype = DTYPES[dtype_number]
        assert isinstance(data, memoryview)  # noqa: S101
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise _malformed(where, f"is a tensor of shape {shape} and dtype {dtype} with {len(data)} bytes")
        array = np.frombuffer(data, dtype).reshape(shape)
        if not array.flags.aligned:
            array = array.copy()
            array.flags.writeable = False
        return array


_DTYPE_NAMES = "tensors are " + ", ".join(str(dtype) for dtype in DTYPES.values())


def _read_shape(packed: int | memoryview, where: str) -> tuple[int, ...]:
    shape: list[int] = []
    at = 0
    assert isinstance(packed, memoryview)  # noqa: S101
    while at < len(packed):
        size, at = read_varint(packed, at)
        shape.append(size)
        if size == 0 or len(shape) > MAX_RANK:
            raise _malformed(where, f"must be a tensor of at most {MAX_RANK} dimensions, none of them empty")
    return tuple(shape)
