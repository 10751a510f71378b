"""A party's ids, checked and hashed to the curve once, for all its PSI runs of a task.

ids  --check_ids-->  HashedIds  -->  a role for each peer, with a scalar and an order of its own
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from protocols.core.mapper import Mapper
from protocols.psi.curve import encode_ids
from protocols.psi.ids import check_ids
from protocols.psi.messages import PSI_CHUNK


@dataclass(frozen=True, repr=False, eq=False)
class HashedIds:
    """Made by `hash_ids` alone. Not secret from this party, but it must not leave it: a hash of an id is as good as the
    id to whoever can guess ids.

    Attributes:
        session: the task's session id, 32 bytes.
        ids: as `check_ids` accepts them.
        points: H(id) for every id, in their order, 32 bytes each.
    """

    session: bytes
    ids: tuple[str, ...]
    points: bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.ids)} ids)"


def hash_ids(session: bytes, ids: Sequence[str], mapper: Mapper = map, chunk: int = PSI_CHUNK) -> HashedIds:
    """Check ids and hash them.

    Args:
        session: the task's session id, 32 bytes, the same for all pairs of the task.
        ids: this party's sample ids, distinct str.
        mapper: where the work runs; see protocols/psi/role.py.
        chunk: ids in a piece of work.

    Raises:
        InvalidInput: `check_ids` refuses the ids, or the session id has another length.
    """
    check_ids(ids)
    chunks = (ids[at : at + chunk] for at in range(0, len(ids), chunk))
    return HashedIds(session, tuple(ids), b"".join(mapper(partial(encode_ids, session), chunks)))
