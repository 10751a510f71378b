"""The codec against the protobuf library, and against bytes that nobody should send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from benchmarks.harness.known_messages import known_catalogue
from protocols.core.envelope import MAX_ROUND, MAX_SEQUENCE, Envelope, Phase
from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.wire_format import wire
from protocols.task.abort import Abort
from protocols.wire.codec import MAX_ELEMENTS, Catalogue, decode, encode, peek, peek_phase
from protocols.wire.values import DTYPES
from protocols.wire.varint import LENGTH, VARINT, write_tag, write_varint
from secure_hfl.transport import secure_hfl_pb2
from tests.transport.messages import CATALOGUE, Empty, Everything, Note, PbEnvelope, with_protobuf
from tests.vectors.make_wire import EXAMPLES

ARRAYS = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: nps.arrays(dtype, nps.array_shapes(min_dims=0, max_dims=8, max_side=3))
)
U64 = st.integers(0, 2**64 - 1)
EVERYTHING = st.builds(
    Everything,
    flag=st.booleans(),
    small=st.integers(0, 2**32 - 1),
    count=U64,
    signed=st.integers(-(2**63), 2**63 - 1),
    ratio=st.floats(),
    text=st.text(),
    blob=st.binary(),
    values=ARRAYS,
    flags=st.lists(st.booleans(), max_size=4).map(tuple),
    counts=st.lists(U64, max_size=4).map(tuple),
    offsets=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4).map(tuple),
    ratios=st.lists(st.floats(), max_size=4).map(tuple),
    texts=st.lists(st.text(), max_size=4).map(tuple),
    blobs=st.lists(st.binary(), max_size=4).map(tuple),
    tensors=st.lists(ARRAYS, max_size=3).map(tuple),
    pair=st.tuples(U64, U64),
)
HEADERS = st.tuples(
    st.integers(0, MAX_SEQUENCE), st.sampled_from(Phase), st.integers(0, MAX_ROUND), st.integers(0, MAX_ROUND)
)


def everything(**changes: Any) -> Everything:
    """An instance with other values in some fields."""
    plain = Everything(False, 0, 0, 0, 0.0, "", b"", np.ones(2))
    return replace(plain, **changes)


def wrap(message: Message, sequence: int = 0) -> Envelope:
    """At some place."""
    return Envelope(sequence, Phase.TRAIN, 1, 2, message)


@settings(max_examples=150, deadline=None)
@given(HEADERS, EVERYTHING)
def test_bytes_are_those_of_the_protobuf_library(header: tuple[int, Phase, int, int], message: Everything) -> None:
    sequence, phase, round_number, batch = header
    envelope = Envelope(sequence, phase, round_number, batch, message)
    data = encode(envelope, CATALOGUE)
    assert data == with_protobuf(envelope)
    back = decode(data, CATALOGUE)
    assert isinstance(back.message, Everything)
    assert back.message.same_as(message)
    assert (back.sequence, back.phase, back.round, back.batch) == header
    assert encode(back, CATALOGUE) == data


@settings(max_examples=300, deadline=None)
@given(st.data(), EVERYTHING)
def test_changed_bytes_are_refused_or_mean_what_they_say(data: st.DataObject, message: Everything) -> None:
    good = bytearray(encode(wrap(message), CATALOGUE))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        envelope = decode(changed, CATALOGUE)
    except MalformedMessage:
        return
    assert encode(envelope, CATALOGUE) == changed
    assert PbEnvelope.FromString(changed).SerializeToString(deterministic=True) == changed


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(data, CATALOGUE)


def test_decoded_arrays_are_read_only_and_aligned() -> None:
    for padding in range(9):
        sent = everything(blob=b"x" * padding, values=np.arange(6.0).reshape(2, 3))
        message = decode(encode(wrap(sent), CATALOGUE), CATALOGUE).message
        assert isinstance(message, Everything)
        assert message.values.flags.aligned
        assert not message.values.flags.writeable
        np.testing.assert_array_equal(message.values, sent.values)


@pytest.mark.parametrize(
    "array",
    [np.arange(12).reshape(3, 4).T, np.arange(12)[::2], np.arange(3, dtype=">f8"), np.asfortranarray(np.ones((2, 3)))],
    ids=["transposed", "strided", "big-endian", "fortran"],
)
def test_any_memory_layout_can_be_sent(array: np.ndarray[Any, Any]) -> None:
    message = decode(encode(wrap(everything(values=array)), CATALOGUE), CATALOGUE).message
    assert isinstance(message, Everything)
    np.testing.assert_array_equal(message.values, array)


@pytest.mark.parametrize(
    "change",
    [
        {"flag": 1},
        {"small": 2**32},
        {"small": -1},
        {"count": 2**64},
        {"signed": 2**63},
        {"count": True},
        {"count": 1.0},
        {"ratio": 1},
        {"text": b"text"},
        {"text": "\ud800"},
        {"blob": "text"},
        {"blob": bytearray(b"x")},
        {"values": [1.0]},
        {"values": np.ones(0)},
        {"values": np.ones((1,) * 9)},
        {"values": np.ones(1, dtype=np.float16)},
        {"values": np.ones(1, dtype=bool)},
        {"values": np.array(["text"])},
        {"values": np.array([None])},
        {"counts": [1]},
        {"counts": (1, "2")},
        {"pair": (1, 2, 3)},
        {"blobs": (b"",) * (MAX_ELEMENTS + 1)},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_the_type_does_not_allow_is_not_sent(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"Everything\.{next(iter(change))}"):
        encode(wrap(everything(**change)), CATALOGUE)


def test_a_message_outside_the_catalogue_is_not_sent() -> None:
    @dataclass(frozen=True)
    class Stranger(Message):
        pass

    with pytest.raises(InvalidInput, match="Stranger"):
        encode(wrap(Stranger()), CATALOGUE)


def record(number: int, payload: bytes | int) -> bytes:
    """One field on the wire."""
    if isinstance(payload, int):
        return write_tag(number, VARINT) + write_varint(payload)
    return write_tag(number, LENGTH) + write_varint(len(payload)) + payload


def tensor(dtype: int = 5, shape: bytes = b"\1", data: bytes = b"x", more: bytes = b"") -> bytes:
    """A Tensor's bytes."""
    return record(1, dtype) + record(2, shape) + record(3, data) + more


