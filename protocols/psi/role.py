"""What both PSI roles do: open, mask their own ids, and take the peer's opening.

    hash_ids(pair, ids)        -> HashedIds, for one role
    role.send()                -> Steps: PsiOpen, PsiPoints x chunks
                                  [i] = H(ids[order[i]])^scalar, order and scalar fresh and secret
    role.receive(), answer()   -> Steps: what the peer sends, and what answers it

The two are conversations of their own, because both directions stream at once: two threads may drive them, or one. The
operations that they are made of (`open`, `masked_points`, `receive_open`, ...) compute without speaking.

Heavy work goes through `mapper`, called as `mapper(function, iterable)` and giving the results lazily and in order,
like the builtin `map` (the default). Functions and arguments pickle, so a process pool with a bounded window can be
one. They contain the secret scalar: the pool's workers must be as trusted as this process.

Reference: protocols/psi/messages.py has the whole diagram.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np

from protocols.core.errors import InvalidInput, LimitExceeded, PeerViolation, WrongSession
from protocols.core.mapper import Mapper
from protocols.core.message import Message
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi.curve import Scalar, multiply
from protocols.psi.encode import POINT_BYTES, SUITE
from protocols.psi.hashed import HashedIds
from protocols.psi.ids import MAX_IDS
from protocols.psi.messages import MAX_CHUNK, PSI_CHUNK, PsiOpen, PsiPoints
from protocols.psi.transitions import Receiving, Sending, Stream, Table

M = TypeVar("M", bound=Message)


class Role:
    """One party of one run. Base of `PsiReceiver` and `PsiSender`; its states are kept per direction.

    Args:
        hashed: this party's ids, hashed for this pair of parties.
        randomness: draws the scalar and the order, here and nowhere else.
        mapper: where heavy work runs; see the module's docstring.
        chunk: points in a message.
        max_peer_ids: how large the peer's set may be.

    Raises:
        InvalidInput: `chunk` is out of its range.
    """

    _sends: Table
    _receives: Table

    def __init__(
        self,
        hashed: HashedIds,
        randomness: Randomness,
        mapper: Mapper = map,
        *,
        chunk: int = PSI_CHUNK,
        max_peer_ids: int = MAX_IDS,
    ) -> None:
        if not 1 <= chunk <= MAX_CHUNK:
            raise InvalidInput(f"a chunk has 1 to {MAX_CHUNK} points, not {chunk}")
        self._pair, self._ids, self._chunk, self._mapper = hashed.pair, hashed.ids, chunk, mapper
        self._hashed = np.frombuffer(hashed.points, np.uint8).reshape(-1, POINT_BYTES)
        self._scalar = Scalar(randomness)
        self._order = randomness.permutation(len(hashed.ids))
        self._sent = Sending(self._sends)
        self._sent.plan(PsiPoints, Stream(len(hashed.ids), chunk))
        self._received = Receiving(self._receives)
        self._peer_size = self._peer_chunk = 0
        self._max_peer_ids = max_peer_ids

    def __repr__(self) -> str:
        states = f"sent={self._sent.state.name}, received={self._received.state.name}"
        return f"{type(self).__name__}({len(self._ids)} ids, {states})"

    @property
    def peer_size(self) -> int:
        """How many ids the peer has; 0 until it has said so."""
        return self._peer_size

    def send(self) -> Steps[None]:
        """Say how many ids we have, then send them masked, chunk by chunk as they are ready. Once."""
        yield Send(self.open())
        for message in self.masked_points():
            yield Send(message)

    def _hear_open(self) -> Steps[int]:
        """Take the peer's opening; how many chunks of points it will send."""
        self.receive_open(received((yield Receive(PsiOpen)), PsiOpen))
        return Stream(self._peer_size, self._peer_chunk).count

    def open(self) -> PsiOpen:
        """The first message of this side. Once."""
        self._sent.claim(PsiOpen, "open")
        self._sent.step(PsiOpen, "open")
        return PsiOpen(len(self._ids), self._chunk, self._pair)

    def masked_points(self) -> Iterator[PsiPoints]:
        """This party's masked ids, shuffled, chunk by chunk as they are ready. Once, after `open`."""
        self._sent.claim(PsiPoints, "masked_points")
        self._sent.check(PsiPoints, "masked_points")
        return self._masked_points()

    def _masked_points(self) -> Iterator[PsiPoints]:
        for index, points in enumerate(self._masked_chunks()):
            self._sent.step(PsiPoints, "masked_points")
            yield PsiPoints(index, points)

    def _masked_chunks(self) -> Iterator[bytes]:
        orders = (self._order[at : at + self._chunk] for at in range(0, len(self._order), self._chunk))
        return self._mapper(partial(multiply, self._scalar), (self._hashed[order].tobytes() for order in orders))

    def receive_open(self, message: PsiOpen) -> None:
        """The peer's first message.

        Raises:
            MessageOutOfOrder: it is not one.
            WrongSession: it belongs to another task, or to another version of the protocol.
            LimitExceeded: the peer's set is larger than this party's operator allows.
        """
        self._received.accept(message, PsiOpen)
        for what, ours, theirs in (
            ("pair of parties or session", self._pair, message.pair),
            ("suite", SUITE, message.suite),
        ):
            if ours != theirs:
                self._received.fail()
                raise WrongSession(f"the peer's PSI run has another {what}: start one task, and one version, on both")
        if message.set_size > self._max_peer_ids:
            self._received.fail()
            raise LimitExceeded("ids", message.set_size, self._max_peer_ids)
        self._peer_size = message.set_size
        self._peer_chunk = message.chunk
        self._received.plan(PsiPoints, Stream(message.set_size, message.chunk))

    def _accept_all(self, messages: Iterable[Message], wanted: type[M]) -> Iterator[M]:
        """Check messages one by one, and take none after the last chunk of this kind: what follows is another kind."""
        for message in messages:
            yield self._received.accept(message, wanted)
            if self._received.complete(wanted):
                return

    @contextmanager
    def _peer_to_blame(self) -> Iterator[None]:
        """A violation found while working on a message ends the role, as one found on arrival does."""
        try:
            yield
        except PeerViolation:
            self._received.fail()
            raise
