"""Dataclass messages to protobuf bytes and back, driven by the dataclasses' type hints and the .proto descriptors.

A dataclass and the protobuf message of the same name have the same fields under the same names:

    bool, int, float, str, bytes   bool; (u)int32 or (u)int64; double; string; bytes
    numpy array                    Tensor
    tuple[T, ...], tuple[T, T]     repeated T, of any or of exactly this length

`Catalogue` checks this once; encoding and decoding only follow it. Whatever does not decode, the dataclass's own
checks included, is a `MalformedMessage`. Decoded arrays are read-only, and views of the received bytes if aligned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from itertools import islice
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from protocols.catalogue import MESSAGE_TYPES
from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import InvalidInput, LocalMisuse, MalformedMessage
from protocols.core.message import Message
from protocols.wire.values import BoolKind, BytesKind, FloatKind, IntKind, Kind, TensorKind, TextKind
from protocols.wire.varint import (
    FIXED64,
    LENGTH,
    VARINT,
    Buffer,
    is_zero,
    read_fields,
    read_varint,
    write_tag,
    write_varint,
)
from secure_hfl.transport import secure_hfl_pb2

MAX_ELEMENTS = 1 << 17
"""Most elements of one repeated field: bounds the memory and time that a message of tiny elements can take."""

_HEADER = ((1, "sequence"), (2, "phase"), (3, "round"), (4, "batch"))

_F = FieldDescriptor
_KINDS: dict[type, dict[int, Kind]] = {
    bool: {_F.TYPE_BOOL: BoolKind()},
    int: {
        _F.TYPE_INT32: IntKind(-(1 << 31), (1 << 31) - 1),
        _F.TYPE_INT64: IntKind(-(1 << 63), (1 << 63) - 1),
        _F.TYPE_UINT32: IntKind(0, (1 << 32) - 1),
        _F.TYPE_UINT64: IntKind(0, (1 << 64) - 1),
    },
    float: {_F.TYPE_DOUBLE: FloatKind()},
    str: {_F.TYPE_STRING: TextKind()},
    bytes: {_F.TYPE_BYTES: BytesKind()},
    np.ndarray: {_F.TYPE_MESSAGE: TensorKind()},
}


@dataclass(frozen=True)
class _Field:
    """How one field is written and read. `length` is the length of a fixed-length tuple."""

    name: str
    where: str
    number: int
    kind: Kind
    repeated: bool
    length: int | None

    @property
    def packed(self) -> bool:
        """Whether the elements stand together in one record."""
        return self.repeated and self.kind.wire_type != LENGTH

    @property
    def wire_type(self) -> int:
        """The wire type of the field's records."""
        return LENGTH if self.packed else self.kind.wire_type

    def write(self, value: Any, out: list[Buffer]) -> None:
        """Append the field's records."""
        if not self.repeated:
            payload = self.kind.write(value, self.where)
            if payload != (self.kind.zero,):
                self._append(payload, out)
            return
        if not isinstance(value, tuple):
            raise InvalidInput(f"{self.where} must be a tuple, not {type(value).__name__}")
        if not self._has_legal_length(value):
            raise InvalidInput(f"{self.where} {self._length_rule}, not {len(value)}")
        payloads = [self.kind.write(element, self.where) for element in value]
        if not self.packed:
            for payload in payloads:
                self._append(payload, out)
        elif payloads:
            self._append((b"".join(part for payload in payloads for part in payload),), out)

    def _append(self, payload: tuple[Buffer, ...], out: list[Buffer]) -> None:
        out.append(write_tag(self.number, self.wire_type))
        if self.wire_type == LENGTH:
            out.append(write_varint(sum(map(len, payload))))
        out.extend(payload)

    def read(self, payloads: list[int | memoryview]) -> Any:
        """The value that the field's records, in order, hold."""
        if not self.repeated:
            if len(payloads) > 1:
                raise MalformedMessage(f"{self.where} is given twice")
            if payloads:
                if self.kind.zero is not None and is_zero(payloads[0], self.kind.wire_type):
                    raise MalformedMessage(f"{self.where} is written out though it is zero")
                return self.kind.read(payloads[0], self.where)
            if self.kind.zero is None:
                raise MalformedMessage(f"{self.where} is missing")
            return self.kind.default
        if self.packed and payloads:
            payloads = self._unpack(payloads)
        if not self._has_legal_length(payloads):
            raise MalformedMessage(f"{self.where} {self._length_rule}, not {len(payloads)}")
        return tuple([self.kind.read(payload, self.where) for payload in payloads])

    def _unpack(self, payloads: list[int | memoryview]) -> list[int | memoryview]:
        packed = payloads[0]
        if len(payloads) > 1 or not isinstance(packed, memoryview) or not packed:
            raise MalformedMessage(f"{self.where} must stand in one packed record")
        if self.kind.wire_type == FIXED64:
            if len(packed) % 8 or len(packed) > MAX_ELEMENTS * 8:
                raise MalformedMessage(f"{self.where} must be at most {MAX_ELEMENTS} numbers of 8 bytes")
            return [packed[at : at + 8] for at in range(0, len(packed), 8)]
        values: list[int | memoryview] = []
        at = 0
        while at < len(packed) and len(values) <= MAX_ELEMENTS:
            value, at = read_varint(packed, at)
            values.append(value)
        return values

    def _has_legal_length(self, elements: tuple[Any, ...] | list[Any]) -> bool:
        return len(elements) == self.length if self.length is not None else len(elements) <= MAX_ELEMENTS

    @property
    def _length_rule(self) -> str:
        return f"must have {'at most ' if self.length is None else ''}{self.length or MAX_ELEMENTS} elements"


