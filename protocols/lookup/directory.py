"""The Host's side of lookups: it keeps one collaborator's digests, and finds the positions of ids in them.

    directory.register()           PopulationOpen, PopulationDigests: once
    directory.find(ids)            LookupPoints, LookupReplies: positions of those that the collaborator holds

**Leaks**: as protocols/lookup/messages.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    LimitExceeded,
    MalformedMessage,
    MessageOutOfOrder,
    RoleAlreadyUsed,
    WrongSession,
)
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, ReceiveMany, Send, Steps, received, received_many
from protocols.lookup.messages import (
    MAX_LOOKUP,
    LookupPoints,
    LookupRefused,
    LookupReplies,
    PopulationDigests,
    PopulationOpen,
)
from protocols.psi.curve import Scalar, digest, encode_ids, multiply
from protocols.psi.encode import SUITE
from protocols.psi.ids import MAX_IDS, check_ids
from protocols.psi.transitions import Stream

ABSENT = -1


class Directory:
    """Of one collaborator, for one session.

    Args:
        pair: the session's `lookup_id` with this collaborator, 32 bytes.
        randomness: of the blinding scalars, which nobody else may learn.
        max_ids: how large a population may be.

    Attributes:
        size: how many ids the collaborator has; 0 until it has said so.
    """

    def __init__(self, pair: bytes, randomness: Randomness, max_ids: int = MAX_IDS) -> None:
        self._pair, self._randomness, self._max_ids = pair, randomness, max_ids
        self._index: _Index | None = None
        self._has_begun = False
        self.size = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size} ids)"

    def register(self) -> Steps[None]:
        """Take the population. Once.

        Raises:
            WrongSession: it belongs to another session, pair of parties or version.
            LimitExceeded: it is larger than this party's operator allows.
            MessageOutOfOrder, MalformedMessage: a chunk is missing, has another length, or digests repeat.
        """
        if self._has_begun:
            raise RoleAlreadyUsed("a population is registered once; make a new directory for another session")
        self._has_begun = True
        opened = received((yield Receive(PopulationOpen)), PopulationOpen)
        if (opened.pair, opened.suite) != (self._pair, SUITE):
            raise WrongSession("the population is of another session or pair of parties, or hashed in another way")
        if opened.size > self._max_ids:
            raise LimitExceeded("ids", opened.size, self._max_ids)
        stream = Stream(opened.size, opened.chunk)
        chunks = []
        for message in received_many((yield ReceiveMany(PopulationDigests, stream.count)), PopulationDigests):
            if message.index != stream.next:
                raise MessageOutOfOrder(f"PopulationDigests {message.index} came instead of {stream.next}")
            if message.items != stream.size(message.index):
                wanted = stream.size(message.index)
                raise MalformedMessage(f"PopulationDigests {message.index} has {message.items} items, not {wanted}")
            stream.next += 1
            chunks.append(message.digests)
        self._index, self.size = _Index(b"".join(chunks)), opened.size

    def find(self, ids: Sequence[str]) -> Steps[NDArray[np.int64] | LookupRefused]:
        """Where ids stand in the population.

        Args:
            ids: as PSI takes them, each once; at most `MAX_LOOKUP`.

        Returns:
            A position for each, `ABSENT` where the collaborator does not hold it; or its refusal.

        Raises:
            InvalidInput: the ids cannot be looked up; nothing was sent.
            InvalidPoint, MalformedMessage: what the collaborator sent is wrong.
        """
        if self._index is None:
            raise CallOutOfOrder("find before a population was registered")
        check_ids(ids)
        if len(ids) > MAX_LOOKUP:
            raise InvalidInput(f"{len(ids)} ids are too many for one lookup: at most {MAX_LOOKUP}")
        blind = Scalar(self._randomness)
        yield Send(LookupPoints(multiply(blind, encode_ids(self._pair, ids))))
        answer = yield Receive(LookupReplies, LookupRefused)
        if isinstance(answer, LookupRefused):
            if answer.left >= len(ids):
                raise MalformedMessage(f"LookupRefused of {len(ids)} ids says that {answer.left} are left")
            return answer
        replies = received(answer, LookupReplies)
        if replies.count != len(ids):
            raise MalformedMessage(f"LookupReplies has {replies.count} points, not {len(ids)}")
        found = self._index.positions(digest(self._pair, multiply(blind.inverse(), replies.points)))
        held = found[found != ABSENT]
        if len(np.unique(held)) != len(held):
            raise MalformedMessage("LookupReplies answers two ids by one: each stands at a position of its own")
        return found


class _Index:
    """Digests of 16 bytes, sorted: about 32 bytes of memory for each.

    Raises:
        MalformedMessage: one repeats.
    """

    def __init__(self, digests: bytes) -> None:
        low, high = _halves(digests)
        self._order = np.lexsort((high, low))
        self._low, self._high = low[self._order], high[self._order]
        repeats = (self._low[1:] == self._low[:-1]) & (self._high[1:] == self._high[:-1])
        if repeats.any():
            raise MalformedMessage(f"{int(repeats.sum())} of the collaborator's digests repeat; a set has no repeats")

    def positions(self, digests: bytes) -> NDArray[np.int64]:
        """Where each stands; `ABSENT` where it does not. Digests are no authenticators: time may depend on them."""
        low, high = _halves(digests)
        first, behind = np.searchsorted(self._low, low), np.searchsorted(self._low, low, side="right")
        found = np.full(len(low), ABSENT, np.int64)
        for at in np.flatnonzero(first < behind):
            same = np.flatnonzero(self._high[first[at] : behind[at]] == high[at])
            if len(same):
                found[at] = self._order[first[at] + same[0]]
        return found


def _halves(digests: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    words = np.frombuffer(digests, "<u8")
    return words[0::2], words[1::2]
