"""The two lanes of a link, and what a peer may put into them."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.message import Message
from protocols.core.steps import (
    Placed,
    Receive,
    ReceiveAnywhere,
    ReceiveInTest,
    ReceiveMany,
    Send,
    Steps,
    received,
    received_many,
)
from protocols.schemes.shares.test_messages import MarkQuery
from protocols.task.alignment import BatchOpen, EpochEnd
from secure_hfl.engine.link import MAX_UNREAD, Link
from secure_hfl.errors import ConnectionLost, PeerFault, PeerTimeout
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.traffic import Traffic


def channel_with(*phases: Phase) -> Channel:
    """A channel on which an EpochEnd of each phase has arrived, numbered."""
    envelopes = deque(Envelope(at, phase, 0, 0, EpochEnd(at)) for at, phase in enumerate(phases))

    def receive(timeout: float | None) -> Envelope:
        if not envelopes:
            raise PeerTimeout("nothing more")
        return envelopes.popleft()

    return cast(
        Channel,
        SimpleNamespace(
            peer="bank",
            received=Traffic(),
            receive=receive,
            send=lambda *given: None,
            wait_for_arrival=lambda *given: True,
        ),
    )


def test_each_lane_gets_its_own_messages() -> None:
    link = Link(channel_with(Phase.OFFLINE, Phase.TRAIN, Phase.OFFLINE, Phase.TRAIN), 1.0)
    link.place = Place(Phase.TRAIN)
    lane = link.offline_lane()
    messages: list[Any] = [
        link.receive(EpochEnd),
        link.receive(EpochEnd),
        lane.receive(EpochEnd),
        lane.receive(EpochEnd),
    ]
    assert [message.batches for message in messages] == [1, 3, 0, 2]


def test_preparation_that_nobody_asked_for_is_refused() -> None:
    link = Link(channel_with(Phase.OFFLINE, Phase.TRAIN), 1.0)
    with pytest.raises(PeerFault, match="bank: EpochEnd is of preparing masks, not due here"):
        link.receive(EpochEnd)


def test_a_round_trip_is_a_wait_after_something_was_sent() -> None:
    link = Link(channel_with(*[Phase.TRAIN] * 5, Phase.OFFLINE), 1.0)
    link.place = Place(Phase.TRAIN)
    lane = link.offline_lane()

    def after(sends: int, receives: int) -> int:
        for at in range(sends):
            link.send(EpochEnd(at))
        for _ in range(receives):
            link.receive(EpochEnd)
        return link.round_trips

    assert [after(0, 1), after(1, 1), after(2, 2), after(1, 0), after(1, 1)] == [0, 1, 2, 2, 3]
    lane.send(EpochEnd(0))
    lane.receive(EpochEnd)
    assert (link.round_trips, lane.round_trips) == (3, 1), "each lane counts its own"


@pytest.mark.parametrize("flooded", [Phase.OFFLINE, Phase.TRAIN])
def test_a_flood_of_one_lane_ends_while_the_other_waits(flooded: Phase) -> None:
    other = Phase.TRAIN if flooded is Phase.OFFLINE else Phase.OFFLINE
    link = Link(channel_with(*[flooded] * (MAX_UNREAD + 1), other), 1.0)
    link.place = Place(Phase.TRAIN)
    lane = link.offline_lane()
    waiting = lane if flooded is Phase.TRAIN else link
    with pytest.raises(PeerFault, match=f"bank: sent {MAX_UNREAD} messages that nobody waits for"):
        waiting.receive(EpochEnd)


def batches_at(*places: Place) -> Channel:
    """A channel on which a BatchOpen of each place has arrived."""
    channel = channel_with()
    envelopes = deque(Envelope(at, p.phase, p.round, p.batch, BatchOpen(at + 1, b"")) for at, p in enumerate(places))
    cast(Any, channel).receive = lambda timeout: envelopes.popleft()
    return channel


def test_a_role_learns_the_place_of_what_came_from_anywhere() -> None:
    def role() -> Steps[Placed]:
        return received((yield ReceiveAnywhere(BatchOpen, EpochEnd)), Placed)

    there = Place(Phase.TEST, 3, 2)
    assert Link(batches_at(there), 1.0).run(role()) == Placed(there, BatchOpen(1, b""))


def test_a_conversation_goes_past_tests_and_no_further() -> None:
    link = Link(batches_at(*[Place(Phase.JOIN)] * 3), 1.0)
    taken: list[int] = []

    def role() -> Steps[str]:
        for kind in (ReceiveInTest, ReceiveInTest, Receive):
            taken.append(received((yield kind(BatchOpen)), BatchOpen).rows)
            yield Send(EpochEnd(0))
        return "over"

    conversation = link.start(role())
    assert taken == []
    for _ in range(2):
        conversation.pass_tests()
        assert taken == [1, 2]
    assert conversation.finish() == "over"
    conversation.pass_tests()
    assert taken == [1, 2, 3]


def test_a_role_works_on_a_stream_while_it_comes() -> None:
    link = Link(batches_at(*[Place(Phase.JOIN)] * 3), 1.0)
    taken: list[int] = []

    def role() -> Steps[int]:
        stream = received_many((yield ReceiveMany(BatchOpen, 2)), BatchOpen)
        assert not taken
        for message in stream:
            taken.append(message.rows)
            yield Send(message)
        return received((yield Receive(BatchOpen)), BatchOpen).rows

    assert link.run(role()) == 3
    assert taken == [1, 2]


@pytest.mark.parametrize(
    ("places", "kind", "problem"),
    [
        ((Place(Phase.JOIN), Place(Phase.PSI)), BatchOpen, "bank: BatchOpen is of private set intersection, but this"),
        ((Place(Phase.JOIN),), EpochEnd, "bank: sent BatchOpen instead of EpochEnd in joining"),
    ],
)
def test_what_does_not_belong_to_a_stream_is_the_peers_fault(
    places: tuple[Place, ...], kind: type[Message], problem: str
) -> None:
    def role() -> Steps[None]:
        for _ in received_many((yield ReceiveMany(kind, 2)), kind):
            pass

    with pytest.raises(PeerFault, match=problem):
        Link(batches_at(*places), 1.0).run(role())


def test_a_question_is_open_until_more_is_said_also_if_it_could_not_be_sent() -> None:
    """Who has hung up while it was made may have seen that it took long."""

    def send(*given: object) -> None:
        if fails:
            raise ConnectionLost("gone")

    link = Link(cast(Channel, SimpleNamespace(peer="bank", received=Traffic(), send=send)), 1.0)
    fails = False
    link.send(MarkQuery(0, (b"c",), bytes(32)))
    assert link.has_open_question
    link.send(EpochEnd(0))
    assert not link.has_open_question
    fails = True
    with pytest.raises(ConnectionLost):
        link.send(MarkQuery(0, (b"c",), bytes(32)))
    assert link.has_open_question