class _Plan:
    """How one message type is written and read."""

    def __init__(self, message_type: type[Message], number: int, descriptor: Descriptor) -> None:
        self.type = message_type
        self.number = number
        hints = get_type_hints(message_type)
        names = [field.name for field in fields(message_type)]
        if names != [field.name for field in sorted(descriptor.fields, key=lambda field: field.number)]:
            raise InvalidInput(f"{message_type.__name__} must have the fields of its .proto message, in their order")
        self.fields = [_plan_field(message_type, hints[name], descriptor.fields_by_name[name]) for name in names]
        self.by_number = {field.number: field for field in self.fields}

    def write(self, message: Message) -> list[Buffer]:
        """The message's bytes in pieces."""
        out: list[Buffer] = []
        for field in self.fields:
            field.write(getattr(message, field.name), out)
        return out

    def read(self, data: memoryview) -> Message:
        """The message; its own checks run as it is made."""
        name = self.type.__name__
        found: dict[int, list[int | memoryview]] = {number: [] for number in self.by_number}
        for number, wire_type, payload in read_fields(data):
            if number not in found or wire_type != self.by_number[number].wire_type:
                raise MalformedMessage(f"{name} has an unknown field {number}, or one of another type")
            records = found[number]
            records.append(payload)
            if len(records) > MAX_ELEMENTS:
                raise MalformedMessage(f"{name} has more than {MAX_ELEMENTS} elements in field {number}")
        values = {field.name: field.read(found[field.number]) for field in self.fields}
        try:
            return self.type(**values)
        except LocalMisuse as error:
            raise MalformedMessage(str(error)) from error


def _plan_field(message_type: type[Message], hint: Any, descriptor: FieldDescriptor) -> _Field:
    where = f"{message_type.__name__}.{descriptor.name}"
    repeated, length = get_origin(hint) is tuple, None
    if repeated:
        elements = get_args(hint)
        if elements[-1] is not Ellipsis:
            length = len(elements)
        if not elements or any(element not in (elements[0], Ellipsis) for element in elements):
            raise InvalidInput(f"{where}: a tuple's elements must have one type")
        hint = elements[0]
    kind = _KINDS.get(get_origin(hint) or hint, {}).get(descriptor.type)
    is_other_message = descriptor.message_type is not None and descriptor.message_type.name != "Tensor"
    if kind is None or is_other_message or descriptor.is_repeated is not repeated:
        raise InvalidInput(f"{where}: the type in the .proto file cannot hold the dataclass's {hint}")
    return _Field(descriptor.name, where, descriptor.number, kind, repeated, length)


