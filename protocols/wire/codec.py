"""Messages to protobuf bytes and back, driven by what each message type states (`protocols.core.wire_format`).

`Catalogue` makes a plan of each type once; encoding and decoding only follow it. Whatever does not decode, the
dataclass's own checks included, is a `MalformedMessage`. Decoded arrays are read-only, and views of the received bytes
if aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import InvalidInput, LocalMisuse, MalformedMessage
from protocols.core.message import Message
from protocols.core.wire_format import WireField, check_distinct, wire_format
from protocols.wire.values import BoolKind, BytesKind, FloatKind, IntKind, Kind, TensorKind, TextKind
from protocols.wire.varint import (
    FIXED64,
    LENGTH,
    MAX_VARINT_BYTES,
    VARINT,
    Buffer,
    is_zero,
    read_fields,
    read_varint,
    write_tag,
    write_varint,
)

MAX_ELEMENTS = 1 << 17
"""Most elements of one repeated field: bounds the memory and time that a message of tiny elements can take."""

_HEADER = ((1, "sequence"), (2, "phase"), (3, "round"), (4, "batch"))
_HEADER_TAGS = tuple(number << 3 | VARINT for number, _ in _HEADER)  # a byte each

_KINDS: Mapping[str, Kind] = {
    "bool": BoolKind(),
    "int32": IntKind(-(1 << 31), (1 << 31) - 1),
    "int64": IntKind(-(1 << 63), (1 << 63) - 1),
    "uint32": IntKind(0, (1 << 32) - 1),
    "uint64": IntKind(0, (1 << 64) - 1),
    "double": FloatKind(),
    "string": TextKind(),
    "bytes": BytesKind(),
    "Tensor": TensorKind(),
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

    @cached_property
    def packed(self) -> bool:
        """Whether the elements stand together in one record."""
        return self.repeated and self.kind.wire_type != LENGTH

    @cached_property
    def wire_type(self) -> int:
        """The wire type of the field's records."""
        return LENGTH if self.packed else self.kind.wire_type

    @cached_property
    def tag(self) -> bytes:
        """What precedes each of them."""
        return write_tag(self.number, self.wire_type)

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
        out.append(self.tag)
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

    def __init__(self, message_type: type[Message]) -> None:
        declared = wire_format(message_type)
        self.type, self.number = message_type, declared.number
        self.tag = write_tag(declared.number, LENGTH)
        self.fields = [_plan_field(declared.name, field) for field in declared.fields]
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


def _plan_field(message: str, field: WireField) -> _Field:
    where = f"{message}.{field.name}"
    return _Field(field.name, where, field.number, _KINDS[field.type], field.is_repeated, field.length)


class Catalogue:
    """The message types that may travel in one conversation.

    Args:
        message_types: each is declared with `@wire`.

    Raises:
        InvalidInput: one is not, or two have one number or name. A mistake in the program, found at start.
    """

    def __init__(self, message_types: Iterable[type[Message]]) -> None:
        plans = [_Plan(each) for each in check_distinct(message_types)]
        self.plans = {plan.type: plan for plan in plans}
        self.by_number = {plan.number: plan for plan in plans}


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
    numbers = envelope.sequence, int(envelope.phase), envelope.round, envelope.batch
    for tag, value in zip(_HEADER_TAGS, numbers, strict=True):
        if value:
            head += write_varint(tag), write_varint(value)
    head += plan.tag, write_varint(sum(map(len, body)))
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
    """The type of the message in an envelope that `decode` would take, without decoding it.

    For other bytes None, or the type that their first field behind the header is of: they are not looked at.
    """
    at = 0
    try:
        for tag in _HEADER_TAGS:
            if data[at] == tag:
                at = _behind_number(data, at + 1)
        tag, _ = read_varint(data, at)
    except (IndexError, MalformedMessage):
        return None
    plan = catalogue.by_number.get(tag >> 3)
    return None if plan is None else plan.type


def peek_phase(data: Buffer) -> int:
    """The number of the phase in an envelope that `decode` would take, without decoding it. For other bytes any."""
    try:
        at = _behind_number(data, 1) if data[0] == _HEADER_TAGS[0] else 0
        return data[at + 1] if data[at] == _HEADER_TAGS[1] else 0
    except IndexError:
        return 0


def _behind_number(data: Buffer, at: int) -> int:
    """Where a number that begins here ends; a few bytes on if it is none. Raises `IndexError` beyond the end."""
    longest = at + MAX_VARINT_BYTES - 1
    while data[at] >= 0x80 and at < longest:
        at += 1
    return at + 1
