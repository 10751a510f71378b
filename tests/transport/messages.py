"""Messages for these tests only: dataclasses, and the project's .proto file extended by the same messages."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from protocols.core.envelope import Envelope
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.wire_format import Int32, Int64, Uint32, Uint64, wire, wire_format
from protocols.task.abort import Abort
from protocols.wire.codec import Catalogue
from protocols.wire.values import DTYPES
from secure_hfl.transport import secure_hfl_pb2

F = descriptor_pb2.FieldDescriptorProto


@wire(1000, ledger=public("nothing"))
@dataclass(frozen=True)
class Note(Message):
    """A number and some bytes: what most tests send."""

    number: Uint64 = 0
    payload: bytes = b""

    def __post_init__(self) -> None:
        self.require(self.number != 13, "number must not be 13")


@wire(1001, ledger=public("nothing"))
@dataclass(frozen=True)
class Empty(Message):
    """Nothing."""


@wire(1002, ledger=public("nothing"))
@dataclass(frozen=True)
class Everything(Message):
    """Every kind of field."""

    flag: bool
    small: Uint32
    count: Uint64
    signed: Int64
    ratio: float
    text: str
    blob: bytes
    values: NDArray[Any]
    flags: tuple[bool, ...] = ()
    counts: tuple[Uint64, ...] = ()
    offsets: tuple[Int32, ...] = ()
    ratios: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    blobs: tuple[bytes, ...] = ()
    tensors: tuple[NDArray[Any], ...] = ()
    pair: tuple[Uint64, Uint64] = field(default=(0, 0))

    def same_as(self, other: Everything) -> bool:
        """Field by field, with arrays and NaN compared by their bytes."""
        mine, theirs = vars(self), vars(other)
        return all(_frozen(mine[name]) == _frozen(theirs[name]) for name in mine)


def _frozen(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return np.float64(value).tobytes()
    if isinstance(value, tuple):
        return tuple(map(_frozen, value))
    return type(value), value


TEST_TYPES: tuple[type[Message], ...] = (Note, Empty, Everything)
_TYPES = {
    "bool": F.TYPE_BOOL,
    "uint32": F.TYPE_UINT32,
    "uint64": F.TYPE_UINT64,
    "int32": F.TYPE_INT32,
    "int64": F.TYPE_INT64,
    "double": F.TYPE_DOUBLE,
    "string": F.TYPE_STRING,
    "bytes": F.TYPE_BYTES,
    "Tensor": F.TYPE_MESSAGE,
}


def _extended_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    secure_hfl_pb2.DESCRIPTOR.CopyToProto(file)
    envelope = next(message for message in file.message_type if message.name == "Envelope")
    for declared in map(wire_format, TEST_TYPES):
        message = file.message_type.add(name=declared.name)
        for each in declared.fields:
            label = F.LABEL_REPEATED if each.is_repeated else F.LABEL_OPTIONAL
            entry = message.field.add(name=each.name, number=each.number, type=_TYPES[each.type], label=label)
            if each.type == "Tensor":
                entry.type_name = ".secure_hfl.Tensor"
        envelope.field.add(
            name=f"test_{declared.number}",
            number=declared.number,
            type=F.TYPE_MESSAGE,
            label=F.LABEL_OPTIONAL,
            type_name=f".secure_hfl.{declared.name}",
            oneof_index=0,
        )
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_extended_file())

PbEnvelope: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("secure_hfl.Envelope"))
"""The protobuf library's own class, to compare with."""

CATALOGUE = Catalogue((Abort, *TEST_TYPES))


def with_protobuf(envelope: Envelope) -> bytes:
    """The same envelope, written by the protobuf library."""
    pb = PbEnvelope(sequence=envelope.sequence, phase=int(envelope.phase), round=envelope.round, batch=envelope.batch)
    names = {entry.message_type.name: entry.name for entry in pb.DESCRIPTOR.oneofs_by_name["body"].fields}
    body = getattr(pb, names[type(envelope.message).__name__])
    body.SetInParent()
    for entry in fields(envelope.message):
        value = getattr(envelope.message, entry.name)
        if isinstance(value, np.ndarray):
            set_tensor(getattr(body, entry.name), value)
        elif isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
            for array in value:
                set_tensor(getattr(body, entry.name).add(), array)
        elif isinstance(value, tuple):
            getattr(body, entry.name).extend(value)
        else:
            setattr(body, entry.name, value)
    data: bytes = pb.SerializeToString(deterministic=True)
    return data


def set_tensor(tensor: Any, array: np.ndarray[Any, Any]) -> None:
    """Fill a protobuf Tensor."""
    tensor.dtype = {dtype: number for number, dtype in DTYPES.items()}[array.dtype]
    tensor.shape.extend(array.shape)
    tensor.data = array.tobytes()
