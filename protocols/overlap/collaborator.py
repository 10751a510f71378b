"""The Collaborator's role: it raises the Host's points and gives them back shuffled. The diagram: messages.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import MalformedMessage, RoleAlreadyUsed
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, ReceiveMany, Send, Steps, received, received_many
from protocols.overlap.agreed import Terms, in_turn
from protocols.overlap.messages import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize
from protocols.psi.hashed import HashedIds
from protocols.psi.messages import DIGEST_BYTES, PSI_CHUNK
from protocols.psi.own_set import OwnSet
from protocols.psi.transitions import Stream

Digests = NDArray[np.void]


class OverlapAnswer:
    """The Collaborator's side of one run. One-shot; arguments as those of `OverlapCount`.

    It sends nothing of its own before all of the Host's points are there, and answers none before that.
    """

    def __init__(
        self,
        hashed: HashedIds,
        randomness: Randomness,
        terms: Terms,
        mapper: Mapper = map,
        *,
        chunk: int = PSI_CHUNK,
    ) -> None:
        self._own, self._terms = OwnSet(hashed, randomness, mapper, chunk), terms
        self._randomness = randomness
        self._has_run = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._own.size} ids)"

    def run(self, peer: OverlapOpen) -> Steps[int]:
        """How many ids both hold, rounded down, as the Host says.

        Args:
            peer: the Host's opening, admitted.

        Raises:
            MessageOutOfOrder, MalformedMessage, InvalidPoint: what the Host sent is wrong, or repeats.
            RoleAlreadyUsed: a scalar is for one run.
        """
        if self._has_run:
            raise RoleAlreadyUsed("ids are counted once by a role; make a new one")
        self._has_run = True
        own, theirs = self._own, Stream(peer.set_size, peer.chunk)
        messages = received_many((yield ReceiveMany(OverlapPoints, theirs.count)), OverlapPoints)
        shuffled = self._shuffled(b"".join(own.shared(in_turn(messages, theirs))))
        for index, points in enumerate(own.masked()):
            yield Send(OverlapPoints(index, points))
        for index, at in enumerate(range(0, len(shuffled), peer.chunk)):
            yield Send(OverlapDigests(index, shuffled[at : at + peer.chunk].tobytes()))
        return self._check(received((yield Receive(OverlapSize)), OverlapSize).size, peer)

    def _shuffled(self, joined: bytes) -> Digests:
        """The digests in a fresh order. A point that comes twice would weigh twice, so it is refused."""
        digests = np.frombuffer(joined, f"V{DIGEST_BYTES}")
        words = np.frombuffer(joined, "<u8").reshape(-1, 2)
        repeats = len(digests) - len(np.unique(words, axis=0))
        if repeats:
            raise MalformedMessage(f"{repeats} of the host's points repeat; a set has no repeats")
        return digests[self._randomness.permutation(len(digests))]

    def _check(self, size: int, peer: OverlapOpen) -> int:
        most = min(self._own.size, peer.set_size)
        if size > most or size != self._terms.rounded(size):
            raise MalformedMessage(
                f"OverlapSize says {size}, where {most} is the most and numbers are multiples of {self._terms.round_to}"
            )
        return size
