"""Which message may follow which, for each direction of a PSI run. Roles, tests and the auditor use these tables.

    Host -> collaborator   START --PsiOpen--> OPEN --PsiPoints*--> POINTS --PsiResult--> DONE
    collaborator -> Host   START --PsiOpen--> OPEN --PsiPoints*--> POINTS --PsiDigests*--> DIGESTS

In buckets, where a `BUCKETED_` table is added, both directions begin with `PsiOpen` and agree on the buckets:

    Host -> collaborator   OPEN --PsiBuckets*--> BUCKETED --bucket*--> --PsiResult*--> DONE
    collaborator -> Host   OPEN --PsiBucketsTaken*--> DIGESTS --bucket*--> DIGESTS
    bucket                 --PsiOpen--> BUCKET_OPEN --PsiPoints*--> BUCKET_POINTS, and of the collaborator PsiDigests*

The directions are independent of each other, and both stream at once. Across them only two things hold: the
collaborator's k-th digests answer the Host's k-th points, and the Host's result comes after the last digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import TypeVar

from protocols.core.errors import CallOutOfOrder, MalformedMessage, MessageOutOfOrder, PeerViolation, RoleAlreadyUsed
from protocols.core.message import Message
from protocols.psi.bucket_messages import PsiBuckets, PsiBucketsTaken
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult

M = TypeVar("M", bound=Message)


class State(Enum):
    """What has passed in one direction last."""

    START = auto()
    OPEN = auto()
    POINTS = auto()
    DIGESTS = auto()
    BUCKETED = auto()
    BUCKET_OPEN = auto()
    BUCKET_POINTS = auto()
    DONE = auto()
    FAILED = auto()


Table = Mapping[tuple[State, type[Message]], State]

HOST_SENDS: Table = {
    (State.START, PsiOpen): State.OPEN,
    (State.OPEN, PsiPoints): State.POINTS,
    (State.POINTS, PsiPoints): State.POINTS,
    (State.POINTS, PsiResult): State.DONE,
}

COLLABORATOR_SENDS: Table = {
    (State.START, PsiOpen): State.OPEN,
    (State.OPEN, PsiPoints): State.POINTS,
    (State.POINTS, PsiPoints): State.POINTS,
    (State.POINTS, PsiDigests): State.DIGESTS,
    (State.DIGESTS, PsiDigests): State.DIGESTS,
}

BUCKETED_HOST_SENDS: Table = {
    (State.OPEN, PsiBuckets): State.BUCKETED,
    (State.BUCKETED, PsiBuckets): State.BUCKETED,
    (State.BUCKETED, PsiOpen): State.BUCKET_OPEN,
    (State.BUCKET_OPEN, PsiPoints): State.BUCKET_POINTS,
    (State.BUCKET_POINTS, PsiPoints): State.BUCKET_POINTS,
    (State.BUCKET_POINTS, PsiOpen): State.BUCKET_OPEN,
    (State.BUCKET_POINTS, PsiResult): State.DONE,
    (State.BUCKETED, PsiResult): State.DONE,
    (State.DONE, PsiResult): State.DONE,
}

BUCKETED_COLLABORATOR_SENDS: Table = {
    (State.OPEN, PsiBucketsTaken): State.DIGESTS,
    (State.DIGESTS, PsiBucketsTaken): State.DIGESTS,
    (State.DIGESTS, PsiOpen): State.BUCKET_OPEN,
    (State.BUCKET_OPEN, PsiPoints): State.BUCKET_POINTS,
    (State.BUCKET_POINTS, PsiPoints): State.BUCKET_POINTS,
    (State.BUCKET_POINTS, PsiDigests): State.DIGESTS,
}


class Stream:
    """Counts the chunks of one kind: `items` things in chunks of `chunk`, the last one shorter where need be."""

    def __init__(self, items: int, chunk: int) -> None:
        self.items, self.chunk = items, chunk
        self.count = -(-items // chunk)
        self.next = 0

    @property
    def complete(self) -> bool:
        return self.next == self.count

    def size(self, index: int) -> int:
        """Items in the chunk with this index."""
        return min(self.chunk, self.items - index * self.chunk)


class Direction:
    """Where one direction stands. The two subclasses differ in who is to blame for a step that the table lacks."""

    def __init__(self, table: Table) -> None:
        self.state = State.START
        self._table = table
        self._streams: dict[type[Message], Stream] = {}

    def plan(self, kind: type[Message], stream: Stream) -> None:
        """Says how many chunks of `kind` this direction carries."""
        self._streams[kind] = stream

    def complete(self, kind: type[Message]) -> bool:
        """Whether all chunks of `kind` have passed."""
        return kind in self._streams and self._streams[kind].complete

    def fail(self) -> None:
        """Nothing is allowed any more."""
        self.state = State.FAILED

    def _next(self, kind: type[Message]) -> State | None:
        """The state after `kind`, or None where it may not come now: not in the table, chunks missing or too many."""
        to = self._table.get((self.state, kind))
        led_here = {other for (_, other), state in self._table.items() if state is self.state} - {kind}
        unfinished = any(not stream.complete for other, stream in self._streams.items() if other in led_here)
        return None if to is None or unfinished or self.complete(kind) else to


class Sending(Direction):
    """The direction this role sends in; a wrong step is a wrong call."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._claimed: set[type[Message]] = set()

    def claim(self, kind: type[Message], call: str) -> None:
        """`call` is going to send messages of `kind`, and is the only one that ever does."""
        if kind in self._claimed:
            raise RoleAlreadyUsed(f"{call} has been called before; a PSI role runs once, make a new one")
        self._claimed.add(kind)

    def check(self, kind: type[Message], call: str) -> State:
        """The state after a message of `kind`; raises `CallOutOfOrder` where none may go out now."""
        to = self._next(kind)
        if to is None:
            raise CallOutOfOrder(f"{call} may not send {kind.__name__} in state {self.state.name}")
        return to

    def step(self, kind: type[Message], call: str) -> None:
        """A message of `kind` goes out."""
        self.state = self.check(kind, call)
        if kind in self._streams:
            self._streams[kind].next += 1


