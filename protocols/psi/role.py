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

from collections.abc import Iterator

from protocols.core.errors import MalformedMessage
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi.hashed import HashedIds
from protocols.psi.ids import MAX_IDS
from protocols.psi.messages import PSI_CHUNK, PsiOpen, PsiPoints
from protocols.psi.opening import check_opening
from protocols.psi.own_set import OwnSet
from protocols.psi.transitions import Receiving, Sending, State, Stream, Table


class Role:
    """One party of one run. Base of `PsiReceiver` and `PsiSender`; its states are kept per direction.

    Args:
        hashed: this party's ids, hashed for this pair of parties.
        randomness: draws the scalar and the order, here and nowhere else.
        mapper: where heavy work runs; see the module's docstring.
        chunk: points in a message.
        max_peer_ids: how large the peer's set may be.
        peer_ids: how many points the peer has to have, as agreed on for a bucket; 0: it says so.

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
        peer_ids: int = 0,
    ) -> None:
        self._own = OwnSet(hashed, randomness, mapper, chunk)
        self._sent = Sending(self._sends)
        self._sent.plan(PsiPoints, self._own.stream)
        self._received = Receiving(self._receives)
        self._peer: Stream | None = None
        self._max_peer_ids, self._peer_ids = max_peer_ids, peer_ids

    def __repr__(self) -> str:
        states = f"sent={self._sent.state.name}, received={self._received.state.name}"
        return f"{type(self).__name__}({len(self._own.ids)} ids, {states})"

    @property
    def peer_size(self) -> int:
        """How many ids the peer has; 0 until it has said so."""
        return 0 if self._peer is None else self._peer.items

    def send(self) -> Steps[None]:
        """Say how many ids we have, unless it is said; send them masked, chunk by chunk as they are ready. Once."""
        if self._sent.state is State.START:
            yield Send(self.open())
        for message in self.masked_points():
            yield Send(message)

    def opened(self, peer: PsiOpen) -> None:
        """Both have said how many ids they have (protocols/psi/opening.py). Errors as `receive_open`."""
        self.open()
        self.receive_open(peer)

    def _hear_open(self) -> Steps[int]:
        """Take the peer's opening, unless it has been taken; how many chunks of points the peer will send."""
        if self._peer is None:
            self.receive_open(received((yield Receive(PsiOpen)), PsiOpen))
        return 0 if self._peer is None else self._peer.count

    def open(self) -> PsiOpen:
        """The first message of this side. Once."""
        self._sent.claim(PsiOpen, "open")
        self._sent.step(PsiOpen, "open")
        return PsiOpen(self._own.size, self._own.chunk, self._own.pair)

    def masked_points(self) -> Iterator[PsiPoints]:
        """This party's masked ids, shuffled, chunk by chunk as they are ready. Once, after `open`."""
        self._sent.claim(PsiPoints, "masked_points")
        self._sent.check(PsiPoints, "masked_points")
        return self._masked_points()

    def _masked_points(self) -> Iterator[PsiPoints]:
        for index, points in enumerate(self._own.masked()):
            self._sent.step(PsiPoints, "masked_points")
            yield PsiPoints(index, points)

    def receive_open(self, message: PsiOpen) -> None:
        """The peer's first message.

        Raises:
            MessageOutOfOrder: it is not one.
            WrongSession: it belongs to another task, or to another version of the protocol.
            LimitExceeded: the peer's set is larger than this party's operator allows.
            MalformedMessage: a bucket of another size than agreed on.
        """
        self._received.accept(message, PsiOpen)
        with self._received.to_blame():
            check_opening(message, self._own.pair, self._max_peer_ids)
            if self._peer_ids and message.set_size != self._peer_ids:
                raise MalformedMessage(
                    f"the peer's bucket has {message.set_size} points, not the {self._peer_ids} agreed"
                )
        self._peer = Stream(message.set_size, message.chunk)
        self._received.plan(PsiPoints, self._peer)
