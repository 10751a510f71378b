"""What a role must refuse from its peer and its caller: messages, points, and any step that its table does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.core import multi_buffer
from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    InvalidPoint,
    MalformedMessage,
    MessageOutOfOrder,
    ProtocolError,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.message import Message
from protocols.core.randomness import SeededRandomness
from protocols.psi import (
    COLLABORATOR_SENDS,
    HOST_SENDS,
    PsiDigests,
    PsiOpen,
    PsiPoints,
    PsiReceiver,
    PsiResult,
    PsiSender,
    hash_ids,
)
from protocols.psi.comparison import match
from protocols.psi.curve import LOW_ORDER, Scalar, check_points, multiply
from protocols.psi.transitions import Receiving, State, Stream
from tests.protocols.psi.helpers import run_psi

SESSION = bytes(range(32))
P = 2**255 - 19
KINDS: tuple[type[Message], ...] = (PsiOpen, PsiPoints, PsiDigests, PsiResult)
HOST_IDS = [f"h{i}" for i in range(3)] + ["common-1", "common-2"]
COLLABORATOR_IDS = ["common-1", "c1", "c2", "common-2"]


def make_host() -> PsiReceiver:
    return PsiReceiver(hash_ids(SESSION, HOST_IDS), SeededRandomness(1, "host"), chunk=2)


def make_collaborator() -> PsiSender:
    return PsiSender(hash_ids(SESSION, COLLABORATOR_IDS), SeededRandomness(1, "collaborator"), chunk=3)


RUN = run_psi(make_host(), make_collaborator())
FROM_HOST: list[Any] = RUN.from_host  # open, 3 x points, result
FROM_COLLABORATOR: list[Any] = RUN.from_collaborator  # open, 2 x points, 3 x digests
RESULT: PsiResult = FROM_HOST[-1]


def ready_host() -> PsiReceiver:
    """A host that has sent everything it can."""
    host = make_host()
    host.open()
    list(host.masked_points())
    return host


def ready_collaborator() -> PsiSender:
    collaborator = make_collaborator()
    collaborator.open()
    list(collaborator.masked_points())
    return collaborator


def deliver(role: PsiReceiver | PsiSender, message: Any) -> None:
    """Give a role one message by the method for its type."""
    if isinstance(message, PsiOpen):
        role.receive_open(message)
    elif isinstance(role, PsiReceiver):
        if isinstance(message, PsiPoints):
            role.receive_points([message])
        else:
            role.receive_digests([message])
    elif isinstance(message, PsiResult):
        role.receive_result(message)
    else:
        list(role.replies([message]))


# --- messages that do not fit


def with_points(message: PsiPoints, count: int) -> PsiPoints:
    return replace(message, points=(message.points * 3)[: 32 * count])


H0, H1, H2 = FROM_HOST[1:4]
C0, C1 = FROM_COLLABORATOR[1:3]
D0, D1, D2 = FROM_COLLABORATOR[3:6]

BAD_STREAMS: dict[str, tuple[list[Any], type[ProtocolError]]] = {
    # to the host: 4 points in chunks of 3, then 5 digests in chunks of 2
    "host: points repeated": ([C0, C0], MessageOutOfOrder),
    "host: points reordered": ([C1], MessageOutOfOrder),
    "host: points skipped": ([replace(C0, index=1)], MessageOutOfOrder),
    "host: points after the last": ([C0, C1, replace(C1, index=2)], MessageOutOfOrder),
    "host: short chunk": ([with_points(C0, 2)], MalformedMessage),
    "host: long chunk": ([with_points(C0, 4)], MalformedMessage),
    "host: long last chunk": ([C0, with_points(C1, 2)], MalformedMessage),
    "host: digests before the last points": ([C0, D0], MessageOutOfOrder),
    "host: digests repeated": ([C0, C1, D0, D0], MessageOutOfOrder),
    "host: digests reordered": ([C0, C1, D1], MessageOutOfOrder),
    "host: short digests": ([C0, C1, replace(D0, digests=D0.digests[:16])], MalformedMessage),
    "host: long last digests": ([C0, C1, D0, D1, replace(D2, digests=D0.digests)], MalformedMessage),
    "host: digests after the last": ([C0, C1, D0, D1, D2, replace(D2, index=3)], MessageOutOfOrder),
    "host: second opening": ([FROM_COLLABORATOR[0]], MessageOutOfOrder),
    # to the collaborator: 5 points in chunks of 2, then the result
    "collaborator: points repeated": ([H0, H0], MessageOutOfOrder),
    "collaborator: points reordered": ([H1], MessageOutOfOrder),
    "collaborator: points after the last": ([H0, H1, H2, replace(H2, index=3)], MessageOutOfOrder),
    "collaborator: short chunk": ([with_points(H0, 1)], MalformedMessage),
    "collaborator: long chunk": ([with_points(H0, 3)], MalformedMessage),
    "collaborator: long last chunk": ([H0, H1, with_points(H2, 2)], MalformedMessage),
    "collaborator: result before the last points": ([H0, H1, RESULT], MessageOutOfOrder),
    "collaborator: result twice": ([H0, H1, H2, RESULT, RESULT], MessageOutOfOrder),
    "collaborator: result too long": ([H0, H1, H2, PsiResult(RESULT.matches + b"\0", 2)], MalformedMessage),
    "collaborator: padding bit": ([H0, H1, H2, PsiResult(b"\x10", 1)], MalformedMessage),
    "collaborator: digests": ([H0, H1, H2, D0], MessageOutOfOrder),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_a_stream_that_does_not_fit_is_refused_and_ends_the_role(name: str) -> None:
    messages, error = BAD_STREAMS[name]
    to_host = name.startswith("host")
    role = ready_host() if to_host else ready_collaborator()
    deliver(role, (FROM_COLLABORATOR if to_host else FROM_HOST)[0])
    for message in messages[:-1]:
        deliver(role, message)
    with pytest.raises(error):
        deliver(role, messages[-1])
    for message in FROM_COLLABORATOR if to_host else FROM_HOST:
        with pytest.raises(MessageOutOfOrder):
            deliver(role, message)


def test_a_count_above_the_smaller_set_is_refused() -> None:
    """A host of 1 id cannot match 2 of the collaborator's."""
    host = PsiReceiver(hash_ids(SESSION, ["common-1"]), SeededRandomness(2, "host"))
    collaborator = ready_collaborator()
    collaborator.receive_open(host.open())
    list(collaborator.replies(host.masked_points()))
    with pytest.raises(MalformedMessage, match="at most 1"):
        collaborator.receive_result(PsiResult(b"\x03", 2))


