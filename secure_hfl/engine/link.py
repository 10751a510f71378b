"""The only pump between roles, channels and (through the channels' observers) the transcript.

A `Link` is one peer: it drives role conversations (`protocols.core.steps`) over a channel, stamps messages with their
place in the task, refuses messages from another place, and turns what goes wrong into an error that names the peer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from protocols.core.envelope import PHASE_TEXT, Envelope, Phase, Place
from protocols.core.errors import MessageOutOfOrder, PeerViolation
from protocols.core.message import Message
from protocols.core.steps import Answer, Placed, Receive, ReceiveAnywhere, ReceiveInTest, ReceiveMany, Send, Steps
from protocols.task.live_order import LiveOrder
from secure_hfl.errors import PeerFault, PeerTimeout
from secure_hfl.transport.channel import Channel

T = TypeVar("T")

MAX_UNREAD = 256


def place_of(envelope: Envelope) -> Place:
    """Where in the task an envelope's message belongs."""
    return Place(envelope.phase, envelope.round, envelope.batch)


class Inbox:
    """Sorts what arrives on one channel into two lanes: preparation (Phase.OFFLINE) and everything else.

    One thread a lane, which reads the channel when a message of its own has come, and what came before it for the
    other: messages are received in their order. Training never waits for the thread that prepares and gives way to it.
    Neither side says much that the other does not wait for, so a lane in which `MAX_UNREAD` messages lie is a flood.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.has_offline_lane = False
        self._lanes: dict[bool, deque[Envelope]] = {False: deque(), True: deque()}
        self._taken = {False: channel.received.messages, True: 0}
        self._turn = threading.Lock()

    def receive(self, is_offline: bool, timeout: float | None) -> Envelope:
        """The next envelope of a lane. Errors as `Channel.receive`."""
        lane, deadline = self._lanes[is_offline], None if timeout is None else time.monotonic() + timeout
        while not lane:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self.has_offline_lane:
                self._sort(self._channel.receive(remaining))
            elif not self._channel.wait_for_arrival(is_offline, self._taken[is_offline], remaining):
                raise PeerTimeout(f"{self._channel.peer} sent nothing for {timeout:g} s")
            else:
                self._read(lane)
        self._taken[is_offline] += 1
        return lane.popleft()

    def _read(self, lane: deque[Envelope]) -> None:
        """Receive one message, unless the other thread has received this lane's."""
        with self._turn:
            if not lane:
                with suppress(PeerTimeout):  # the other thread made room, and nothing has come since
                    self._sort(self._channel.receive(0))

    def _sort(self, envelope: Envelope) -> None:
        is_offline = envelope.phase == Phase.OFFLINE
        if is_offline and not self.has_offline_lane:
            raise MessageOutOfOrder(
                f"{type(envelope.message).__name__} is of {PHASE_TEXT[Phase.OFFLINE]}, not due here"
            )
        lane = self._lanes[is_offline]
        lane.append(envelope)
        if len(lane) > MAX_UNREAD:
            raise MessageOutOfOrder(f"sent {MAX_UNREAD} messages that nobody waits for")


