"""Sets that are too large for one run of PSI: cut into buckets by a keyed hash, one run for each bucket.

    bucket of an id   BLAKE2b(key, id) scaled to the number of buckets; the key is of the task, its parties and a nonce
    a bucket's run    PSI as ever, of a pair of its own (`bucket_pair`), with a scalar and an order of its own
    its size          one for all buckets of a party: n / B and a margin, filled up with random points

So equal ids meet in the same bucket, and both parties see how many points a bucket has, which follows from n and B.

**Theorem.** Ids that were chosen before the nonce fall into buckets as balls into bins, up to BLAKE2b's advantage as
a PRF. By Chernoff's bound a bucket holds more than s ids with probability at most exp(-n KL((s + 1) / n || p)), where
p = 1/B + 2^-32 bounds the chance of one id. `padded_size` is the smallest s for which B times that is 2^-41 or less:
with a fresh nonce two parties' sets fit, but for a probability of 2^-40. Sizes follow from n and B alone, so they say
nothing beyond n. Where ids do not fit, a fresh nonce is drawn and the size stays. That this happened, the peer sees:
once in 2^41 times it learns that a random cut was uneven. That is for one set and one nonce. A peer that tries 2^40
nonces can find one at which ids of its choice would not fit, and learn whether the other party holds so many of them,
as it would by adding them to its own set.

**Padding** is a hash of 33 random bytes that are no UTF-8: under a random oracle as good a point as any id's, and equal
to one only if two hashes collide.

**Leaks** nothing to the peer beyond one PSI of the whole sets. A malicious peer can put ids where padding belongs, and
so has B s of them, and not n: 1,024 where it announces one. Who counts what a host asks about counts points.

Reference: Mitzenmacher, Upfal, "Probability and Computing", chapter 4 (Chernoff, Hoeffding 1963); RFC 7693 (BLAKE2b).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log, log1p

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.randomness import Randomness
from protocols.core.sender import Sender
from protocols.psi.encode import PAIR_BYTES, domain, encode_to_curve
from protocols.psi.hashed import HashedIds, hash_checked
from protocols.psi.messages import PSI_CHUNK

MOST_IN_ONE = 1 << 20
"""Ids of the larger set up to which there is one run over all."""

BUCKET_IDS = 1 << 18
"""Ids of the larger set in a bucket, on average: some 60 MB of work, and seconds to repeat."""

MAX_BUCKETS = 1 << 10
"""More than sets of `MAX_IDS` need."""

OVERFLOW_BITS = 41
"""A party's set fits its buckets but for a probability of 2^-41."""

_TAG = b"secure-hfl-psi-v2:buckets".ljust(32, b"\0")
_BUCKET_TAG = b"secure-hfl-psi-v2:bucket".ljust(32, b"\0")
_NO_ID = b"\xff"
"""No UTF-8 begins with it."""


@dataclass(frozen=True)
class Shape:
    """How two parties' sets are cut.

    Attributes:
        buckets: how many there are.
        host_size, collaborator_size: points of each party in a bucket, padding included.
    """

    buckets: int
    host_size: int
    collaborator_size: int

    def size(self, sender: Sender) -> int:
        """Of a party's buckets."""
        return self.host_size if sender is Sender.HOST else self.collaborator_size


def bucket_count(largest: int) -> int:
    """Into how many buckets sets are cut of which the largest has so many ids; 1: one run over all."""
    return 1 if largest <= MOST_IN_ONE else -(-largest // BUCKET_IDS)


def shape_of(host_ids: int, collaborator_ids: int, buckets: int) -> Shape:
    """The buckets of two sets of these sizes."""
    return Shape(buckets, padded_size(host_ids, buckets), padded_size(collaborator_ids, buckets))


def log2_overflow(ids: int, buckets: int, size: int) -> float:
    """The base-2 logarithm of a bound on the probability that one of the buckets has more than `size` ids."""
    if size >= ids:
        return -inf
    chance = min(1.0, 1 / buckets + 2.0**-32)
    share = (size + 1) / ids
    if share <= chance:
        return 0.0
    rest = (1 - share) * (log1p(-share) - log1p(-chance)) if share < 1 else 0.0
    return (log(buckets) - ids * (share * log(share / chance) + rest)) / log(2)


def padded_size(ids: int, buckets: int) -> int:
    """Points in each bucket of a set of this size: as few as hold but for a probability of 2^-`OVERFLOW_BITS`."""
    if not buckets >= 1:
        raise InvalidInput(f"there is at least one bucket, not {buckets}")
    low, high = 0, ids
    while low < high:
        middle = (low + high) // 2
        if log2_overflow(ids, buckets, middle) <= -OVERFLOW_BITS:
            high = middle
        else:
            low = middle + 1
    return max(1, low)


def bucketing_domain(task_id: str, certificates: Iterable[bytes]) -> bytes:
    """What stands for a task and its parties, but not for a session, so that buckets outlive one.

    Args:
        task_id: of the task.
        certificates: digests of all parties' certificates, the host's first.
    """
    return hashlib.sha256(_TAG + hashlib.sha256(task_id.encode()).digest() + b"".join(certificates)).digest()


def key_of(parties: bytes, nonce: bytes) -> bytes:
    """The key of the hash: of a `bucketing_domain` and the host's nonce, 32 bytes each."""
    return hashlib.sha256(_TAG + parties + nonce).digest()


def bucket_words(key: bytes, names: Iterable[bytes]) -> NDArray[np.uint64]:
    """64 pseudo-random bits of each id, in its canonical bytes."""
    keyed = hashlib.blake2b(key=key, digest_size=8)
    words = []
    for name in names:
        state = keyed.copy()
        state.update(name)
        words.append(state.digest())
    return np.frombuffer(b"".join(words), "<u8").astype(np.uint64, copy=False)


def bucket_numbers(words: NDArray[np.uint64], buckets: int) -> NDArray[np.int64]:
    """Which bucket each belongs to, from 0: each of them with a chance of 1/B, give or take 2^-32."""
    high = np.uint64(32)
    return ((words >> high) * np.uint64(buckets) >> high).astype(np.int64)


def bucket_pair(pair: bytes, index: int) -> bytes:
    """What stands for a session, a pair of its parties and one bucket; see `pair_id`."""
    if not isinstance(pair, bytes) or len(pair) != PAIR_BYTES:
        raise InvalidInput(f"the id of a pair has {PAIR_BYTES} bytes")
    return hashlib.sha256(_BUCKET_TAG + pair + index.to_bytes(8, "big")).digest()


def hash_bucket(
    pair: bytes,
    ids: tuple[str, ...],
    size: int,
    randomness: Randomness,
    mapper: Mapper = map,
    chunk: int = PSI_CHUNK,
) -> HashedIds:
    """A bucket's ids, which `check_ids` has accepted, and random points up to its size; for one role.

    Args:
        pair: `bucket_pair`.
        ids: of the bucket.
        size: points in it.
        randomness: what padding is made from.
        mapper: where the work runs.
        chunk: ids in a piece of work.

    Raises:
        InvalidInput: the bucket holds more.
    """
    if len(ids) > size:
        raise InvalidInput(f"a bucket of {size} points cannot take {len(ids)} ids")
    hashed = hash_checked(pair, ids, mapper, chunk) if ids else HashedIds(pair, (), b"")
    padding = encode_to_curve(domain(pair), [_NO_ID + randomness.bytes(32) for _ in range(size - len(ids))])
    return HashedIds(pair, hashed.ids, hashed.points + padding)