PHASE = record(2, 5)
NOTE, EMPTY, EVERY = 1000, 1001, 1002
VALID = record(8, tensor()) + record(16, b"\0\0")


def every(fields_before_values: bytes = b"", after: bytes = record(16, b"\0\0"), values: bytes | None = None) -> bytes:
    """An envelope with an Everything whose fields are these."""
    tensors = record(8, tensor()) if values is None else values
    return PHASE + record(EVERY, fields_before_values + tensors + after)


MALFORMED = {
    "nothing": b"",
    "no message": PHASE,
    "no phase": record(EMPTY, b""),
    "phase out of range": record(2, max(Phase) + 1) + record(EMPTY, b""),
    "sequence out of range": record(1, 2**63) + PHASE + record(EMPTY, b""),
    "round out of range": PHASE + record(3, 2**31) + record(EMPTY, b""),
    "header of another wire type": record(1, b"") + PHASE + record(EMPTY, b""),
    "header twice": record(1, 1) + record(1, 1) + PHASE + record(EMPTY, b""),
    "header after body": record(EMPTY, b"") + PHASE,
    "header that is zero": record(1, 0) + PHASE + record(EMPTY, b""),
    "number that is zero": PHASE + record(NOTE, record(1, 0)),
    "bytes that are empty": PHASE + record(NOTE, record(2, b"")),
    "double that is zero": every(b"\x29" + bytes(8)),
    "unknown header": PHASE + record(5, 1) + record(EMPTY, b""),
    "unknown body": PHASE + record(999, b""),
    "two bodies": PHASE + record(NOTE, b"") + record(EMPTY, b""),
    "one body twice": PHASE + record(EMPTY, b"") + record(EMPTY, b""),
    "body as a number": PHASE + record(EMPTY, 0),
    "unknown field": PHASE + record(EMPTY, record(1, 1)),
    "field of another wire type": PHASE + record(NOTE, record(1, b"x")),
    "field twice": PHASE + record(NOTE, record(1, 1) + record(1, 1)),
    "fields out of order": PHASE + record(NOTE, record(2, b"x") + record(1, 1)),
    "field number 0": PHASE + record(NOTE, record(0, 1)),
    "group": PHASE + record(NOTE, b"\x0b\x0c"),
    "fixed32": PHASE + record(NOTE, b"\x0d1234"),
    "longer than the message": PHASE + write_tag(EMPTY, LENGTH) + b"\1",
    "length of 2^63": PHASE + write_tag(EMPTY, LENGTH) + write_varint(2**63),
    "cut in a number": PHASE + record(NOTE, b"\x08\x80"),
    "number of 65 bits": PHASE + record(NOTE, b"\x08" + b"\xff" * 9 + b"\x02"),
    "number of 11 bytes": PHASE + record(NOTE, b"\x08" + b"\x80" * 10 + b"\x01"),
    "number not in its shortest form": PHASE + record(NOTE, b"\x08\x81\x00"),
    "the dataclass's own check": PHASE + record(NOTE, record(1, 13)),
    "bool of 2": every(record(1, 2)),
    "uint32 of 33 bits": every(record(2, 2**32)),
    "double of 4 bytes": every(b"\x291234"),
    "text that is not UTF-8": every(record(6, b"\xff")),
    "no tensor": every(values=b""),
    "tensor twice": every(values=record(8, tensor()) * 2),
    "tensor of unknown dtype": every(values=record(8, tensor(dtype=7))),
    "tensor of no dtype": every(values=record(8, tensor(dtype=0))),
    "tensor with too little data": every(values=record(8, tensor(data=b""))),
    "tensor with too much data": every(values=record(8, tensor(data=b"xx"))),
    "tensor with an empty dimension": every(values=record(8, tensor(shape=b"\0", data=b""))),
    "tensor of rank 9": every(values=record(8, tensor(shape=b"\1" * 9))),
    "tensor of 2^64 elements": every(values=record(8, tensor(shape=write_varint(2**63) + b"\2"))),
    "tensor with an unknown field": every(values=record(8, tensor(more=record(4, 1)))),
    "tensor with a dtype twice": every(values=record(8, record(1, 5) + tensor())),
    "tensor whose dtype is bytes": every(values=record(8, record(1, b"\5") + record(2, b"\1") + record(3, b"x"))),
    "no pair": every(after=b""),
    "pair of three": every(after=record(16, b"\0\0\0")),
    "pair that is not packed": every(after=record(16, 1) + record(16, 1)),
    "packed twice": every(after=record(16, b"\0") + record(16, b"\0")),
    "packed doubles of 7 bytes": every(after=record(12, b"1234567") + record(16, b"\0\0")),
    "packed and empty": every(after=record(10, b"") + record(16, b"\0\0")),
    "too many records": every(after=record(14, b"") * (MAX_ELEMENTS + 1) + record(16, b"\0\0")),
    "too many packed numbers": every(after=record(10, b"\0" * (MAX_ELEMENTS + 1)) + record(16, b"\0\0")),
}