@pytest.mark.parametrize("opening", [PsiOpen(4, 3, bytes(32)), PsiOpen(4, 3, SESSION, "another suite")])
def test_another_session_or_suite_is_refused(opening: PsiOpen) -> None:
    for role in (ready_host(), ready_collaborator()):
        with pytest.raises(WrongSession):
            role.receive_open(opening)
        with pytest.raises(MessageOutOfOrder):
            role.receive_open(PsiOpen(4, 3, SESSION))
    for role, points in ((make_host(), C0), (make_collaborator(), H0)):
        with pytest.raises(WrongSession):
            role.receive_open(opening)
        with pytest.raises(MessageOutOfOrder):
            deliver(role, points)


def test_the_result_may_not_overtake_replies_that_a_pool_has_ready() -> None:
    collaborator = PsiSender(
        hash_ids(SESSION, COLLABORATOR_IDS),
        SeededRandomness(1, "collaborator"),
        lambda f, items: iter([f(i) for i in items]),
    )
    collaborator.open()
    list(collaborator.masked_points())
    collaborator.receive_open(FROM_HOST[0])
    next(collaborator.replies([H0, H1, H2]))
    with pytest.raises(MessageOutOfOrder, match="before all digests"):
        collaborator.receive_result(RESULT)


def test_streams_are_read_up_to_their_last_chunk_and_no_further() -> None:
    host = ready_host()
    incoming = iter(FROM_COLLABORATOR)
    host.receive_open(next(incoming))
    host.receive_points(incoming)
    host.receive_digests(incoming)
    assert next(incoming, None) is None
    assert host.intersection() == {"common-1", "common-2"}