class Catalogue:
    """The message types that may travel, and their place in the Envelope of a .proto file.

    Args:
        message_types: The dataclasses. Each has an entry in the envelope's oneof, by the name of its type.
        envelope: The descriptor of the protobuf message Envelope.

    Raises:
        InvalidInput: A dataclass and its protobuf message disagree. A mistake in the program, found at start.
    """

    def __init__(self, message_types: Iterable[type[Message]], envelope: Descriptor) -> None:
        body = [(field.number, field.message_type) for field in envelope.oneofs_by_name["body"].fields]
        entries = {descriptor.name: (number, descriptor) for number, descriptor in body if descriptor is not None}
        self.plans: dict[type[Message], _Plan] = {}
        self.by_number: dict[int, _Plan] = {}
        for message_type in message_types:
            number, descriptor = entries.get(message_type.__name__, (0, None))
            if descriptor is None or number in self.by_number:
                raise InvalidInput(f"{message_type.__name__} must have one entry in the envelope of the .proto file")
            plan = _Plan(message_type, number, descriptor)
            self.plans[message_type] = self.by_number[number] = plan


@cache
def default_catalogue() -> Catalogue:
    """Every message of this project."""
    envelope: Any = secure_hfl_pb2.Envelope.DESCRIPTOR
    return Catalogue(MESSAGE_TYPES, envelope)


def encode(envelope: Envelope, catalogue: Catalogue) -> bytes:
    """The bytes of an envelope.

    Raises:
        InvalidInput: The message is not in the catalogue, or a field holds what its declared type does not allow.
    """
    plan = catalogue.plans.get(type(envelope.message))
    if plan is None:
        raise InvalidInput(f"{type(envelope.message).__name__} is not a message that may be sent")
    body = plan.write(envelope.message)
    head: list[Buffer] = []
    for number, name in _HEADER:
        if value := int(getattr(envelope, name)):
            head += write_tag(number, VARINT), write_varint(value)
    head += write_tag(plan.number, LENGTH), write_varint(sum(map(len, body)))
    return b"".join(head + body)


def decode(data: Buffer, catalogue: Catalogue) -> Envelope:
    """The envelope that these bytes hold.

    Raises:
        MalformedMessage: They hold none, or one that breaks the rules of its message type.
    """
    header = {name: 0 for _, name in _HEADER}
    names = dict(_HEADER)
    message: Message | None = None
    for number, wire_type, payload in read_fields(memoryview(data)):
        if number in names and wire_type == VARINT and isinstance(payload, int) and payload:
            header[names.pop(number)] = payload
        elif number in catalogue.by_number and isinstance(payload, memoryview) and message is None:
            message = catalogue.by_number[number].read(payload)
        else:
            raise MalformedMessage(f"an envelope has an unknown, second or zero field {number}")
    if message is None:
        raise MalformedMessage("an envelope holds no message")
    try:
        phase = Phase(header.pop("phase"))
        return Envelope(**header, phase=phase, message=message)
    except (ValueError, InvalidInput) as error:
        raise MalformedMessage("an envelope has an unknown phase, or a number out of range") from error


def peek(data: Buffer, catalogue: Catalogue) -> type[Message] | None:
    """The type of the message in an envelope, without decoding it; None if `decode` would refuse it."""
    try:
        for number, _, _ in islice(read_fields(memoryview(data)), len(_HEADER) + 1):
            if number in catalogue.by_number:
                return catalogue.by_number[number].type
    except MalformedMessage:
        return None
    return None