def test_the_table_below_is_about_one_flaw_at_a_time() -> None:
    assert isinstance(decode(every(), CATALOGUE).message, Everything)
    assert decode(PHASE + record(EMPTY, b""), CATALOGUE).message == Empty()
    assert decode(PHASE + record(NOTE, record(1, 1) + record(2, b"x")), CATALOGUE).message == Note(1, b"x")


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(data, CATALOGUE)


def test_peek_names_the_type_without_decoding() -> None:
    assert peek(encode(wrap(Note(1, b"x")), CATALOGUE), CATALOGUE) is Note
    assert peek(PHASE + record(NOTE, b"\xff"), CATALOGUE) is Note
    assert peek(PHASE + record(999, b""), CATALOGUE) is None
    assert peek(b"\xff", CATALOGUE) is None


@pytest.mark.parametrize("sequence", [0, 1, 127, 128, 1 << 40])
def test_peek_names_the_phase(sequence: int) -> None:
    for phase in Phase:
        assert peek_phase(encode(Envelope(sequence, phase, 3, 4, Note(1)), CATALOGUE)) == phase
    assert peek_phase(record(NOTE, b"")) == 0
    assert peek_phase(b"") == 0
    assert peek_phase(b"\x08" + b"\xff" * 1000) == 0


def test_a_catalogue_takes_no_two_types_of_one_number_or_name() -> None:
    twin = wire(1000, ledger=public(""))(dataclass(frozen=True)(type("Other", (Message,), {"__module__": __name__})))
    with pytest.raises(InvalidInput, match=r"messages\.Note and .*\.Other have one number, 1000"):
        Catalogue((Note, twin))
    twin = wire(1009, ledger=public(""))(dataclass(frozen=True)(type("Note", (Message,), {"__module__": __name__})))
    with pytest.raises(InvalidInput, match="have one name, Note"):
        Catalogue((Note, twin))
    assert list(Catalogue((Note, Note)).plans) == [Note]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_has_the_bytes_of_the_protobuf_library(message: Message) -> None:
    envelope = wrap(message, 3)
    assert encode(envelope, known_catalogue()) == with_protobuf(envelope)


def test_enums_agree_with_the_proto_file() -> None:
    assert {phase.name: int(phase) for phase in Phase} | {"PHASE_UNSPECIFIED": 0} == dict(secure_hfl_pb2.Phase.items())
    names = {dtype.name.upper(): number for number, dtype in DTYPES.items()}
    assert names | {"DTYPE_UNSPECIFIED": 0} == dict(secure_hfl_pb2.DType.items())


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 501, "\x1b[31m"])
def test_an_abort_is_one_printable_line(reason: str) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        Abort(reason, "host", "TaskFailed")