@pytest.mark.parametrize("which", ["points", "digests"])
def test_a_collaborator_whose_set_repeats_is_refused(which: str) -> None:
    host = ready_host()
    host.receive_open(FROM_COLLABORATOR[0])
    points, digests = [C0, C1], [D0, D1, D2]
    if which == "points":
        points[1] = replace(C1, points=C0.points[:32])
    else:
        digests[2] = replace(D2, digests=D0.digests[:16])
    host.receive_points(points)
    host.receive_digests(digests)
    with pytest.raises(MalformedMessage, match=f"1 of the collaborator's {which} repeat"):
        host.intersection()
    with pytest.raises(CallOutOfOrder):
        host.intersection()


def test_match_compares_all_128_bits() -> None:
    a, b, c = b"\1" * 8 + b"\2" * 8, b"\1" * 8 + b"\3" * 8, b"\4" * 8 + b"\2" * 8
    ours, theirs = match([a, c], [b + c])
    assert (ours.tolist(), theirs.tolist()) == ([1], [1])
    assert match([a], [b])[0].size == 0


words = st.sampled_from([bytes(8), bytes(7) + b"\1", b"\1" + bytes(7), b"\xff" * 8])
digest_lists = st.lists(st.tuples(words, words).map(b"".join), max_size=12)


@given(digest_lists, digest_lists.filter(bool), st.integers(1, 5))
def test_match_equals_a_dictionary_whatever_halves_agree(ours: list[bytes], theirs: list[bytes], chunk: int) -> None:
    pieces = [[b"".join(side[at : at + chunk]) for at in range(0, len(side), chunk)] for side in (ours, theirs)]
    if len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):
        with pytest.raises(MalformedMessage, match="repeat"):
            match(*pieces)
        return
    first, second = match(*pieces)
    expected = {(ours.index(each), theirs.index(each)) for each in set(ours) & set(theirs)}
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected


# --- points


BAD_POINTS = {u: "low order" for u in LOW_ORDER}
BAD_POINTS |= {u: "not canonical" for u in range(P, 2**255)}
BAD_POINTS |= {u: "not canonical" for u in (*(2**255 + u for u in LOW_ORDER), 2 * P - 1, 2 * P, 2 * P + 1, 2**256 - 1)}
BAD_POINTS |= {u: "not canonical" for u in (P + LOW_ORDER[2], P + LOW_ORDER[3], 2**255 + 9)}


@pytest.mark.parametrize("u", BAD_POINTS, ids=hex)
def test_bad_points_are_refused_with_their_position(u: int) -> None:
    bad = u.to_bytes(32, "little")
    with pytest.raises(InvalidPoint, match=f"PsiPoints 1: point 0 .*{BAD_POINTS[u]}"):
        refuse(ready_host(), [FROM_COLLABORATOR[0], C0, replace(C1, points=bad)])
    with pytest.raises(InvalidPoint, match=f"PsiPoints 0: point 1 .*{BAD_POINTS[u]}"):
        refuse(ready_collaborator(), [FROM_HOST[0], replace(H0, points=H0.points[:32] + bad)])


def refuse(role: PsiReceiver | PsiSender, messages: list[Any]) -> None:
    try:
        for message in messages:
            deliver(role, message)
    finally:
        with pytest.raises(MessageOutOfOrder):
            deliver(role, messages[-1])


def test_points_next_to_bad_ones_are_accepted() -> None:
    for u in (2, P - 2, P - 3, LOW_ORDER[2] + 1, 2**254, (1 << 64) - 1, ((1 << 191) - 1) << 64):
        check_points(u.to_bytes(32, "little"))


@pytest.mark.parametrize("u", LOW_ORDER)
def test_the_list_of_low_order_is_right(u: int) -> None:
    with pytest.raises(ValueError, match="computing"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(u.to_bytes(32, "little")))


