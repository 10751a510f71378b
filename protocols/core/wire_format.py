"""What a message type states about itself, on its class: how it travels, who learns what, what transcripts keep of it.

    @wire(1000, ledger=ciphertext(HOST_KEY, "Semantic security"), recorded=("version",))
    @dataclass(frozen=True)
    class MyShare(Message):
        version: Uint64
        parts: tuple[bytes, ...]

Fields are numbered from 1 in their order, and their types follow from the annotations:

    bool, float, str, bytes                bool, double, string, bytes
    Uint32, Uint64, Int32, Int64           integers of that width (a plain int is refused: say which)
    numpy array                            Tensor
    tuple[T, ...], tuple[T, T]             repeated T, of any or of exactly this length

So a field may be renamed at any time, but keeps its place; a new one goes to the end. Numbers of messages below
`FIRST_PLUG_IN` belong to this project, those from there on to schemes of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from protocols.core.errors import InvalidInput
from protocols.core.ledger import LedgerEntry
from protocols.core.message import Message
from protocols.core.sizes import Bounds, Measure, Recorded

Uint32: TypeAlias = Annotated[int, "uint32"]
Uint64: TypeAlias = Annotated[int, "uint64"]
Int32: TypeAlias = Annotated[int, "int32"]
Int64: TypeAlias = Annotated[int, "int64"]

FIRST_NUMBER = 16
"""In an envelope; the header's fields are below."""

FIRST_PLUG_IN = 1000
MAX_NUMBER = (1 << 29) - 1

M = TypeVar("M", bound=type[Message])

_TYPES: Mapping[type, str] = {bool: "bool", float: "double", str: "string", bytes: "bytes", np.ndarray: "Tensor"}
_INTEGERS = ("uint32", "uint64", "int32", "int64")
_FORMAT = "__wire_format__"


@dataclass(frozen=True)
class WireField:
    """One field. `type` as the .proto file spells it; `length` is that of a tuple of fixed length."""

    name: str
    number: int
    type: str
    is_repeated: bool
    length: int | None


@dataclass(frozen=True)
class WireFormat:
    """All that a message type states.

    Attributes:
        name: of the type, in .proto files and transcripts.
        number: of its entry in an envelope.
        fields: in their order.
        ledger: who learns what.
        recorded: names of the counts and sizes that its entry in a transcript repeats, so that an auditor can check
            other messages by them. Never a payload, an id or a value of a tensor: both parties and whoever sees
            lengths know these anyway.
        record: reads them from a message.
        bounds: how long its body can be; None: unknown.
        distance: what it shows statistically, where that is more than nothing; None: nothing.
    """

    name: str
    number: int
    fields: tuple[WireField, ...]
    ledger: LedgerEntry
    recorded: tuple[str, ...]
    record: Callable[[Any], Recorded]
    bounds: Bounds | None
    distance: Measure | None


def wire(
    number: int,
    *,
    ledger: LedgerEntry,
    recorded: tuple[str, ...] = (),
    record: Callable[[Any], Recorded] | None = None,
    bounds: Bounds | None = None,
    distance: Measure | None = None,
) -> Callable[[M], M]:
    """Class decorator, above that of the dataclass: messages of this type may travel.

    Args:
        number: of its entry in an envelope, never used for another type; `FIRST_PLUG_IN` or more outside this project.
        ledger: see `WireFormat`.
        recorded: names of the recorded values.
        record: reads them from a message; by default they are fields of it (int or bool).
        bounds, distance: see `protocols.core.sizes`.

    Raises:
        InvalidInput: the class is no message, or it, a field or the number cannot travel. A mistake in the program,
            found when its module is imported.
    """

    def declare(message_type: M) -> M:
        name = message_type.__name__
        if not issubclass(message_type, Message) or not is_dataclass(message_type):
            raise InvalidInput(f"{name}: @wire stands above @dataclass(frozen=True), on a subclass of Message")
        is_ours = message_type.__module__.split(".")[0] == "protocols"
        low, high = (FIRST_NUMBER, FIRST_PLUG_IN - 1) if is_ours else (FIRST_PLUG_IN, MAX_NUMBER)
        if not low <= number <= high:
            raise InvalidInput(f"{name}: its number must be from {low} to {high}, not {number}")
        reader = _reader(message_type, recorded) if record is None else record
        declared = WireFormat(name, number, _fields(message_type), ledger, recorded, reader, bounds, distance)
        setattr(message_type, _FORMAT, declared)
        return message_type

    return declare


def wire_format(message_type: type[Message]) -> WireFormat:
    """What a message type states. Raises `InvalidInput` if it may not travel (a subclass states its own)."""
    declared = message_type.__dict__.get(_FORMAT)
    if not isinstance(declared, WireFormat):
        raise InvalidInput(f"{message_type.__name__} is not a message that may be sent: it is not declared with @wire")
    return declared


def recorded_of(message: Message) -> Recorded:
    """The values that a transcript keeps of a message."""
    return wire_format(type(message)).record(message)


def check_distinct(message_types: Iterable[type[Message]]) -> tuple[type[Message], ...]:
    """Message types that travel together. Raises `InvalidInput` if two have one name or number, naming both."""
    known: dict[object, type[Message]] = {}
    out = tuple(dict.fromkeys(message_types))
    for each in out:
        declared = wire_format(each)
        for what, value in (("number", declared.number), ("name", declared.name)):
            other = known.setdefault((what, value), each)
            if other is not each:
                names = " and ".join(f"{kind.__module__}.{kind.__name__}" for kind in (other, each))
                raise InvalidInput(f"{names} have one {what}, {value}: no two messages may")
    return out


def _reader(message_type: type[Message], recorded: tuple[str, ...]) -> Callable[[Any], Recorded]:
    missing = set(recorded) - {field.name for field in fields(message_type)}
    if missing:
        raise InvalidInput(f"{message_type.__name__} has no field {', '.join(sorted(missing))} to record")
    readers = tuple(map(attrgetter, recorded))
    return lambda message: tuple([int(read(message)) for read in readers])


def _fields(message_type: type[Message]) -> tuple[WireField, ...]:
    try:
        hints = get_type_hints(message_type, include_extras=True)
    except NameError as error:
        raise InvalidInput(f"{message_type.__name__}: an annotation cannot be read: {error}") from error
    names = [field.name for field in fields(message_type)]
    return tuple(_field(message_type.__name__, name, at, hints[name]) for at, name in enumerate(names, 1))


def _field(where: str, name: str, number: int, hint: Any) -> WireField:
    is_repeated, length = get_origin(hint) is tuple, None
    if is_repeated:
        elements = get_args(hint)
        if not elements or any(element not in (elements[0], Ellipsis) for element in elements):
            raise InvalidInput(f"{where}.{name}: a tuple's elements must have one type")
        if elements[-1] is not Ellipsis:
            length = len(elements)
        hint = elements[0]
    return WireField(name, number, _type_of(f"{where}.{name}", hint), is_repeated, length)


def _type_of(where: str, hint: Any) -> str:
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        if base is int and extras and extras[0] in _INTEGERS:
            return str(extras[0])
        hint = base
    if hint is int:
        raise InvalidInput(f"{where}: say which integer travels: Uint32, Uint64, Int32 or Int64")
    known = _TYPES.get(get_origin(hint) or hint)
    if known is None:
        raise InvalidInput(f"{where}: no field can hold {hint}")
    return known
