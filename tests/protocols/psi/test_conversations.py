"""The roles of PSI as conversations: streams that are worked on while they come, and what a peer may not say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness.pump import replay
from protocols.core.errors import (
    CallOutOfOrder,
    MalformedMessage,
    MessageOutOfOrder,
    PeerViolation,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness
from protocols.core.steps import ReceiveMany, Send
from protocols.psi import PsiDigests, PsiOpen, PsiPoints, PsiReceiver, PsiSender, hash_ids
from tests.protocols.psi.helpers import PsiRun, run_psi

SESSION = bytes(range(32))
HOST, OTHER = [f"id{i}" for i in range(10)], [f"id{i}" for i in range(5, 12)]


def host(**options: Any) -> PsiReceiver:
    return PsiReceiver(hash_ids(SESSION, HOST), OsRandomness(), chunk=4, **options)


def other(**options: Any) -> PsiSender:
    return PsiSender(hash_ids(SESSION, OTHER), OsRandomness(), chunk=3, **options)


def whole() -> PsiRun:
    return run_psi(host(), other())


def test_both_directions_stream_at_once() -> None:
    run = whole()
    assert run.host_learns == run.collaborator_learns == set(HOST) & set(OTHER)
    assert [type(message).__name__ for message in run.from_host] == ["PsiOpen", *["PsiPoints"] * 3, "PsiResult"]
    kinds = [type(message).__name__ for message in run.from_collaborator]
    assert kinds == ["PsiOpen", *["PsiPoints"] * 3, *["PsiDigests"] * 3]


def test_sizes_are_known_once_they_were_said() -> None:
    role = host()
    assert role.peer_size == 0
    run_psi(role, other())
    assert role.peer_size == len(OTHER)


def test_points_are_answered_before_the_last_of_them_has_come() -> None:
    """A million ids are 62 chunks: they are not to lie in memory, and work is not to wait for them."""
    points = [message for message in whole().from_host if isinstance(message, PsiPoints)]
    came: list[int] = []

    def arriving() -> Iterator[PsiPoints]:
        for message in points:
            came.append(message.index)
            yield message

    role = other()
    replay(role.send())
    steps = role.answer()
    next(steps)
    wanted = steps.send(PsiOpen(len(HOST), 4, SESSION))
    assert wanted == ReceiveMany(PsiPoints, 3)
    answered = []
    step = steps.send(arriving())
    for _ in points:
        assert isinstance(step, Send)
        assert isinstance(step.message, PsiDigests)
        answered.append((step.message.index, list(came)))
        step = next(steps, None)  # type: ignore[assignment]
    assert answered == [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])]


def test_own_points_are_made_one_chunk_at_a_time() -> None:
    made: list[int] = []

    def mapper(function: Callable[[Any], Any], items: Any, /) -> Iterator[Any]:
        for number, item in enumerate(items):
            made.append(number)
            yield function(item)

    steps = host(mapper=mapper).send()
    next(steps)
    next(steps)
    assert made == [0]


Change = Callable[[list[Message]], list[Message]]


def at(place: int, **fields: Any) -> Change:
    """A message with another field."""
    return lambda messages: [*messages[:place], replace(messages[place], **fields), *messages[place + 1 :]]


def swapped(one: int, two: int) -> Change:
    """Two messages in each other's place."""

    def change(messages: list[Message]) -> list[Message]:
        messages = list(messages)
        messages[one], messages[two] = messages[two], messages[one]
        return messages

    return change


TO_HOST: list[tuple[str, Change, type[PeerViolation]]] = [
    ("another pair", at(0, pair=bytes(32)), WrongSession),
    ("another suite", at(0, suite="other"), WrongSession),
    ("points out of order", swapped(1, 2), MessageOutOfOrder),
    ("points again", at(2, index=0), MessageOutOfOrder),
    ("a short chunk", at(1, points=bytes(32)), MalformedMessage),
    ("digests out of order", swapped(4, 5), MessageOutOfOrder),
    ("too few digests in a chunk", at(4, digests=bytes(16)), MalformedMessage),
    ("digests that repeat", at(4, digests=bytes(64)), MalformedMessage),
]


@pytest.mark.parametrize(("change", "error"), [pytest.param(*each[1:], id=each[0]) for each in TO_HOST])
def test_what_the_host_refuses(change: Change, error: type[PeerViolation]) -> None:
    role = host()
    replay(role.send())
    with pytest.raises(error):
        replay(role.receive(), *change(whole().from_collaborator))
    with pytest.raises(CallOutOfOrder):
        replay(role.tell([]))


TO_OTHER: list[tuple[str, Change, type[PeerViolation]]] = [
    ("another pair", at(0, pair=bytes(32)), WrongSession),
    ("points out of order", swapped(1, 3), MessageOutOfOrder),
    ("a short chunk", at(1, points=bytes(32)), MalformedMessage),
]


@pytest.mark.parametrize(("change", "error"), [pytest.param(*each[1:], id=each[0]) for each in TO_OTHER])
def test_what_the_collaborator_refuses(change: Change, error: type[PeerViolation]) -> None:
    role = other()
    replay(role.send())
    with pytest.raises(error):
        replay(role.answer(), *change(whole().from_host))


def test_a_result_before_the_digests_is_refused() -> None:
    role = other()
    replay(role.send())
    with pytest.raises(MessageOutOfOrder, match="before all digests"):
        replay(role.learn(), whole().from_host[-1])


def test_a_result_of_another_set_is_refused() -> None:
    role, run = other(), whole()
    replay(role.send())
    replay(role.answer(), *run.from_host[:-1])
    with pytest.raises(MalformedMessage, match="bytes for a list of"):
        replay(role.learn(), replace(run.from_host[-1], matches=bytes(2), count=0))  # type: ignore[call-arg]


@pytest.mark.parametrize("role", [host, other])
def test_a_role_speaks_once(role: Callable[[], PsiReceiver | PsiSender]) -> None:
    made = role()
    replay(made.send())
    with pytest.raises(RoleAlreadyUsed):
        replay(made.send())


def test_the_host_tells_nothing_before_it_knows() -> None:
    role = host()
    replay(role.send())
    with pytest.raises(CallOutOfOrder, match="there is no intersection"):
        replay(role.tell([]))
