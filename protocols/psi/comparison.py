"""What the Host compares: digests of its own points, and of the collaborator's, both under both scalars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import MalformedMessage
from protocols.psi.messages import DIGEST_BYTES

Positions = NDArray[np.int64]


class Matches(NamedTuple):
    """Pairwise equal ids, int64 [k] each.

    Attributes:
        positions: in the Host's own ids, ascending.
        slots: in the collaborator's secret order.
    """

    positions: Positions
    slots: Positions

    def __repr__(self) -> str:
        return f"<{len(self.positions)} matches>"


class Comparison:
    """Collects digests, and compares them once.

    Attributes:
        ours: of the Host's points, in its secret order, a chunk each.
        theirs: of the collaborator's points, in its secret order.
    """

    def __init__(self) -> None:
        self.ours: list[bytes] = []
        self.theirs: list[bytes] = []
        self._matches: Matches | None = None

    def matches(self, order: Positions, ids: int) -> Matches:
        """All that are equal. The digests are forgotten.

        Args:
            order: the Host's secret order.
            ids: how many of its points stand for an id; those behind are padding.

        Raises:
            MalformedMessage: the collaborator's points or digests repeat, or match what nobody can have.
        """
        if self._matches is None:
            ours, theirs = match(self.ours, self.theirs)
            positions = order[ours]
            in_memory = np.argsort(positions)
            found = Matches(positions[in_memory], theirs[in_memory])
            if len(ours) and found.positions[-1] >= ids:
                raise MalformedMessage("a point of the collaborator's equals padding, which no id can")
            self._matches = found
            self.ours, self.theirs = [], []
        return self._matches


def match(ours: list[bytes], theirs: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (i, j) of equal 16-byte digests, ours[i] = theirs[j], in two lists of chunks of digests.

    Sorts both together by half of each digest, and by all of it only where that leaves a doubt: about 50 bytes of
    memory a digest, and no Python object for any. Digests here are not authenticators: what they tell is the result
    itself, so the comparison need not take constant time.

    Raises:
        MalformedMessage: one of the lists repeats a digest.
    """
    split = sum(map(len, ours)) // DIGEST_BYTES
    chunks = [np.frombuffer(chunk, "<u8") for chunk in (*ours, *theirs)]
    low, high = np.concatenate([words[0::2] for words in chunks]), np.concatenate([words[1::2] for words in chunks])
    order = np.argsort(low)
    same_low = _equal_neighbours(low[order])
    same = same_low & _equal_neighbours(high[order])
    if (same_low != same).any() or (same[1:] & same[:-1]).any():  # other halves differ, or more than two are equal
        order = np.lexsort((high, low))
        same = _equal_neighbours(low[order]) & _equal_neighbours(high[order])
    equal = np.flatnonzero(same)
    pairs = np.stack((order[equal], order[equal + 1]))
    first, second = pairs.min(axis=0), pairs.max(axis=0)  # ours come before theirs
    for which, repeats in (("digests", second < split), ("points", first >= split)):
        if repeats.any():
            raise MalformedMessage(f"{int(repeats.sum())} of the collaborator's {which} repeat; a set has no repeats")
    return first, second - split


def _equal_neighbours(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which value equals the one after it."""
    equal: NDArray[np.bool_] = values[1:] == values[:-1]
    return equal