def test_a_product_of_zero_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cannot happen after the list above; the check of RFC 7748 stands all the same."""
    monkeypatch.setattr(multi_buffer, "available", lambda: True)
    monkeypatch.setattr(multi_buffer, "x25519_many", lambda scalar, points: points[:32] + bytes(32))
    with pytest.raises(InvalidPoint, match="point 1 "):
        multiply(Scalar(SeededRandomness(1, "x")), C0.points[:64])


# --- order


@pytest.mark.parametrize(
    ("table", "state", "kind"), list(product((HOST_SENDS, COLLABORATOR_SENDS), State, KINDS)), ids=str
)
def test_every_state_and_message(table: Any, state: State, kind: type[Message]) -> None:
    message = {PsiOpen: PsiOpen(1, 1, SESSION), PsiPoints: H0, PsiDigests: D0, PsiResult: RESULT}[kind]
    direction = Receiving(table)
    direction.state = state
    if kind in (PsiPoints, PsiDigests):
        direction.plan(kind, Stream(4, 2))
    if (state, kind) in table:
        assert direction.accept(message, kind) is message
        assert direction.state is table[state, kind]
    else:
        with pytest.raises(MessageOutOfOrder):
            direction.accept(message, kind)
        assert direction.state is State.FAILED


@pytest.mark.parametrize("to_host", [True, False])
def test_after_every_prefix_of_a_run_only_its_next_message_is_accepted(to_host: bool) -> None:
    messages = FROM_COLLABORATOR if to_host else FROM_HOST
    others = [*FROM_HOST, *FROM_COLLABORATOR]
    for length, other in product(range(len(messages) + 1), others):
        role = ready_host() if to_host else ready_collaborator()
        for message in messages[:length]:
            deliver(role, message)
        if length < len(messages) and type(other) is type(messages[length]) and fits(other, messages[length]):
            deliver(role, other)
        else:
            with pytest.raises((MessageOutOfOrder, MalformedMessage)):
                deliver(role, other)


def fits(message: Any, expected: Any) -> bool:
    """Same place and size: what the order alone cannot tell apart."""
    if isinstance(message, PsiPoints | PsiDigests):
        return (message.index, message.items) == (expected.index, expected.items)
    return True


def calls_out_of_order() -> dict[str, tuple[Callable[[], Any], type[ProtocolError]]]:
    def twice(role: Any, name: str) -> Callable[[], Any]:
        getattr(role, name)()
        return lambda: getattr(role, name)()

    opened_host, fresh = make_host(), make_host()
    opened_host.open()
    both = make_collaborator()
    both.open()
    both.receive_open(FROM_HOST[0])
    done = ready_host()
    for message in FROM_COLLABORATOR:
        deliver(done, message)
    done.result([])
    unfinished = make_host()
    unfinished.open()
    for message in FROM_COLLABORATOR:
        deliver(unfinished, message)
    early = make_collaborator()
    early.open()
    early.receive_open(FROM_HOST[0])
    list(early.masked_points())
    return {
        "open twice": (twice(make_host(), "open"), RoleAlreadyUsed),
        "points before open": (fresh.masked_points, CallOutOfOrder),
        "points twice": (twice(opened_host, "masked_points"), RoleAlreadyUsed),
        "replies before own points": (lambda: list(both.replies([H0])), CallOutOfOrder),
        "intersection before digests": (ready_host().intersection, CallOutOfOrder),
        "result before digests": (lambda: ready_host().result([]), CallOutOfOrder),
        "result before own points": (lambda: unfinished.result([]), CallOutOfOrder),
        "result twice": (lambda: done.result([]), RoleAlreadyUsed),
        "result before replies": (lambda: early.receive_result(RESULT), MessageOutOfOrder),
        "result outside of the intersection": (lambda: result_with("h0"), InvalidInput),
    }


def result_with(sample_id: str) -> PsiResult:
    host = ready_host()
    for message in FROM_COLLABORATOR:
        deliver(host, message)
    return host.result([sample_id])


@pytest.mark.parametrize("name", list(calls_out_of_order()))
def test_calls_out_of_order(name: str) -> None:
    call, error = calls_out_of_order()[name]
    with pytest.raises(error):
        call()