class Link:
    """One peer, seen from here.

    Args:
        channel: the open channel.
        timeout: seconds the peer may owe a message; None: it owes nothing.

    Attributes:
        round_trips: how often a message was waited for after at least one had been sent since the last was waited for.
            It is the order of calls that counts: the same on every network, and the same whether what comes is the
            answer to what was sent last or, as a share behind a weight gradient, to what was sent before.
        on_question: told before a question is sent (True), and before what is sent once it is answered (False).
        has_open_question: whether what was sent last, or is being sent, tests the peer: its answer has not come yet, or
            was not right.
    """

    def __init__(self, channel: Channel, timeout: float | None) -> None:
        self.channel = channel
        self.name = channel.peer
        self.timeout = timeout
        self.place = Place(Phase.JOIN)
        self.round_trips = 0
        self.has_open_question = False
        self.on_question: Callable[[bool], None] | None = None
        self._has_asked = False
        self._inbox = Inbox(channel)
        self._is_offline = False
        self._order: LiveOrder | None = None
        self._order_lock = threading.Lock()

    def hold_to(self, order: LiveOrder) -> None:
        """From now on nothing is sent and nothing taken that the order of the task does not allow."""
        self._order = order

    def offline_lane(self) -> Link:
        """A second link to the same peer, for preparation in another thread."""
        self._inbox.has_offline_lane = True
        lane = Link(self.channel, self.timeout)
        lane.name, lane.place = self.name, Place(Phase.OFFLINE)
        lane._inbox, lane._is_offline = self._inbox, True
        lane._order, lane._order_lock = self._order, self._order_lock
        return lane

    def send(self, message: Message) -> None:
        """Send at the current place. Raises `CallOutOfOrder` if the task's order has no such message there."""
        place, self._has_asked = self.place, True
        if self._order is not None:
            with self._order_lock:
                self._order.sent(place, message)
        if message.is_question is not self.has_open_question:
            if self.on_question is not None:
                self.on_question(message.is_question)
            self.has_open_question = message.is_question
        try:
            self.channel.send(place.phase, place.round, place.batch, message, self.timeout)
        except PeerViolation as error:  # what the peer has sent meanwhile ended the channel
            raise PeerFault(self.name, error) from error

    def receive(self, *types: type[Message]) -> Message:
        """The next message, which must be of one of these types and of the current place."""
        envelope = self._next(types)
        got = place_of(envelope)
        if got != self.place:
            sent = type(envelope.message).__name__
            raise PeerFault(self.name, MessageOutOfOrder(f"{sent} is of {got}, but this is {self.place}"))
        self._take(envelope)
        return envelope.message

    def receive_anywhere(self, *types: type[Message]) -> Envelope:
        """The next message, which must be of one of these types, with its place.

        Raises:
            PeerTimeout: it did not come within `timeout` seconds.
            PeerFault: the peer sent something else.
        """
        envelope = self._next(types)
        self._take(envelope)
        return envelope

    def _next(self, types: tuple[type[Message], ...]) -> Envelope:
        self.round_trips += self._has_asked
        self._has_asked = False
        wanted = Receive(*types)
        try:
            envelope = self._inbox.receive(self._is_offline, self.timeout)
        except PeerTimeout:
            raise PeerTimeout(f"{self.name} owed {wanted.names} for {self.timeout:g} s in {self.place}") from None
        except PeerViolation as error:
            raise PeerFault(self.name, error) from error
        if not isinstance(envelope.message, types):
            sent = type(envelope.message).__name__
            raise PeerFault(self.name, MessageOutOfOrder(f"sent {sent} instead of {wanted.names} in {self.place}"))
        return envelope

    def _take(self, envelope: Envelope) -> None:
        """Raise `PeerFault` unless the peer may send this now."""
        if self._order is None:
            return
        try:
            with self._order_lock:
                self._order.received(place_of(envelope), envelope.message)
        except PeerViolation as error:
            raise PeerFault(self.name, error) from error

    def answer(self, wanted: Receive) -> Answer:
        """What a role waits for. Errors as `receive`, `receive_anywhere`."""
        if isinstance(wanted, ReceiveMany):
            return (self.receive(*wanted.types) for _ in range(wanted.count))
        if not isinstance(wanted, ReceiveAnywhere):
            return self.receive(*wanted.types)
        envelope = self.receive_anywhere(*wanted.types)
        return Placed(place_of(envelope), envelope.message)

    def start(self, steps: Steps[T]) -> Conversation[T]:
        """Run a conversation up to the first message it waits for."""
        return Conversation(self, steps)

    def run(self, steps: Steps[T]) -> T:
        """Run a conversation to its end."""
        return self.start(steps).finish()


class Conversation(Generic[T]):
    """A role's conversation under way: everything it could send without an answer is sent."""

    def __init__(self, link: Link, steps: Steps[T]) -> None:
        self._link = link
        self._steps = steps
        self._awaited: Receive | None = None
        self._result: T
        self._advance(None)

    def pass_tests(self) -> None:
        """Wait for the peer while it is its part of a test that the role waits for."""
        while isinstance(self._awaited, ReceiveInTest):
            self._advance(self._link.answer(self._awaited))

    def finish(self) -> T:
        """Wait for the peer until the conversation ends; its result."""
        while self._awaited is not None:
            self._advance(self._link.answer(self._awaited))
        return self._result

    def _advance(self, answer: Answer | None) -> None:
        try:
            # A generator is started by next(), that is send(None).
            step = self._steps.send(answer)  # type: ignore[arg-type]
            while isinstance(step, Send):
                self._link.send(step.message)
                step = next(self._steps)
            self._awaited = step
        except StopIteration as end:
            self._awaited, self._result = None, end.value
        except PeerViolation as error:
            raise PeerFault(self._link.name, error) from error
