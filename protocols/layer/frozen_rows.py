"""What the two sides of a frozen bottom model's layer remember of rows that have crossed, so that each crosses once.

Rows are numbered from 0 in the order in which they first crossed. The collaborator knows a row again by its content: a
frozen model in eval mode gives the same float32 row for the same sample. It keeps a keyed digest of each row, the host
keeps the row's z. Both keep the last `kept_rows(o)` of them and forget older ones at the same time, so memory is
bounded; a row that is forgotten crosses again when it comes again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput, MalformedMessage, OutOfRange
from protocols.core.message import Array
from protocols.core.randomness import SEED_BYTES, OsRandomness
from protocols.layer.messages import MAX_FROZEN_ROWS, FrozenRows

KEPT_BYTES = 1 << 29
"""Most memory that z of one collaborator's rows takes at the host."""

MOST_KEPT = 1 << 22
"""Most rows that are kept: one takes about 200 bytes at the collaborator."""

DIGEST_BYTES = 16

References = NDArray[np.int32]


def kept_rows(width: int) -> int:
    """How many rows both sides keep, of a layer with so many columns of z."""
    return min(MOST_KEPT, KEPT_BYTES // (4 * width))


class SentRows:
    """The collaborator's: which rows it has sent.

    Args:
        capacity: rows that are remembered.

    Attributes:
        count: rows sent so far.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._key = OsRandomness().seed()
        self._numbers: dict[bytes, int] = {}  # the oldest first
        self.count = 0

    def __repr__(self) -> str:
        return f"<SentRows: {self.count}>"

    def refer(self, features: NDArray[np.float32]) -> tuple[References, NDArray[np.intp]]:
        """Take note of a batch [B, d].

        Returns:
            The number of each row [B], and where in the batch the rows are that have not been sent before.

        Raises:
            OutOfRange: more rows than can be numbered.
        """
        references, new, added = np.empty(len(features), np.int32), [], dict[bytes, int]()
        for at, digest in enumerate(self._digests(features)):
            number = self._numbers.get(digest, added.get(digest))
            if number is None:
                number = added[digest] = self.count + len(added)
                new.append(at)
            if number >= MAX_FROZEN_ROWS:
                raise OutOfRange(f"a frozen bottom model gave more than {MAX_FROZEN_ROWS} different rows in one task")
            references[at] = number
        self._numbers |= added
        self.count += len(added)
        for digest in list(islice(self._numbers, max(0, len(self._numbers) - self._capacity))):
            del self._numbers[digest]
        return references, np.array(new, np.intp)

    def _digests(self, features: NDArray[np.float32]) -> list[bytes]:
        rows = np.ascontiguousarray(features)
        return [hashlib.blake2b(row.data, key=self._key, digest_size=DIGEST_BYTES).digest() for row in rows]

    def state(self) -> dict[str, Array]:
        """For a checkpoint. key [32] uint8, digests [rows, 16] uint8 in the order of their numbers, count [1] int64."""
        digests = np.frombuffer(b"".join(self._numbers), np.uint8).reshape(-1, DIGEST_BYTES)
        return {
            "key": np.frombuffer(self._key, np.uint8).copy(),
            "digests": digests.copy(),
            "count": np.array([self.count], np.int64),
        }

    def restore(self, where: str, state: Mapping[str, Array]) -> None:
        """Go on from what `state` gave. Raises `InvalidInput` if it is not the state of such rows."""
        key, digests = state["key"], state["digests"]
        _require(where, "key", key, np.uint8, (SEED_BYTES,))
        _require(where, "digests", digests, np.uint8, (len(digests), DIGEST_BYTES))
        count = _count(where, state, len(digests), self._capacity)
        first = count - len(digests)
        numbers = {digest.tobytes(): number for number, digest in enumerate(digests, first)}
        if len(numbers) != len(digests):
            raise InvalidInput(f"{where}: digests must differ")
        self._key, self._numbers, self.count = key.tobytes(), numbers, count


class KeptRows:
    """The host's: z of the rows that it has been shown.

    Args:
        width: columns of z.
        capacity: rows that are kept.

    Attributes:
        count: rows shown so far.
    """

    def __init__(self, width: int, capacity: int) -> None:
        self._capacity = capacity
        self._values = np.empty((0, width), np.float32)
        """Row number n is at n modulo the capacity, once that is reached; before, it grows."""
        self.count = 0

    def __repr__(self) -> str:
        return f"<KeptRows: {self.count}>"

    @property
    def _oldest(self) -> int:
        return max(0, self.count - self._capacity)

    def check(self, message: FrozenRows, rows: int) -> None:
        """Raise `MalformedMessage` unless a batch of so many rows is made of kept rows and of the next ones."""
        references, new = message.references, message.new
        if len(references) != rows:
            raise MalformedMessage(f"FrozenRows has {len(references)} rows, and the batch {rows}")
        numbers, firsts = np.unique(references[references >= self.count], return_index=True)
        if not np.array_equal(numbers, np.arange(self.count, self.count + new)) or (np.diff(firsts) < 0).any():
            raise MalformedMessage(f"the {new} new rows of a FrozenRows must be numbered from {self.count}, in order")
        if int(references.min()) < self._oldest:
            raise MalformedMessage(f"FrozenRows refers to a row before number {self._oldest}, the oldest that is kept")

    def take(self, references: References, new: NDArray[np.float32]) -> NDArray[np.float32]:
        """z [B, o] of a batch, given that of its new rows, which are kept from here on."""
        known = references < self.count
        out = np.empty((len(references), self._values.shape[1]), np.float32)
        out[known] = self._values[references[known] % self._capacity]
        out[~known] = new[references[~known] - self.count]
        self._keep(new)
        return out

    def _keep(self, new: NDArray[np.float32]) -> None:
        numbers = np.arange(self.count, self.count + len(new))[-self._capacity :]
        self.count += len(new)
        size, needed = len(self._values), min(self.count, self._capacity)
        if needed > size:
            grown = np.empty((min(self._capacity, max(needed, 2 * size)), self._values.shape[1]), np.float32)
            grown[:size] = self._values
            self._values = grown
        if len(numbers):
            self._values[numbers % self._capacity] = new[-len(numbers) :]

    def state(self) -> dict[str, Array]:
        """For a checkpoint. rows [rows, o] float32 in the order of their numbers, count [1] int64."""
        numbers = np.arange(self._oldest, self.count)
        return {"rows": self._values[numbers % self._capacity], "count": np.array([self.count], np.int64)}

    def restore(self, where: str, state: Mapping[str, Array]) -> None:
        """Go on from what `state` gave. Raises `InvalidInput` if it is not the state of such rows."""
        rows = state["rows"]
        _require(where, "rows", rows, np.float32, (len(rows), self._values.shape[1]))
        count = _count(where, state, len(rows), self._capacity)
        if not np.isfinite(rows).all():
            raise InvalidInput(f"{where}: rows must be finite")
        self._values = np.empty_like(rows)
        self._values[np.arange(count - len(rows), count) % self._capacity] = rows
        self.count = count


def _require(where: str, name: str, array: Array, dtype: type, shape: tuple[int, ...]) -> None:
    """As `check_array`, but it may be empty: the first checkpoint is of before any row."""
    if array.dtype != dtype or array.shape != shape:
        wanted = f"{list(shape)} {np.dtype(dtype)}"
        raise InvalidInput(f"{where}: {name} must be {wanted}, not {list(array.shape)} {array.dtype}")


def _count(where: str, state: Mapping[str, Array], kept: int, capacity: int) -> int:
    """How many rows had crossed, of which so many are there."""
    _require(where, "count", state["count"], np.int64, (1,))
    count = int(state["count"][0])
    if not 0 <= count <= MAX_FROZEN_ROWS or kept != min(count, capacity):
        raise InvalidInput(f"{where}: of {count} rows, {min(max(count, 0), capacity)} must be there, not {kept}")
    return count
