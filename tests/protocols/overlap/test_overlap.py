"""Counting common ids: against set intersection, what is refused, and what an auditor says of a session."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import C, H, pump, replay
from protocols.core.envelope import Phase
from protocols.core.errors import (
    InvalidInput,
    InvalidPoint,
    LimitExceeded,
    MalformedMessage,
    MessageOutOfOrder,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.randomness import OsRandomness
from protocols.overlap import (
    Opening,
    OverlapAnswer,
    OverlapCount,
    OverlapDigests,
    OverlapOpen,
    OverlapPoints,
    OverlapSize,
    Terms,
    overlap_id,
)
from protocols.psi import hash_ids
from protocols.psi.curve import LOW_ORDER
from protocols.schemes.registry import registered_scheme
from protocols.task.order import Purpose, TaskOrder
from protocols.transcript.format import Entry
from tests.protocols.overlap.counted import CHUNK, PAIR, Counted, collaborator_steps, host_steps, opened
from tests.protocols.task.test_order import entries_of, pairs, take
from tests.protocols.transcript.recorded_runs import check
from tests.protocols.whole_task import Case

EXACT = Terms(1, 1)
IDS = [f"id{at}" for at in range(8)]
ID_SETS = st.sets(st.sampled_from([*IDS, "Å", "caf\u00e9", "x y"]), min_size=1).map(sorted)


@settings(max_examples=40, deadline=None)
@given(ID_SETS, ID_SETS, st.integers(1, 4))
def test_both_learn_how_many_and_round_it_down(host: list[str], other: list[str], round_to: int) -> None:
    terms = Terms(1, round_to)
    talk = pump(host_steps(host, terms), collaborator_steps(other, terms))
    common = len({*host} & {*other})
    assert talk.left == talk.right == common - common % round_to
    assert [type(each).__name__ for each in talk.from_left[-1:]] == ["OverlapSize"]


def test_the_two_spellings_of_one_text_are_one_id() -> None:
    assert pump(host_steps(["caf\u00e9"], EXACT), collaborator_steps(["cafe\u0301"], EXACT)).left == 1


@pytest.mark.parametrize(
    ("host", "other", "sizes", "reason"),
    [
        (Terms(1, 10), Terms(1, 5), (4, 4), "multiples of 5, the other of 10"),
        (Terms(5, 1), Terms(1, 1), (4, 9), "at least 5 ids, and one has 4"),
        (Terms(1, 1), Terms(5, 1), (4, 9), "at least 5 ids, and one has 4"),
        (Terms(5, 1), Terms(1, 1), (9, 1), "at least 5 ids, and one has 1"),
    ],
    ids=["rounding", "the host's minimum", "the other's minimum", "one id"],
)
def test_terms_that_do_not_fit_end_it_at_both_with_the_same_reason(
    host: Terms, other: Terms, sizes: tuple[int, int], reason: str
) -> None:
    openings = [opened(size, terms) for size, terms in zip(sizes, (host, other), strict=True)]
    said = set()
    for own, peer in (openings, openings[::-1]):
        with pytest.raises(WrongSession, match=reason) as error:
            Opening(own, 100).admit(peer)
        said.add(str(error.value))
    assert len(said) == 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (OverlapOpen(9, 3, 1, 1, bytes(32)), WrongSession),
        (OverlapOpen(9, 3, 1, 1, PAIR, "other"), WrongSession),
        (OverlapOpen(101, 3, 1, 1, PAIR), LimitExceeded),
    ],
    ids=["another pair", "another suite", "too many"],
)
def test_an_opening_that_is_wrong(message: OverlapOpen, error: type[Exception]) -> None:
    with pytest.raises(error):
        replay(Opening(opened(5, EXACT), 100).run(), message)


def roles() -> tuple[OverlapCount, OverlapAnswer]:
    hashed = hash_ids(PAIR, IDS)
    return (
        OverlapCount(hashed, OsRandomness(), EXACT, chunk=CHUNK),
        OverlapAnswer(hashed, OsRandomness(), EXACT, chunk=CHUNK),
    )


@lru_cache
def said() -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """All that host and collaborator send after their openings."""
    host, other = roles()
    talk = pump(host.run(opened(8, EXACT)), other.run(opened(8, EXACT)))
    return tuple(talk.from_left), tuple(talk.from_right)


POINT = bytes([9]) + bytes(31)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda sent: [sent[1], sent[0], *sent[2:]], MessageOutOfOrder),
        (lambda sent: [sent[0], sent[0], *sent[2:]], MessageOutOfOrder),
        (lambda sent: [replace(sent[0], points=POINT), *sent[1:]], MalformedMessage),
        (lambda sent: [*sent[:2], replace(sent[2], points=sent[0].points[:64]), *sent[3:]], MalformedMessage),
        (lambda sent: [replace(sent[0], points=sent[0].points[:64] + bytes(32)), *sent[1:]], InvalidPoint),
        (lambda sent: [replace(sent[0], points=sent[0].points[:64] + b"\xff" * 32), *sent[1:]], InvalidPoint),
        *(
            (lambda sent, u=u: [replace(sent[0], points=sent[0].points[:64] + u.to_bytes(32, "little")), *sent[1:]],
             InvalidPoint)
            for u in LOW_ORDER[1:]
        ),
    ],
    ids=["swapped", "again", "too short", "repeated", "zero", "not canonical", "one", "low", "low too", "minus one"],
)  # fmt: skip
@pytest.mark.parametrize("who", [H, C], ids=["to the host", "to the collaborator"])
def test_points_that_are_wrong(who: Any, change: Any, error: type[Exception]) -> None:
    role = roles()[who is C]
    sent = said()[who is H]
    with pytest.raises(error):
        replay(role.run(opened(8, EXACT)), *change(list(sent)))


@pytest.mark.parametrize(
    ("digests", "error"),
    [
        ([OverlapDigests(1, bytes(48))], MessageOutOfOrder),
        ([OverlapDigests(0, bytes(32))], MalformedMessage),
        ([OverlapDigests(0, bytes(48)), OverlapDigests(1, bytes(48)), OverlapDigests(2, bytes(32))], MalformedMessage),
    ],
    ids=["the second first", "too few", "repeated"],
)
def test_digests_that_are_wrong(digests: list[OverlapDigests], error: type[Exception]) -> None:
    points = [each for each in said()[1] if isinstance(each, OverlapPoints)]
    more = [OverlapDigests(0, bytes(48))] * (3 - len(digests))
    with pytest.raises(error):
        replay(roles()[0].run(opened(8, EXACT)), *points, *digests, *more)


@pytest.mark.parametrize(("size", "terms"), [(9, EXACT), (7, Terms(1, 2))], ids=["more than all", "not rounded"])
def test_a_number_that_cannot_be(size: int, terms: Terms) -> None:
    role = OverlapAnswer(hash_ids(PAIR, IDS), OsRandomness(), terms, chunk=CHUNK)
    with pytest.raises(MalformedMessage, match="OverlapSize says"):
        replay(role.run(opened(8, terms)), *said()[0][:-1], OverlapSize(size))


def test_roles_are_used_once_and_show_no_secret() -> None:
    host, other = roles()
    opening = Opening(opened(5, EXACT), 100)
    pump(host.run(opened(8, EXACT)), other.run(opened(8, EXACT)))
    replay(opening.run(), opened(5, EXACT))
    for steps in (host.run(opened(8, EXACT)), other.run(opened(8, EXACT)), opening.run()):
        with pytest.raises(RoleAlreadyUsed):
            next(steps)
    assert repr(host) == "OverlapCount(8 ids)"
    assert repr(other) == "OverlapAnswer(8 ids)"


@pytest.mark.parametrize(
    "make",
    [
        lambda: OverlapOpen(0, 1, 1, 1, PAIR),
        lambda: OverlapOpen(1, 0, 1, 1, PAIR),
        lambda: OverlapOpen(1, 1, 0, 1, PAIR),
        lambda: OverlapOpen(1, 1, 1, 0, PAIR),
        lambda: OverlapOpen(1, 1, 1, 1, b"short"),
        lambda: OverlapPoints(0, b""),
        lambda: OverlapPoints(-1, bytes(32)),
        lambda: OverlapPoints(0, bytes(33)),
        lambda: OverlapDigests(0, bytes(17)),
        lambda: OverlapSize(-1),
        lambda: Terms(0, 1),
        lambda: Terms(1, 0),
        lambda: Terms(1, True),
        lambda: overlap_id(b"short"),
    ],
)
def test_what_cannot_be(make: Any) -> None:
    with pytest.raises((InvalidInput, MalformedMessage)):
        make()


# Sessions -------------------------------------------------------------------------------------------------------------


@lru_cache
def session(case: Case) -> Counted:
    return Counted(case, IDS, [*IDS[3:], "other"], Terms(4, 2)).run()


CASES = (Case("bfv"), Case("plain", names=("patient", "shop")))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_session_holds_from_both_ends_and_says_what_was_told(case: Case) -> None:
    run = session(case)
    assert list(run.sizes) == [(4, 4)] * len(case.names)
    for line in run.lines:
        report = check(line.wire.files[H], line.wire.files[C])
        assert report.holds, report.findings
        assert report.manifests[0].terms["session"].startswith("overlap")
        ledger = report.ledger
        assert ledger is not None
        assert any(said.endswith("holds, exactly, and not which") for said in ledger.host_learned)
        assert any("rounded down as agreed, and not which" in said for said in ledger.collaborator_learned)
        assert not ledger.host_may_infer
        assert not ledger.collaborator_may_infer


def accepts(run: list[Entry]) -> bool:
    order = TaskOrder(registered_scheme("bfv").prediction_order(), purpose=Purpose.OVERLAP)
    try:
        for entry in run:
            take(order, entry)
    except MessageOutOfOrder:
        return False
    return order.is_finished


def test_a_session_is_legal_at_both_ends_and_nothing_may_be_left_out_come_twice_or_be_swapped() -> None:
    host, other = map(entries_of, session(CASES[0]).files)
    assert accepts(host)
    assert accepts(other)
    for at, entry in enumerate(host):
        assert not accepts([*host[:at], *host[at + 1 :]]), (at, entry)
        assert not accepts([*host[: at + 1], *host[at:]]), (at, entry)
    for first, second in pairs(host):
        swapped = list(host)
        swapped[first], swapped[second] = host[second], host[first]
        if (host[first].type, host[first].recorded) != (host[second].type, host[second].recorded):
            assert not accepts(swapped), (host[first], host[second])


@pytest.mark.parametrize(
    ("kind", "sender", "recorded"),
    [
        ("OverlapOpen", H, (0, 3, 4, 2)),
        ("OverlapOpen", H, (8, 3, 4, 3)),
        ("OverlapOpen", C, (6, 3, 7, 2)),
        ("OverlapOpen", C, (3, 3, 4, 2)),
        ("OverlapPoints", H, (1,)),
        ("OverlapPoints", C, (1,)),
        ("OverlapDigests", C, (1,)),
        ("OverlapSize", H, (5,)),
        ("OverlapSize", H, (8,)),
    ],
)
def test_a_message_that_does_not_fit_the_terms(kind: str, sender: Any, recorded: tuple[int, ...]) -> None:
    run = entries_of(session(CASES[0]).files[0])
    at = next(at for at, each in enumerate(run) if (each.type, each.sender) == (kind, sender))
    assert run[at].recorded != recorded
    run[at] = run[at]._replace(recorded=recorded)
    assert not accepts(run)


def test_only_such_a_session_has_these_messages_and_it_has_no_others() -> None:
    run = entries_of(session(CASES[0]).files[0])
    scheme = registered_scheme("bfv")
    first = next(each for each in run if each.phase == Phase.PSI)
    for purpose in (Purpose.TRAINING, Purpose.PREDICTION, Purpose.ONLINE):
        order = TaskOrder(scheme.prediction_order(), purpose=purpose)
        for each in run[: run.index(first)]:
            take(order, each)
        with pytest.raises(MessageOutOfOrder):
            take(order, first)


def test_the_manifest_says_so_and_then_nothing_else() -> None:
    manifest = session(CASES[0]).manifest
    assert manifest.is_overlap
    assert replace(manifest, is_overlap=False).digest() != manifest.digest()
    with pytest.raises(InvalidInput, match="is_overlap"):
        replace(manifest, is_overlap=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="is_overlap"):
        replace(manifest, trainable=(True,), may_train=(True,))


def test_a_party_that_trains_is_told_before_anything_else() -> None:
    run = Counted(CASES[0], IDS, IDS, EXACT)
    run.hello = lambda line: replace(Counted.hello(run, line), is_overlap=False)  # type: ignore[method-assign]
    with pytest.raises(WrongSession, match="secure-hfl overlap"):
        run.join()


def test_digests_come_in_another_order_than_the_points_that_they_answer() -> None:
    """With the same scalars: a permutation of its own, fresh in every run."""
    role = OverlapAnswer(hash_ids(PAIR, IDS), OsRandomness(), EXACT, chunk=CHUNK)
    digests = bytes(np.arange(16 * 50, dtype="<u2").astype(np.uint8))
    orders = {role._shuffled(digests[: 16 * 16]).tobytes() for _ in range(5)}
    assert len(orders) == 5
