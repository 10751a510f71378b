"""PSI in buckets: the same result as over all ids, sizes that say nothing but the set's, and a bound that holds."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, inf, log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.pump import ends_of_nothing, pump, replay
from protocols.core.errors import (
    InvalidInput,
    MalformedMessage,
    MessageOutOfOrder,
    ProtocolError,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.core.sender import Sender
from protocols.core.steps import Send
from protocols.psi import PsiDigests, PsiOpen, PsiPoints, PsiReceiver, PsiResult, hash_ids
from protocols.psi.bucket_messages import MAX_ATTEMPTS, PsiBuckets, PsiBucketsTaken
from protocols.psi.bucketing import CollaboratorBucketing, Cut, HostBucketing
from protocols.psi.buckets import (
    BUCKET_IDS,
    MOST_IN_ONE,
    OVERFLOW_BITS,
    Shape,
    bucket_count,
    bucket_numbers,
    bucket_pair,
    bucket_words,
    bucketing_domain,
    hash_bucket,
    key_of,
    log2_overflow,
    padded_size,
    shape_of,
)
from protocols.psi.order import PsiStreams
from tests.protocols.psi.helpers import Bucketed, Half

PAIR = bytes(range(32))
NONCE = bytes(32)
H, C = Sender.HOST, Sender.COLLABORATOR
unique_ids = st.lists(st.text("abcé0", min_size=1, max_size=4), min_size=1, max_size=30, unique=True)


def parties(host_ids: list[str], other_ids: list[str], buckets: int) -> Bucketed:
    ours, theirs = ends_of_nothing()
    return Bucketed(Half(host_ids), Half(other_ids), PAIR, (ours.begin, theirs.begin), buckets)


def whole(run: Bucketed) -> Bucketed:
    run.open()
    run.agree()
    run.run_all()
    return run


@settings(max_examples=15, deadline=None)
@given(host_ids=unique_ids, other_ids=unique_ids, buckets=st.integers(1, 5), keep=st.integers(1, 3))
def test_equals_psi_over_all_ids(host_ids: list[str], other_ids: list[str], buckets: int, keep: int) -> None:
    run = whole(parties(host_ids, other_ids, buckets))
    expected = set(host_ids) & set(other_ids)
    assert run.pairwise == expected
    final = set(sorted(expected)[::keep])
    assert run.tell(final) == final


# The bound ------------------------------------------------------------------------------------------------------------


def exact_log2_tail(ids: int, buckets: int, size: int) -> float:
    """log2 of B times P[Bin(ids, 1/B) > size], in integers."""
    ways = sum(comb(ids, k) * (buckets - 1) ** (ids - k) for k in range(size + 1, ids + 1))
    return log2(ways) + log2(buckets) - ids * log2(buckets) if ways else -inf


@pytest.mark.parametrize(("ids", "buckets"), [(60, 2), (200, 7), (1000, 39), (1500, 3), (30, 100)])
def test_the_bound_is_above_the_exact_probability_and_not_far(ids: int, buckets: int) -> None:
    size = padded_size(ids, buckets)
    assert exact_log2_tail(ids, buckets, size) <= log2_overflow(ids, buckets, size) <= -OVERFLOW_BITS
    if size > 1:
        assert log2_overflow(ids, buckets, size - 1) > -OVERFLOW_BITS
        assert exact_log2_tail(ids, buckets, size - 1) > -OVERFLOW_BITS - 8  # the padding is not much more than needed


def test_padding_costs_two_percent_where_it_matters() -> None:
    for ids in (10**7, 10**8):
        buckets = bucket_count(ids)
        size = padded_size(ids, buckets)
        assert size * buckets < 1.02 * ids
        assert BUCKET_IDS * 0.9 < ids / buckets <= BUCKET_IDS
    assert bucket_count(MOST_IN_ONE) == 1
    assert padded_size(123, 1) == 123


def test_random_ids_fill_buckets_evenly_and_another_nonce_fills_others() -> None:
    names = [b"patient-%d" % i for i in range(20_000)]
    filled = []
    for nonce in (NONCE, bytes([1] * 32)):
        words = bucket_words(key_of(bucketing_domain("task", [bytes(32)] * 2), nonce), names)
        filled.append(bucket_numbers(words, 8))
    counts = np.bincount(filled[0], minlength=8)
    assert counts.sum() == 20_000
    assert counts.max() <= padded_size(20_000, 8)
    assert abs(counts - 2500).max() < 6 * 50  # 50: the standard deviation
    assert 2000 < (filled[0] == filled[1]).sum() < 3000


def test_the_key_is_of_the_task_its_parties_and_the_nonce() -> None:
    certificates = [bytes(32), bytes([1] * 32)]
    keys = {
        key_of(bucketing_domain("task", certificates), NONCE),
        key_of(bucketing_domain("other", certificates), NONCE),
        key_of(bucketing_domain("task", certificates[::-1]), NONCE),
        key_of(bucketing_domain("task", certificates), bytes([9] * 32)),
    }
    assert len(keys) == 4
    assert bucket_pair(PAIR, 0) != bucket_pair(PAIR, 1) != bucket_pair(bytes(32), 1)


# What is seen ---------------------------------------------------------------------------------------------------------


def seen(messages: list[Any]) -> list[Any]:
    """Types, counts and sizes, without the bytes of masked points."""
    shown = []
    for each in messages:
        if isinstance(each, PsiOpen):
            shown.append(("PsiOpen", each.set_size))
        elif isinstance(each, PsiPoints | PsiDigests):
            shown.append((type(each).__name__, each.index, each.items))
        elif isinstance(each, PsiBuckets):
            shown.append(("PsiBuckets", each.buckets, each.host_size, each.collaborator_size, each.done))
        else:
            shown.append((type(each).__name__,))
    return shown


def test_a_transcript_shows_the_set_sizes_and_no_fill_of_a_bucket() -> None:
    """Whatever ids they hold: spread, nothing in common, or (nobody knows the nonce) by chance all in few buckets."""
    transcripts, fills = [], set()
    for ids in ([f"a{i}" for i in range(40)], [f"b{i}" for i in range(60, 100)], [f"a{i * i}" for i in range(40)]):
        ours, theirs = ends_of_nothing()
        run = whole(Bucketed(Half(ids), Half([f"a{i}" for i in range(30)]), PAIR, (ours.begin, theirs.begin), 4))
        fills |= {len(run.host.texts(index)) for index in range(4)}
        transcripts.append((seen(ours.sent), seen(theirs.sent)))
    assert len(fills) > 1  # all twelve are ten once in ten million times
    assert transcripts[0] == transcripts[1] == transcripts[2]


def test_padding_looks_like_ids_and_matches_nothing() -> None:
    """Two empty buckets of padding alone meet in nothing, and padding is on the curve as ids are."""
    random = OsRandomness()
    one, other = (hash_bucket(bucket_pair(PAIR, 0), (), 12, random) for _ in range(2))
    points = [one.points[at : at + 32] for at in range(0, 12 * 32, 32)] + [other.points[:32]]
    assert len(set(points)) == 13
    run = whole(parties(["a"], ["b"], 5))
    assert run.pairwise == frozenset()
    with pytest.raises(InvalidInput, match="cannot take 2 ids"):
        hash_bucket(PAIR, ("a", "b"), 1, random)


def test_a_point_that_equals_padding_is_refused() -> None:
    """Nobody can make one; a broken hash must not end as an id that is not there."""
    bucket = hash_bucket(PAIR, ("a",), 3, SeededRandomness(1, "padding"))
    host = PsiReceiver(bucket, SeededRandomness(2, "host"))
    host._received.plan(PsiDigests, host._own.stream)
    host._received._streams[PsiDigests].next = 1
    host._received.state = type(host._received.state).DIGESTS
    digests = b"".join(i.to_bytes(16, "big") for i in range(3))
    host._compared.ours, host._compared.theirs = [digests], [digests]
    with pytest.raises(MalformedMessage, match="padding"):
        host.matches()


# Agreeing -------------------------------------------------------------------------------------------------------------

SHAPE = shape_of(40, 30, 4)


def anything(nonce: bytes, shape: Shape) -> bool:
    return True


def proposal(**fields: Any) -> PsiBuckets:
    values = {"buckets": 4, "host_size": SHAPE.host_size, "done": 0, "nonce": NONCE}
    return PsiBuckets(**{**values, "collaborator_size": SHAPE.collaborator_size, **fields})


def test_a_host_whose_ids_do_not_fit_stops_before_anything_of_them_is_sent() -> None:
    steps = HostBucketing(Cut(SHAPE, NONCE), lambda nonce, shape: False, lambda: NONCE).run()
    assert next(steps) == Send(proposal())
    with pytest.raises(InvalidInput, match="start again"):
        next(steps)


def test_ids_that_do_not_fit_get_a_fresh_nonce_and_no_larger_bucket() -> None:
    redrawn = iter([bytes([i] * 32) for i in (1, 2)])
    asked: list[bytes] = []

    def fits(nonce: bytes, shape: Shape) -> bool:
        asked.append(nonce)
        return nonce == bytes([2] * 32)

    host = HostBucketing(Cut(SHAPE, NONCE, 3), anything, lambda: next(redrawn))
    talk = pump(host.run(), CollaboratorBucketing(40, 30, None, fits).run())
    assert talk.left == talk.right == Cut(SHAPE, bytes([2] * 32), 0)
    assert asked == [NONCE, bytes([1] * 32), bytes([2] * 32)]
    sizes = {(m.host_size, m.collaborator_size) for m in talk.from_left if isinstance(m, PsiBuckets)}
    assert sizes == {(SHAPE.host_size, SHAPE.collaborator_size)}


def test_both_go_on_from_what_both_have_done() -> None:
    for ours, theirs, nonce, done in ((3, 2, NONCE, 2), (1, 4, NONCE, 1), (3, 2, bytes([7] * 32), 0)):
        host = HostBucketing(Cut(SHAPE, NONCE, ours), anything, lambda: NONCE)
        other = CollaboratorBucketing(40, 30, Cut(SHAPE, nonce, theirs), anything)
        talk = pump(host.run(), other.run())
        assert talk.left == talk.right == Cut(SHAPE, NONCE, done)


def test_a_bucket_under_way_is_run_again_and_no_other() -> None:
    ids = [f"id{i}" for i in range(30)]
    run = parties(ids, ids[10:], 4)
    run.open()
    run.agree()
    run.run_bucket(0)
    run.run_bucket(1)
    del run.other.kept[1]  # it died before it was on its disk
    ours, theirs = ends_of_nothing()
    again = Bucketed(run.host, run.other, bytes([5] * 32), (ours.begin, theirs.begin), 4)
    whole(again)
    assert again.host.runs == again.other.runs == [0, 1, 1, 2, 3]
    assert again.pairwise == again.tell(set(ids)) == frozenset(ids[10:])


WRONG: dict[str, tuple[Callable[[], Any], type[ProtocolError]]] = {
    "another number of buckets": (lambda: heard(proposal(buckets=1025)), WrongSession),
    "buckets that are larger": (lambda: heard(proposal(host_size=SHAPE.host_size + 2)), WrongSession),
    "buckets that are smaller": (lambda: heard(proposal(collaborator_size=SHAPE.collaborator_size - 2)), WrongSession),
    "more done than the host has": (lambda: answered(PsiBucketsTaken(True, 3)), MalformedMessage),
    "nothing ever fits": (
        lambda: answered(*[PsiBucketsTaken(False, 0)] * MAX_ATTEMPTS),
        MalformedMessage,
    ),
    "done where it does not fit": (lambda: PsiBucketsTaken(False, 1), InvalidInput),
    "more done than buckets": (lambda: proposal(done=5), InvalidInput),
    "no bucket": (lambda: proposal(buckets=0), InvalidInput),
    "a short nonce": (lambda: proposal(nonce=bytes(31)), InvalidInput),
    "fits is a number": (lambda: PsiBucketsTaken(1, 0), InvalidInput),  # type: ignore[arg-type]
}


def heard(*messages: PsiBuckets) -> Any:
    return replay(CollaboratorBucketing(40, 30, None, anything).run(), *messages)


def answered(*messages: PsiBucketsTaken) -> Any:
    return replay(HostBucketing(Cut(SHAPE, NONCE, 2), anything, lambda: NONCE).run(), *messages)


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_messages_about_buckets(name: str) -> None:
    call, error = WRONG[name]
    with pytest.raises(error):
        call()


def test_a_margin_may_differ_by_a_point() -> None:
    assert heard(proposal(host_size=SHAPE.host_size + 1)).shape.host_size == SHAPE.host_size + 1


def test_roles_agree_once() -> None:
    role = HostBucketing(Cut(SHAPE, NONCE), anything, lambda: NONCE)
    replay(role.run(), PsiBucketsTaken(True, 0))
    with pytest.raises(RoleAlreadyUsed):
        next(role.run())


def test_a_peer_bucket_of_another_size_than_agreed_is_refused() -> None:
    host = PsiReceiver(hash_ids(PAIR, ["a", "b"]), OsRandomness(), peer_ids=3)
    with pytest.raises(MalformedMessage, match="not the 3 agreed"):
        host.receive_open(PsiOpen(2, 4, PAIR))


# The order ------------------------------------------------------------------------------------------------------------

BUCKET = [
    (H, PsiOpen, (12, 16)),
    (C, PsiOpen, (9, 16)),
    (H, PsiPoints, (0,)),
    (C, PsiPoints, (0,)),
    (C, PsiDigests, (0,)),
]
LEGAL: list[tuple[Sender, type[Any], tuple[int, ...]]] = [
    (H, PsiOpen, (40, 16)),
    (C, PsiOpen, (30, 16)),
    (H, PsiBuckets, (3, 12, 9, 1)),
    (C, PsiBucketsTaken, (0, 0)),
    (H, PsiBuckets, (3, 12, 9, 1)),
    (C, PsiBucketsTaken, (1, 1)),
    *BUCKET,
    *BUCKET,
    *[(H, PsiResult, ())] * 3,
]


def takes(steps: list[tuple[Sender, type[Any], tuple[int, ...]]]) -> bool:
    """Whether the cross-direction order takes all of them and is over; directions' tables are tested with tasks."""
    streams = PsiStreams()
    try:
        for step in steps:
            streams.step(*step)
        streams.check_over(H)
    except (MessageOutOfOrder, KeyError):
        return False
    return True


