"""The one pump: conversations (`protocols.core.steps`) driven against each other in memory, in one thread.

pump(left, right)                              two roles with nothing between them
Wire().talk(host, collaborator)                the same over a connection: places, wire bytes, transcripts, an order
converse((wire.end(H), steps), ...)            any number of conversations at once, over one connection or several
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from benchmarks.harness.known_messages import known_catalogue
from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.steps import Answer, Placed, Receive, ReceiveAnywhere, ReceiveMany, Send, Steps
from protocols.layer.interface import HostLayer
from protocols.task.live_order import LiveOrder
from protocols.task.scheme_order import SchemeOrder
from protocols.task.terms import Pinned
from protocols.transcript.recorder import TranscriptRecorder
from protocols.transcript.signing import exchange_signed_heads
from protocols.wire.codec import decode, encode
from secure_hfl.identity import Identity, digest_of
from secure_hfl.transport.traffic import Direction, Observer

H, C = Sender.HOST, Sender.COLLABORATOR


class End(Protocol):
    """One party's end of a connection."""

    place: Place

    def send(self, message: Message) -> None:
        """To the other end."""

    @property
    def waiting(self) -> Sequence[Message]:
        """What has come and was not taken, the oldest first."""

    def take(self) -> Placed:
        """The oldest of these."""


class Conversation:
    """One role's conversation under way at one end."""

    def __init__(self, end: End, steps: Steps[Any]) -> None:
        self._end, self._steps = end, steps
        self.step: Send | Receive | None = None
        self.result: Any = None
        self._go(None)

    def _go(self, answer: Answer | None) -> None:
        try:
            self.step = self._steps.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            self.step, self.result = None, end.value

    def advance(self) -> bool:
        """Send, or take what is waited for; whether anything happened."""
        if isinstance(self.step, Send):
            self._end.send(self.step.message)
            self._go(None)
            return True
        if self.step is None or not self._has_come(self.step):
            return False
        self._go(self._answer(self.step))
        return True

    def _has_come(self, step: Receive) -> bool:
        waiting = self._end.waiting
        if not isinstance(step, ReceiveMany):
            return bool(waiting)
        # A real driver waits for the rest when the role asks for it. Here all must be there before.
        return len(waiting) >= step.count or any(not isinstance(message, step.types) for message in waiting)

    def _answer(self, step: Receive) -> Answer:
        if isinstance(step, ReceiveMany):
            return (self._take(step).message for _ in range(step.count))
        placed = self._take(step)
        if isinstance(step, ReceiveAnywhere):
            return placed
        assert placed.place == self._end.place, f"{step.names} is of {placed.place}, not of {self._end.place}"
        return placed.message

    def _take(self, step: Receive) -> Placed:
        placed = self._end.take()
        name = type(placed.message).__name__
        assert isinstance(placed.message, step.types), f"{name} is not {step.names}"
        return placed


def complete(conversations: Sequence[Conversation], wanted: Sequence[Conversation] | None = None) -> list[Any]:
    """Go on with conversations, all at once, until the wanted ones (None: all) are over; what these return.

    A deadlock fails the test.
    """
    ending = conversations if wanted is None else wanted
    while not all(each.step is None for each in ending):
        moved = [each.advance() for each in conversations]
        waiting = [each.step.names for each in conversations if isinstance(each.step, Receive)]
        assert any(moved), f"all wait for each other: {waiting}"
    return [each.result for each in ending]


def converse(*talks: tuple[End, Steps[Any]]) -> list[Any]:
    """Run conversations to their ends, all at once; what they return."""
    return complete([Conversation(end, steps) for end, steps in talks])


# Two roles with nothing between them ----------------------------------------------------------------------------------


@dataclass
class Talk:
    """What two conversations returned, and every message each side sent."""

    left: Any = None
    right: Any = None
    from_left: list[Message] = field(default_factory=list)
    from_right: list[Message] = field(default_factory=list)


@dataclass
class Bare:
    """An end of a connection that is nothing but two queues, all of one place."""

    waiting: deque[Message]
    peer: deque[Message]
    sent: list[Message] = field(default_factory=list)
    place: Place = field(default_factory=lambda: Place(Phase.TRAIN, 1))

    def send(self, message: Message) -> None:
        """To the other end."""
        self.sent.append(message)
        self.peer.append(message)

    def take(self) -> Placed:
        """The oldest message that has come."""
        return Placed(self.place, self.waiting.popleft())

    def begin(self, steps: Steps[Any]) -> Conversation:
        """A conversation at this end."""
        return Conversation(self, steps)


def ends_of_nothing() -> tuple[Bare, Bare]:
    """Both ends of such a connection."""
    one, other = deque[Message](), deque[Message]()
    return Bare(one, other), Bare(other, one)


def pump(left: Steps[Any], right: Steps[Any]) -> Talk:
    """Run two conversations against each other. Raises what a side raises; a deadlock fails the test."""
    ends = ends_of_nothing()
    results = complete([end.begin(steps) for end, steps in zip(ends, (left, right), strict=True)])
    assert not ends[0].waiting, "the left side took too few messages"
    assert not ends[1].waiting, "the right side took too few messages"
    return Talk(*results, ends[0].sent, ends[1].sent)


def and_rest(host: HostLayer, forward: Steps[Any]) -> Steps[Any]:
    """A forward pass of the host, and what its gradient will need."""
    z = yield from forward
    yield from host.receive_rest()
    return z


