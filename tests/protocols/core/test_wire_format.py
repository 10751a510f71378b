"""What a message type states about itself with `@wire`, and which statements are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.harness.known_messages import MESSAGE_TYPES
from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import InvalidInput
from protocols.core.ledger import Content, KeptFromHost, LedgerEntry, public
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Agreement, TaskSizes, exactly
from protocols.core.wire_format import (
    FIRST_PLUG_IN,
    Uint32,
    Uint64,
    WireField,
    check_distinct,
    recorded_of,
    wire,
    wire_format,
)
from protocols.task.messages import COMMON_MESSAGES
from protocols.transcript.run_ledger import Crossed, ledger_of_run
from protocols.wire.codec import Catalogue, decode, encode
from protocols.wire.proto_file import proto_text
from protocols.wire.sizes import data, number, tensor

SHOWN = LedgerEntry(
    Content.PLAINTEXT,
    "both parties",
    "half of each feature of {collaborator}",
    "",
    "An example.",
    carries=frozenset({KeptFromHost.FEATURES}),
)


@wire(
    FIRST_PLUG_IN,
    ledger=SHOWN,
    recorded=("version", "is_last"),
    bounds=exactly(lambda recorded: sum(map(number, recorded)) + tensor((2, 3), 4) + 2 * data(1)),
)
@dataclass(frozen=True)
class Halves(Message):
    """A message of a scheme from elsewhere.

    **Leaks** half of everything.
    """

    version: Uint64
    is_last: bool
    values: NDArray[np.float32]
    tags: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_array("values", np.float32, 2)


HALVES = Halves(300, True, np.ones((2, 3), np.float32), (b"a", b"b"))


def declared(number: int = 2000, hints: dict[str, Any] | None = None, **stated: Any) -> type[Message]:
    """A message type with these fields, declared."""
    values = {"__annotations__": hints or {}, "__module__": __name__, "__doc__": "A message."}
    kind = dataclass(frozen=True)(type("Made", (Message,), values))
    return wire(number, **{"ledger": public(""), **stated})(kind)


def test_fields_are_numbered_in_their_order_and_typed_by_their_annotations() -> None:
    assert wire_format(Halves).fields == (
        WireField("version", 1, "uint64", False, None),
        WireField("is_last", 2, "bool", False, None),
        WireField("values", 3, "Tensor", False, None),
        WireField("tags", 4, "bytes", True, None),
    )
    (pair,) = wire_format(declared(hints={"pair": tuple[Uint32, Uint32]})).fields
    assert pair == WireField("pair", 1, "uint32", True, 2)


def test_a_message_from_elsewhere_travels_with_the_common_ones() -> None:
    catalogue = Catalogue((*COMMON_MESSAGES, Halves))
    envelope = Envelope(7, Phase.TRAIN, 1, 2, HALVES)
    back = decode(encode(envelope, catalogue), catalogue)
    assert isinstance(back.message, Halves)
    assert encode(back, catalogue) == encode(envelope, catalogue)
    text = proto_text((*COMMON_MESSAGES, Halves))
    assert "    Halves halves = 1000;\n" in text
    assert "// A message of a scheme from elsewhere.\nmessage Halves {\n  uint64 version = 1;\n" in text
    assert "  repeated bytes tags = 4;\n" in text


def test_it_says_what_a_transcript_repeats_and_how_long_it_is() -> None:
    assert wire_format(Halves).recorded == ("version", "is_last")
    assert recorded_of(HALVES) == (300, 1)
    bounds = wire_format(Halves).bounds
    assert bounds is not None
    task = TaskSizes(cast(Agreement, None))
    (low, high) = bounds(task, Sender.HOST, recorded_of(HALVES)) or (0, 0)
    alone = Catalogue((Halves,))
    length = len(encode(Envelope(0, Phase.TRAIN, 0, 0, HALVES), alone))
    assert low == high == length - len(b"\x10\x05") - len(b"\xc2\x3e\x2d")  # phase; tag and length of the body
    assert wire_format(declared()).bounds is None


def test_its_ledger_entry_is_part_of_the_ledger_of_a_run() -> None:
    common = [Crossed(sender, kind, 0) for sender in Sender for kind in COMMON_MESSAGES]
    ledger = ledger_of_run("bank", "clinic", [*common, Crossed(Sender.COLLABORATOR, Halves, 1)])
    assert "half of each feature of clinic" in ledger.host_learned
    assert "clinic's features in the clear" not in ledger.never_sent_to_host
    assert "clinic's features in the clear" in ledger_of_run("bank", "clinic", common).never_sent_to_host


@pytest.mark.parametrize("number", [0, 16, FIRST_PLUG_IN - 1, 1 << 29])
def test_numbers_of_this_project_are_not_for_others(number: int) -> None:
    with pytest.raises(InvalidInput, match=f"Made: its number must be from 1000 to 536870911, not {number}"):
        declared(number)


def test_this_project_keeps_to_its_own_numbers() -> None:
    assert all(16 <= wire_format(kind).number < FIRST_PLUG_IN for kind in MESSAGE_TYPES)
    assert check_distinct(MESSAGE_TYPES) == MESSAGE_TYPES


@pytest.mark.parametrize(
    ("hint", "problem"),
    [
        (int, "say which integer travels: Uint32, Uint64, Int32 or Int64"),
        (tuple[int, ...], "say which integer travels"),
        (tuple[str, bytes], "a tuple's elements must have one type"),
        (dict[str, str], "no field can hold dict"),
        (str | None, "no field can hold"),
        (object, "no field can hold"),
    ],
)
def test_a_field_that_cannot_travel_is_refused(hint: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=rf"Made\.field: {problem}"):
        declared(hints={"field": hint})


def test_an_annotation_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidInput, match="an annotation cannot be read: name 'Nowhere'"):
        declared(hints={"field": "Nowhere"})


def test_only_fields_are_recorded_unless_a_reader_is_given() -> None:
    with pytest.raises(InvalidInput, match="has no field rows to record"):
        declared(recorded=("rows",))
    kind = declared(hints={"text": str}, recorded=("length",), record=lambda message: (len(message.text),))
    assert recorded_of(kind(text="abc")) == (3,)  # type: ignore[call-arg]


def test_what_is_no_message_cannot_be_declared() -> None:
    with pytest.raises(InvalidInput, match="str: @wire stands above @dataclass"):
        wire(1000, ledger=public(""))(cast(Any, str))


def test_a_subclass_states_its_own() -> None:
    class Sub(Halves):
        pass

    with pytest.raises(InvalidInput, match="Sub is not a message that may be sent: it is not declared with @wire"):
        wire_format(Sub)
    with pytest.raises(InvalidInput, match="not declared with @wire"):
        Catalogue((Message,))
