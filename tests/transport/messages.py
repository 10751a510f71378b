"""Messages for these tests only: dataclasses, and the project's .proto file extended by the same messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from protocols.core.message import Message
from protocols.task.abort import Abort
from secure_hfl.transport import secure_hfl_pb2
from secure_hfl.transport.codec import Catalogue

F = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True)
class Note(Message):
    """A number and some bytes: what most tests send."""

    number: int = 0
    payload: bytes = b""

    def __post_init__(self) -> None:
        self.require(self.number != 13, "number must not be 13")


@dataclass(frozen=True)
class Empty(Message):
    """Nothing."""


@dataclass(frozen=True)
class Everything(Message):
    """Every kind of field."""

    flag: bool
    small: int
    count: int
    signed: int
    ratio: float
    text: str
    blob: bytes
    values: NDArray[Any]
    flags: tuple[bool, ...] = ()
    counts: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()
    ratios: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    blobs: tuple[bytes, ...] = ()
    tensors: tuple[NDArray[Any], ...] = ()
    pair: tuple[int, int] = field(default=(0, 0))

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


_SCALARS = {
    "flag": F.TYPE_BOOL,
    "small": F.TYPE_UINT32,
    "number": F.TYPE_UINT64,
    "count": F.TYPE_UINT64,
    "signed": F.TYPE_INT64,
    "ratio": F.TYPE_DOUBLE,
    "text": F.TYPE_STRING,
    "blob": F.TYPE_BYTES,
    "payload": F.TYPE_BYTES,
    "values": F.TYPE_MESSAGE,
}
_REPEATED = {
    "flags": F.TYPE_BOOL,
    "counts": F.TYPE_UINT64,
    "offsets": F.TYPE_INT32,
    "ratios": F.TYPE_DOUBLE,
    "texts": F.TYPE_STRING,
    "blobs": F.TYPE_BYTES,
    "tensors": F.TYPE_MESSAGE,
    "pair": F.TYPE_UINT64,
}
TEST_TYPES: tuple[type[Message], ...] = (Note, Empty, Everything)


def _extended_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    secure_hfl_pb2.DESCRIPTOR.CopyToProto(file)
    envelope = next(message for message in file.message_type if message.name == "Envelope")
    for index, message_type in enumerate(TEST_TYPES):
        message = file.message_type.add(name=message_type.__name__)
        for number, name in enumerate(message_type.__dataclass_fields__, start=1):
            kind = _SCALARS.get(name) or _REPEATED[name]
            label = F.LABEL_REPEATED if name in _REPEATED else F.LABEL_OPTIONAL
            entry = message.field.add(name=name, number=number, type=kind, label=label)
            if kind == F.TYPE_MESSAGE:
                entry.type_name = ".secure_hfl.Tensor"
        envelope.field.add(
            name=f"test_{index}",
            number=1000 + index,
            type=F.TYPE_MESSAGE,
            label=F.LABEL_OPTIONAL,
            type_name=f".secure_hfl.{message_type.__name__}",
            oneof_index=0,
        )
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_extended_file())

PbEnvelope: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("secure_hfl.Envelope"))
"""The protobuf library's own class, to compare with."""

CATALOGUE = Catalogue((Abort, *TEST_TYPES), PbEnvelope.DESCRIPTOR)
