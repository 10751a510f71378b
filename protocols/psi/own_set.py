"""One party's ids under a secret of one run: a scalar and an order, both fresh.

masked     [i] = H(ids[order[i]])^scalar, chunk by chunk: what the peer is sent
raised     digest((peer's point)^scalar): what is compared
positions  where in the party's own ids a place of the secret order is
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.psi.chunks import MAX_CHUNK
from protocols.psi.curve import Chunk, Scalar, multiply, raise_points, shared_digests
from protocols.psi.encode import POINT_BYTES
from protocols.psi.hashed import HashedIds
from protocols.psi.messages import PsiDigests, PsiPoints
from protocols.psi.transitions import Stream


class OwnSet:
    """A party's points in one run.

    Args:
        hashed: its ids, hashed for this pair of parties.
        randomness: draws the scalar and the order, here and nowhere else.
        mapper: where heavy work runs; see protocols/psi/role.py.
        chunk: points in a message.

    Attributes:
        ids: those that points stand for.
        pair: whom they are hashed for.
        scalar, order: secret.

    Raises:
        InvalidInput: `chunk` is out of its range.
    """

    def __init__(self, hashed: HashedIds, randomness: Randomness, mapper: Mapper, chunk: int) -> None:
        if not 1 <= chunk <= MAX_CHUNK:
            raise InvalidInput(f"a chunk has 1 to {MAX_CHUNK} points, not {chunk}")
        self.ids, self.pair, self.chunk = hashed.ids, hashed.pair, chunk
        self.scalar = Scalar(randomness)
        self.order = randomness.permutation(hashed.size)
        self._hashed = np.frombuffer(hashed.points, np.uint8).reshape(-1, POINT_BYTES)
        self._mapper = mapper

    def __repr__(self) -> str:
        return f"OwnSet(<{self.size} points>)"

    @property
    def size(self) -> int:
        """Points, padding included."""
        return len(self.order)

    @property
    def stream(self) -> Stream:
        """The messages that carry them."""
        return Stream(self.size, self.chunk)

    def masked(self) -> Iterator[bytes]:
        """The masked points of each chunk, as they are ready."""
        orders = (self.order[at : at + self.chunk] for at in range(0, self.size, self.chunk))
        return self._mapper(partial(multiply, self.scalar), (self._hashed[order].tobytes() for order in orders))

    def raised(self, messages: Iterable[PsiPoints]) -> Iterator[PsiDigests]:
        """Digests of the peer's points under our scalar too; one message for each. Raises `InvalidPoint`."""
        return self._mapper(partial(raise_points, self.pair, self.scalar), messages)

    def shared(self, messages: Iterable[Chunk]) -> Iterator[bytes]:
        """The same digests, chunk by chunk, for who does not send them back in the peer's order."""
        return self._mapper(partial(shared_digests, self.pair, self.scalar), messages)

    def named(self, positions: NDArray[np.int64]) -> frozenset[str]:
        """The ids at these positions; fastest if they ascend, as ids then lie in memory."""
        return frozenset(map(self.ids.__getitem__, positions.tolist()))
