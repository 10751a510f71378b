"""The collaborator's side of lookups: it registers its ids once, and answers about them until the session ends.

    population.register()                 PopulationOpen, PopulationDigests
    population.answer(points)             LookupReplies
    population.ids_at(rows)               the ids of which rows are asked

**Leaks**: as protocols/lookup/messages.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage, MessageOutOfOrder, RoleAlreadyUsed
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.core.steps import Send, Steps
from protocols.lookup.messages import LookupPoints, LookupReplies, PopulationDigests, PopulationOpen, RowsAsked
from protocols.psi.chunks import MAX_CHUNK
from protocols.psi.curve import Scalar, digest, multiply
from protocols.psi.encode import POINT_BYTES
from protocols.psi.hashed import HashedIds
from protocols.psi.messages import PSI_CHUNK


class Population:
    """One session's.

    Args:
        hashed: the ids, hashed under the session's `lookup_id`.
        randomness: of the scalar and the order, which nobody else may learn.
        mapper: where the work of the registration runs.
        chunk: digests in a message.
    """

    def __init__(
        self, hashed: HashedIds, randomness: Randomness, mapper: Mapper = map, *, chunk: int = PSI_CHUNK
    ) -> None:
        if not 1 <= chunk <= MAX_CHUNK:
            raise InvalidInput(f"a chunk has 1 to {MAX_CHUNK} digests, not {chunk}")
        self._pair, self._ids, self._chunk, self._mapper = hashed.pair, hashed.ids, chunk, mapper
        self._points = np.frombuffer(hashed.points, np.uint8).reshape(-1, POINT_BYTES)
        self._scalar = Scalar(randomness)
        self._order = randomness.permutation(len(hashed.ids))
        self._has_begun = self._is_registered = False
        self._looked_up = 0
        self._asked = np.zeros(len(hashed.ids), np.bool_)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._ids)} ids)"

    def register(self) -> Steps[None]:
        """Say how many ids there are, and send their digests chunk by chunk as they are ready. Once."""
        if self._has_begun:
            raise RoleAlreadyUsed("a population is registered once; make a new one for another session")
        self._has_begun = True
        yield Send(PopulationOpen(len(self._ids), self._chunk, self._pair))
        for index, digests in enumerate(self._mapper(partial(_digests, self._pair, self._scalar), self._chunks())):
            yield Send(PopulationDigests(index, digests))
        self._is_registered = True

    def _chunks(self) -> Iterator[bytes]:
        for at in range(0, len(self._order), self._chunk):
            yield self._points[self._order[at : at + self._chunk]].tobytes()

    def answer(self, message: LookupPoints) -> LookupReplies:
        """The Host's points under our scalar.

        The scalar is the session's, and the points are the Host's choice; so the multi-buffer kernels, which err on
        some points (protocols/psi/curve.py), are left out here.

        Raises:
            InvalidPoint: a point is not canonical or has low order.
        """
        self._check_registered("answer")
        reply = LookupReplies(multiply(self._scalar, message.points, may_use_kernels=False))
        self._looked_up += message.count
        return reply

    def ids_at(self, message: RowsAsked) -> tuple[str, ...]:
        """Of which ids rows are asked, in the Host's order.

        Which positions it has found the Host alone knows. But it cannot have found more than it has looked up, so who
        tries positions gets no more different rows than it has paid lookups for, and does not know whose they are.

        Raises:
            MalformedMessage: it asks beyond the last.
            MessageOutOfOrder: it has asked for more different rows in this session than it has looked up ids.
        """
        self._check_registered("ids_at")
        rows = message.rows
        if int(rows.max()) >= len(self._ids):
            raise MalformedMessage(f"RowsAsked names position {int(rows.max())} of {len(self._ids)}")
        self._asked[rows] = True
        different = int(np.count_nonzero(self._asked))
        if different > self._looked_up:
            raise MessageOutOfOrder(f"RowsAsked: {different} different rows, and {self._looked_up} ids were looked up")
        return tuple(map(self._ids.__getitem__, self._order[rows].tolist()))

    def _check_registered(self, call: str) -> None:
        if not self._is_registered:
            raise CallOutOfOrder(f"{call} before the population was registered")


def _digests(pair: bytes, scalar: Scalar, points: bytes) -> bytes:
    return digest(pair, multiply(scalar, points))
