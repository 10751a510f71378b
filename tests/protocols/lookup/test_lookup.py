"""Lookups by themselves: what is found, what is refused, and which calls come in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import pump, replay
from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    InvalidPoint,
    LimitExceeded,
    MalformedMessage,
    MessageOutOfOrder,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.randomness import OsRandomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.lookup import (
    MAX_LOOKUP,
    Directory,
    LookupPoints,
    LookupRefused,
    LookupReplies,
    Population,
    PopulationDigests,
    PopulationOpen,
    RequestsOver,
    RowsAsked,
    RowsRefused,
    lookup_id,
)
from protocols.psi import hash_ids
from protocols.psi.curve import LOW_ORDER, Scalar, encode_ids, multiply

PAIR = lookup_id(bytes(32))
IDS = [f"id{at}" for at in range(50)]


def population(ids: list[str] = IDS, chunk: int = 16) -> Population:
    return Population(hash_ids(PAIR, ids), OsRandomness(), chunk=chunk)


def registered(of: Population | None = None) -> tuple[Directory, Population]:
    directory, of = Directory(PAIR, OsRandomness()), of or population()
    pump(directory.register(), of.register())
    return directory, of


def answers(of: Population) -> Steps[None]:
    yield Send(of.answer(received((yield Receive(LookupPoints)), LookupPoints)))


def sent(steps: Steps[None]) -> Iterator[Any]:
    for step in steps:
        assert isinstance(step, Send)
        yield step.message


def test_ids_are_found_where_they_stand_in_every_lookup_and_others_are_not() -> None:
    directory, of = registered()
    assert directory.size == 50
    for asked in (["id3"], ["x"], [*IDS[::-1], "id50"], ["Å"]):
        talk = pump(directory.find(asked), answers(of))
        held = [each for each in asked if each in IDS]
        assert [each for each, at in zip(asked, talk.left, strict=True) if at >= 0] == held
        if held:
            assert list(of.ids_at(RowsAsked.of(talk.left[talk.left >= 0]))) == held


def test_the_two_spellings_of_one_text_are_one_id() -> None:
    directory, of = registered(population(["caf\u00e9"]))
    assert pump(directory.find(["cafe\u0301"]), answers(of)).left[0] == 0


def test_a_scalar_is_taken_back_on_the_curve() -> None:
    for _ in range(20):
        one, other = Scalar(OsRandomness()), Scalar(OsRandomness())
        point = multiply(other, encode_ids(PAIR, ["a"]))
        inverse = one.inverse()
        assert multiply(inverse, multiply(one, point)) == point
        first, last = inverse.value[0], inverse.value[31]
        assert (first & 7, last >> 6) == (0, 1), "it is not clamped"
        assert multiply(one, point, may_use_kernels=False) == multiply(one, point)


def test_each_session_registers_other_digests_in_another_order() -> None:
    seen = [b"".join(each.digests for each in list(sent(population().register()))[1:]) for _ in range(2)]
    assert len({digests[at : at + 16] for digests in seen for at in range(0, len(digests), 16)}) == 100


def test_the_order_of_calls() -> None:
    of, directory = population(), Directory(PAIR, OsRandomness())
    for call in (lambda: of.answer(LookupPoints(bytes([9]) + bytes(31))), lambda: of.ids_at(RowsAsked(bytes(4)))):
        with pytest.raises(CallOutOfOrder, match="before the population was registered"):
            call()
    with pytest.raises(CallOutOfOrder):
        next(directory.find(["a"]))
    pump(directory.register(), of.register())
    for steps in (directory.register(), of.register()):
        with pytest.raises(RoleAlreadyUsed):
            next(steps)
    assert repr(of) == "Population(50 ids)"
    assert repr(directory) == "Directory(50 ids)"


BAD = {
    "another pair": (WrongSession, lambda all_: [PopulationOpen(50, 16, bytes(32)), *all_[1:]]),
    "another suite": (WrongSession, lambda all_: [PopulationOpen(50, 16, PAIR, "other"), *all_[1:]]),
    "too many": (LimitExceeded, lambda all_: [PopulationOpen(61, 16, PAIR), *all_[1:]]),
    "swapped chunks": (MessageOutOfOrder, lambda all_: [all_[0], all_[2], all_[1], *all_[3:]]),
    "a short chunk": (MalformedMessage, lambda all_: [*all_[:4], PopulationDigests(3, bytes(16))]),
    "a repeated digest": (MalformedMessage, lambda all_: [*all_[:4], PopulationDigests(3, bytes(32))]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_registration_that_is_wrong(name: str) -> None:
    error, change = BAD[name]
    with pytest.raises(error):
        replay(Directory(PAIR, OsRandomness(), 60).register(), *change(list(sent(population().register()))))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (LookupReplies(bytes([9]) + bytes(31)), MalformedMessage),
        (LookupReplies(bytes([9, *bytes(31)]) + b"\xff" * 32), InvalidPoint),
        (LookupReplies(bytes([9, *bytes(31)]) + bytes(32)), InvalidPoint),
        (LookupRefused(2), MalformedMessage),
    ],
    ids=["one too few", "not canonical", "low order", "a refusal that leaves enough"],
)
def test_an_answer_that_is_wrong(answer: Any, error: type[Exception]) -> None:
    directory, _ = registered()
    with pytest.raises(error):
        replay(directory.find(["a", "b"]), answer)


def test_one_answer_for_two_ids_is_refused() -> None:
    directory, of = registered()
    steps = directory.find(IDS[:2])
    asked: Any = next(steps)
    next(steps)
    with pytest.raises(MalformedMessage, match="answers two ids by one"):
        steps.send(of.answer(LookupPoints(asked.message.points[:32] * 2)))


def test_a_refusal_says_how_many_are_left() -> None:
    directory, _ = registered()
    assert replay(directory.find(["a", "b"]), LookupRefused(1)) == LookupRefused(1)


@pytest.mark.parametrize("ids", [[], ["a", "a"], [""], [1], [str(at) for at in range(MAX_LOOKUP + 1)]], ids=len)
def test_ids_that_cannot_be_looked_up(ids: list[Any]) -> None:
    directory, _ = registered()
    with pytest.raises(InvalidInput):
        next(directory.find(ids))


@pytest.mark.parametrize("u", LOW_ORDER, ids=hex)
def test_points_of_low_order_are_not_answered(u: int) -> None:
    _, of = registered()
    with pytest.raises(InvalidPoint):
        of.answer(LookupPoints(u.to_bytes(32, "little")))


def test_no_more_different_rows_are_given_than_ids_were_looked_up() -> None:
    directory, of = registered()
    with pytest.raises(MessageOutOfOrder, match="1 different rows, and 0 ids were looked up"):
        of.ids_at(RowsAsked.of(np.array([0])))
    found = pump(directory.find(["id1", "id2", "x"]), answers(of)).left
    for _ in range(3):
        assert of.ids_at(RowsAsked.of(found[:2])) == ("id1", "id2")
    others = np.setdiff1d(np.arange(50), [*found[:2], 0])
    with pytest.raises(MessageOutOfOrder, match="different rows, and 3"):
        of.ids_at(RowsAsked.of(others[:2]))


def test_positions_beyond_the_last_are_refused() -> None:
    _, of = registered()
    with pytest.raises(MalformedMessage, match="position 50 of 50"):
        of.ids_at(RowsAsked.of(np.array([0, 50])))


@pytest.mark.parametrize(
    "make",
    [
        lambda: PopulationOpen(0, 1, PAIR),
        lambda: PopulationOpen(1, 0, PAIR),
        lambda: PopulationOpen(1, 1, b"short"),
        lambda: PopulationDigests(0, b""),
        lambda: PopulationDigests(-1, bytes(16)),
        lambda: PopulationDigests(0, bytes(17)),
        lambda: LookupPoints(b""),
        lambda: LookupPoints(bytes(33)),
        lambda: LookupPoints(bytes(32 * (MAX_LOOKUP + 1))),
        lambda: LookupReplies(bytearray(32)),  # type: ignore[arg-type]
        lambda: LookupRefused(-1),
        lambda: LookupRefused(MAX_LOOKUP),
        lambda: RowsAsked(b""),
        lambda: RowsAsked(bytes(5)),
        lambda: RowsAsked(bytes(8)),
        lambda: RowsAsked(b"\xff" * 4),
        lambda: RowsRefused(b""),
        lambda: RowsRefused(bytes(2)),
        lambda: RequestsOver(-1),
        lambda: lookup_id(b"short"),
    ],
)
def test_messages_that_cannot_be(make: Any) -> None:
    with pytest.raises((InvalidInput, MalformedMessage)):
        make()


def test_marks_are_of_the_rows_that_were_asked_for() -> None:
    marks = np.array([True, *[False] * 8, True])
    assert list(RowsRefused.of(marks).of_rows(10)) == list(marks)
    for rows in (8, 9, 17):
        with pytest.raises((InvalidInput, MalformedMessage)):
            RowsRefused.of(marks).of_rows(rows)
