"""The Host's role: it counts the ids that both hold, and tells the rounded number. The diagram: messages.py."""

from __future__ import annotations

from protocols.core.errors import RoleAlreadyUsed
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.core.steps import ReceiveMany, Send, Steps, received_many
from protocols.overlap.agreed import Terms, in_turn
from protocols.overlap.messages import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize
from protocols.psi.comparison import match
from protocols.psi.hashed import HashedIds
from protocols.psi.messages import PSI_CHUNK
from protocols.psi.own_set import OwnSet
from protocols.psi.transitions import Stream


class OverlapCount:
    """The Host's side of one run with one Collaborator. One-shot.

    Args:
        hashed: its ids, hashed under the session's `overlap_id`.
        randomness: draws the scalar and the order, here and nowhere else.
        terms: as both have agreed.
        mapper: where heavy work runs; see protocols/psi/role.py.
        chunk: points in a message.
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
        self._has_run = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._own.size} ids)"

    def run(self, peer: OverlapOpen) -> Steps[int]:
        """How many ids both hold, rounded down. The exact number goes with this call.

        Args:
            peer: the Collaborator's opening, admitted.

        Raises:
            MessageOutOfOrder, MalformedMessage, InvalidPoint: what the Collaborator sent is wrong, or repeats.
            RoleAlreadyUsed: a scalar is for one run.
        """
        if self._has_run:
            raise RoleAlreadyUsed("ids are counted once by a role; make a new one")
        self._has_run = True
        own, theirs = self._own, Stream(peer.set_size, peer.chunk)
        for index, points in enumerate(own.masked()):
            yield Send(OverlapPoints(index, points))
        messages = received_many((yield ReceiveMany(OverlapPoints, theirs.count)), OverlapPoints)
        raised = list(own.shared(in_turn(messages, theirs)))
        answers = received_many((yield ReceiveMany(OverlapDigests, own.stream.count)), OverlapDigests)
        returned = [each.digests for each in in_turn(answers, own.stream)]
        size = self._terms.rounded(len(match(returned, raised)[0]))
        yield Send(OverlapSize(size))
        return size