def test_nothing_in_a_run_in_buckets_may_be_left_out_or_come_twice() -> None:
    assert takes(LEGAL)
    for at in range(2, len(LEGAL)):
        assert not takes([*LEGAL[:at], *LEGAL[at + 1 :]]), LEGAL[at]
        assert not takes([*LEGAL[: at + 1], *LEGAL[at:]]), LEGAL[at]


@pytest.mark.parametrize(
    ("at", "instead"),
    [
        (2, (C, PsiBucketsTaken, (0, 0))),
        (5, (C, PsiBucketsTaken, (1, 2))),
        (5, (C, PsiBucketsTaken, (1, 0))),
        (6, (H, PsiOpen, (13, 16))),
        (7, (C, PsiOpen, (12, 16))),
        (11, (H, PsiResult, ())),
    ],
    ids=str,
)
def test_other_numbers_in_the_order(at: int, instead: tuple[Sender, type[Any], tuple[int, ...]]) -> None:
    assert not takes([*LEGAL[:at], instead, *LEGAL[at + 1 :]])


def test_a_run_of_which_all_buckets_were_done_has_results_only() -> None:
    opened = [*LEGAL[:2], (H, PsiBuckets, (3, 12, 9, 3)), (C, PsiBucketsTaken, (1, 3))]
    assert takes([*opened, *[(H, PsiResult, ())] * 3])
    assert not takes([*opened, *[(H, PsiResult, ())] * 4])
    assert not takes([*opened, (H, PsiOpen, (12, 16)), *[(H, PsiResult, ())] * 3])