def replay(steps: Steps[Any], *answers: Message | Placed) -> Any:
    """Run one conversation against given answers, dropping what it sends; its result."""
    pending = deque(answers)
    try:
        step = next(steps)
        while True:
            if isinstance(step, ReceiveMany):
                step = steps.send(iter([pending.popleft() for _ in range(step.count)]))  # type: ignore[arg-type]
            else:
                step = steps.send(pending.popleft()) if isinstance(step, Receive) else next(steps)
    except StopIteration as end:
        return end.value


# A connection ---------------------------------------------------------------------------------------------------------


def pinned(collaborators: Mapping[str, str], host: str = "host") -> Pinned:
    """Certificates of these identities; `collaborators`: by feature key."""
    digests = {key: digest_of(identity(name).certificate_pem) for key, name in collaborators.items()}
    return Pinned(digest_of(identity(host).certificate_pem), digests)


@lru_cache
def identity(name: str) -> Identity:
    """A party's key, made once."""
    return Identity.create(name)


def wire_bytes(envelope: Envelope) -> bytes:
    """What crosses the wire."""
    return encode(envelope, known_catalogue())


class Cut(Exception):
    """The connection is gone, with everything in flight."""


class Wire:
    """Two recorders and what is in flight between them.

    Args:
        cut_at: so many messages are sent or received; then the connection is cut.
        order: the scheme's part of the order that both ends hold each other to; None: to none.
        names: of the host's and the collaborator's key.

    Attributes:
        files: what each end's recorder has written.
        observers: of each end, as a channel has them.
        places: of what each end says next.
    """

    def __init__(
        self,
        cut_at: int | None = None,
        order: Callable[[bool], SchemeOrder] | None = None,
        names: tuple[str, str] = (H.role, C.role),
        **recorder: Any,
    ) -> None:
        self.cut_at, self.events = cut_at, 0
        keys = {sender: identity(name) for sender, name in zip((H, C), names, strict=True)}
        self.recorders = {
            sender: TranscriptRecorder(
                sender,
                keys[sender].certificate_pem,
                keys[sender.other].certificate_pem,
                keys[sender].sign,
                {"secure-hfl": "0.1.0", "python": "3.11"},
                **recorder,
            )
            for sender in Sender
        }
        self.orders = {sender: LiveOrder(sender, order) for sender in Sender} if order else {}
        self.files = {sender: b"" for sender in Sender}
        self.observers: dict[Sender, list[Observer]] = {sender: [] for sender in Sender}
        self.inboxes: dict[Sender, deque[tuple[Envelope, bytes]]] = {sender: deque() for sender in Sender}
        self.sequences = dict.fromkeys(Sender, 0)
        self.places = dict.fromkeys(Sender, Place(Phase.JOIN))

    @property
    def place(self) -> Place:
        """Where both ends are."""
        assert self.places[H] == self.places[C], f"the host is in {self.places[H]}, the other in {self.places[C]}"
        return self.places[H]

    @place.setter
    def place(self, place: Place) -> None:
        self.places = dict.fromkeys(Sender, place)

    def send(self, sender: Sender, message: Message, place: Place | None = None) -> None:
        """At a place; that of the sender unless another is given."""
        self._count()
        at = place or self.places[sender]
        if self.orders:
            self.orders[sender].sent(at, message)
        envelope = Envelope(self.sequences[sender], at.phase, at.round, at.batch, message)
        self.sequences[sender] += 1
        data = wire_bytes(envelope)
        self.files[sender] += self.recorders[sender].observe(True, envelope, data)
        for observer in self.observers[sender]:
            observer(Direction.SENT, envelope, data)
        self.inboxes[sender.other].append((envelope, data))

    def take(self, receiver: Sender) -> Placed:
        """The oldest message that has not been taken, read from its bytes."""
        self._count()
        _, data = self.inboxes[receiver].popleft()
        envelope = decode(data, known_catalogue())
        self.files[receiver] += self.recorders[receiver].observe(False, envelope, data)
        for observer in self.observers[receiver]:
            observer(Direction.RECEIVED, envelope, data)
        placed = Placed(Place(envelope.phase, envelope.round, envelope.batch), envelope.message)
        if self.orders:
            self.orders[receiver].received(placed.place, placed.message)
        return placed

    def receive(self, receiver: Sender) -> Message:
        """The same, without its place."""
        return self.take(receiver).message

    def _count(self) -> None:
        if self.events == self.cut_at:
            raise Cut
        self.events += 1

    def tell(self, sender: Sender, message: Message) -> None:
        """One message, all the way."""
        self.send(sender, message)
        self.receive(sender.other)

    def end(self, sender: Sender, place: Place | None = None) -> End:
        """One party's end; it speaks at its place in `places` unless another is given."""
        return _WireEnd(self, sender, place)

    def talk(self, host: Steps[Any], collaborator: Steps[Any], place: Place | None = None) -> Any:
        """Run both parties' conversations; what they return."""
        return converse((self.end(H, place), host), (self.end(C, place), collaborator))

    def checkpoint(self) -> None:
        """Both parties sign what has crossed the wire."""
        self.talk(*self.signing())

    def signing(self) -> list[Steps[None]]:
        """The host's and the collaborator's part of that."""
        return [
            exchange_signed_heads(self.recorders[sender].signer, self.place.phase, self.place.round)
            for sender in (H, C)
        ]


@dataclass(frozen=True)
class _WireEnd:
    wire: Wire
    sender: Sender
    other_place: Place | None

    @property
    def place(self) -> Place:
        return self.other_place or self.wire.places[self.sender]

    @property
    def waiting(self) -> list[Message]:
        return [envelope.message for envelope, _ in self.wire.inboxes[self.sender]]

    def send(self, message: Message) -> None:
        self.wire.send(self.sender, message, self.other_place)

    def take(self) -> Placed:
        return self.wire.take(self.sender)