class Receiving(Direction):
    """The direction the peer sends in; a wrong step is the peer's violation, and ends the role."""

    def accept(self, message: Message, wanted: type[M]) -> M:
        """Check one message of the peer, take the step, and return it."""
        try:
            return self._accept(message, wanted)
        except PeerViolation:
            self.fail()
            raise

    def accept_all(self, messages: Iterable[Message], wanted: type[M]) -> Iterator[M]:
        """Check messages one by one, and take none after the last chunk of this kind: what follows is another kind."""
        for message in messages:
            yield self.accept(message, wanted)
            if self.complete(wanted):
                return

    @contextmanager
    def to_blame(self) -> Iterator[None]:
        """A violation found while working on a message ends the role, as one found on arrival does."""
        try:
            yield
        except PeerViolation:
            self.fail()
            raise

    def _accept(self, message: Message, wanted: type[M]) -> M:
        kind = type(message)
        to = self._next(kind)
        if to is None or not isinstance(message, wanted):
            raise MessageOutOfOrder(f"{kind.__name__} came in state {self.state.name}{self._progress()}")
        if isinstance(message, PsiPoints | PsiDigests):
            stream, index = self._streams[kind], message.index
            if index != stream.next:
                raise MessageOutOfOrder(f"{kind.__name__} {index} came instead of {stream.next} of {stream.count}")
            if message.items != stream.size(index):
                raise MalformedMessage(f"{kind.__name__} {index} has {message.items} items, not {stream.size(index)}")
            stream.next += 1
        self.state = to
        return message

    def _progress(self) -> str:
        counts = [f"{stream.next} of {stream.count} {kind.__name__}" for kind, stream in self._streams.items()]
        return f", after {' and '.join(counts)}" if counts else ""
