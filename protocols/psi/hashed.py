"""A party's ids, checked, and hashed to the curve for one pair of parties.

ids  --check_ids-->  --hash_checked, for each pair-->  HashedIds  -->  a role, with a scalar and an order of its own
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from protocols.core.mapper import Mapper
from protocols.psi.curve import encode_ids
from protocols.psi.encode import POINT_BYTES
from protocols.psi.ids import check_ids
from protocols.psi.messages import PSI_CHUNK


@dataclass(frozen=True, repr=False, eq=False)
class HashedIds:
    """Made by `hash_ids` alone. Not secret from this party, but it must not leave it: a hash of an id is as good as the
    id to whoever can guess ids.

    Attributes:
        pair: `pair_id` of the two parties, 32 bytes.
        ids: as `check_ids` accepts them.
        points: H(id) for every id, in their order, 32 bytes each; behind them there may be padding that is no id's.
    """

    pair: bytes
    ids: tuple[str, ...]
    points: bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.ids)} ids)"

    @property
    def size(self) -> int:
        """How many points there are."""
        return len(self.points) // POINT_BYTES


def hash_ids(pair: bytes, ids: Sequence[str], mapper: Mapper = map, chunk: int = PSI_CHUNK) -> HashedIds:
    """Check ids and hash them.

    Args:
        pair: `pair_id` of the two parties, 32 bytes; the same at both.
        ids: this party's sample ids, distinct str.
        mapper: where the work runs; see protocols/psi/role.py.
        chunk: ids in a piece of work.

    Raises:
        InvalidInput: `check_ids` refuses the ids, or the id of the pair has another length.
    """
    check_ids(ids)
    return hash_checked(pair, ids, mapper, chunk)


def hash_checked(pair: bytes, ids: Sequence[str], mapper: Mapper = map, chunk: int = PSI_CHUNK) -> HashedIds:
    """The same for ids that `check_ids` has accepted, as those of a host that meets several collaborators."""
    chunks = (ids[at : at + chunk] for at in range(0, len(ids), chunk))
    return HashedIds(pair, tuple(ids), b"".join(mapper(partial(encode_ids, pair), chunks)))
