"""Alignment: the parties train on the same rows in the same order, or not at all.

    collaborator                                         host
    SplitDigest(train and test ids, keyed)   ------->    compares with its own, for every collaborator
                                             <-------    SplitDigest (its own)
    compares
    ... later, for every batch ...
    BatchOpen(rows, keyed digest of ids)     ------->    compares with its own batch before training on it
    EpochEnd(batches)                        ------->

A digest is HMAC-SHA256 under the session id, over the ids' canonical bytes: once sorted (same set?) and once in the
order the party will use (same order?). Ids compare as text, so 17 and "17" are the same id.

**Leaks** counts of training and test ids, and equality of the two sides' id lists; both are subsets of the
intersection, which both know. To the network nothing (TLS).

**Reference** HMAC: RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from protocols.core.errors import InvalidInput, PeerViolation, RoleAlreadyUsed
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.sizes import between, exactly
from protocols.core.steps import Receive, Send, Steps, received
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.core.wording import plural
from protocols.psi.packed import PackedIds, chunks_of
from protocols.wire.sizes import data, number

DIGEST_BYTES = 32
MAX_IDS = 1 << 31
MAX_ROWS = 1 << 20

_HMAC = "HMAC-SHA256 under the session id, over ids that both parties hold; equal or not is all it shows."

SampleId = str | int


class Misaligned(PeerViolation):
    """Two parties are about to train on different rows. Says which side has what."""


class OrderedIds(frozenset[SampleId]):
    """A set of ids that every process iterates in the same order: by length, then by text.

    A plain `set` of strings iterates differently in every Python process, which silently pairs wrong rows.
    """

    _order: tuple[SampleId, ...]

    def __new__(cls, ids: Iterable[SampleId]) -> OrderedIds:
        self = super().__new__(cls, ids)
        self._order = tuple(sorted(frozenset.__iter__(self), key=lambda i: (len(str(i)), str(i))))
        return self

    def __iter__(self) -> Iterator[SampleId]:
        return iter(self._order)

    def __repr__(self) -> str:
        return f"OrderedIds(<{len(self)} ids>)"

    # A set made from this one keeps its order; frozenset's own operators would give a plain frozenset.
    def __and__(self, other: Any) -> OrderedIds:
        return OrderedIds(frozenset(self) & other)

    def __or__(self, other: Any) -> OrderedIds:
        return OrderedIds(frozenset(self) | other)

    def __sub__(self, other: Any) -> OrderedIds:
        return OrderedIds(frozenset(self) - other)

    def __xor__(self, other: Any) -> OrderedIds:
        return OrderedIds(frozenset(self) ^ other)


def check_ids(where: str, ids: object) -> Sequence[SampleId] | OrderedIds | PackedIds:
    """Ids as `split_dataset` may return them: a set (order is ours) or a list or tuple (order is the user's).

    Of millions, which come packed, a part of them.
    """
    if isinstance(ids, PackedIds):
        return ids
    if not isinstance(ids, (set, frozenset, list, tuple)):
        raise InvalidInput(f"{where} must be a set or a list of ids, not {type(ids).__name__}")
    for position, item in enumerate(ids):
        if isinstance(item, bool) or not isinstance(item, (str, int)):
            raise InvalidInput(f"{where}: ids must be str or int, but number {position} is {type(item).__name__}")
    if isinstance(ids, (set, frozenset)):
        ordered = OrderedIds(ids)
        if len({str(item) for item in ordered}) != len(ordered):
            raise InvalidInput(f"{where}: the same id appears as text and as a number")
        return ordered
    if len({str(item) for item in ids}) != len(ids):
        raise InvalidInput(f"{where}: some ids appear twice in {len(ids)} ids")
    return ids


def ids_digest(session: bytes, label: str, ids: Iterable[SampleId]) -> bytes:
    """HMAC-SHA256 of ids in the order given."""
    state = hmac.new(session, f"secure-hfl ids v1 {label}".encode(), hashlib.sha256)
    for chunk in chunks_of(ids):
        encoded = [str(item).encode() for item in chunk]
        state.update(b"".join([len(data).to_bytes(4, "big") + data for data in encoded]))
    return state.digest()


def in_order(ids: Collection[SampleId]) -> Collection[SampleId]:
    """The same ids by length, then by text."""
    return ids.ordered() if isinstance(ids, PackedIds) else OrderedIds(ids)


@wire(
    32,
    ledger=public("whether both split the intersection alike, and into how many samples", _HMAC),
    bounds=between(4 * data(DIGEST_BYTES), 4 * data(DIGEST_BYTES) + 12),
)
@dataclass(frozen=True)
class SplitDigest(Message):
    """How one side split the intersection. Digests: the set (sorted), and the order that will be used."""

    train_count: Uint64
    train_set: bytes
    train_order: bytes
    test_count: Uint64
    test_set: bytes
    test_order: bytes

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self.require_int(f"{part}_count", 0, MAX_IDS)
            self.require_bytes(f"{part}_set", DIGEST_BYTES)
            self.require_bytes(f"{part}_order", DIGEST_BYTES)

    @classmethod
    def of(cls, session: bytes, train: Collection[SampleId], test: Collection[SampleId]) -> SplitDigest:
        """The digests of this side's split."""
        return cls(
            train_count=len(train),
            train_set=ids_digest(session, "train set", in_order(train)),
            train_order=ids_digest(session, "train order", train),
            test_count=len(test),
            test_set=ids_digest(session, "test set", in_order(test)),
            test_order=ids_digest(session, "test order", test),
        )


@wire(
    33,
    ledger=public("the size of each batch, and whether both use the same rows", _HMAC),
    recorded=("rows",),
    bounds=lambda task, sender, recorded: (number(*recorded), number(*recorded) + data(DIGEST_BYTES)),
)
@dataclass(frozen=True)
class BatchOpen(Message):
    """A collaborator's next batch: how many rows, and (when the user names them) a digest of their ids; else empty."""

    rows: Uint32
    ids: bytes

    def __post_init__(self) -> None:
        self.require_int("rows", 1, MAX_ROWS)
        self.require_bytes("ids", DIGEST_BYTES if self.ids else 0)


@wire(
    34,
    ledger=public("how many batches a round has"),
    recorded=("batches",),
    bounds=exactly(lambda recorded: number(*recorded)),
)
@dataclass(frozen=True)
class EpochEnd(Message):
    """The collaborator's iterator is exhausted after this many batches."""

    batches: Uint64

    def __post_init__(self) -> None:
        self.require_int("batches", 0, MAX_IDS)


def compare_splits(host: SplitDigest, other: SplitDigest, who: str) -> None:
    """Raise `Misaligned` unless both sides split the intersection alike."""
    for part, what in (("train", "training"), ("test", "test")):
        ours, theirs = getattr(host, f"{part}_count"), getattr(other, f"{part}_count")
        counts = f"the host has {ours} {what} ids, {who} has {theirs}"
        same_set = hmac.compare_digest(getattr(host, f"{part}_set"), getattr(other, f"{part}_set"))
        if ours != theirs or not same_set:
            same = ", and they are not the same ones" if ours == theirs else ""
            raise Misaligned(f"split_dataset differs: {counts}{same}. Agree on one rule for the split")
        if not hmac.compare_digest(getattr(host, f"{part}_order"), getattr(other, f"{part}_order")):
            raise Misaligned(
                f"split_dataset differs: {counts}, the same ids in another order. Return sets, or sort both lists alike"
            )


def compare_batches(host_rows: int, host_ids: bytes, other: BatchOpen, who: str, place: str) -> None:
    """Raise `Misaligned` unless the host's batch and a collaborator's have the same rows."""
    if host_rows != other.rows:
        raise Misaligned(
            f"{place}: the host's batch has {plural(host_rows, 'sample')}, {who}'s has {other.rows:,}. "
            "Use the same batch size"
        )
    if host_ids and other.ids and not hmac.compare_digest(host_ids, other.ids):
        raise Misaligned(
            f"{place}: the host's and {who}'s {host_rows} samples are not the same ones in the same order. "
            "Make both iterators use the same order"
        )


class CollaboratorAlignment:
    """The collaborator's half of comparing the splits. One-shot."""

    def __init__(self, own: SplitDigest) -> None:
        self._own = own
        self._has_run = False

    def run(self) -> Steps[None]:
        """Send ours, compare with the host's. Raises `Misaligned`."""
        if self._has_run:
            raise RoleAlreadyUsed("the splits have been compared before")
        self._has_run = True
        yield Send(self._own)
        host = received((yield Receive(SplitDigest)), SplitDigest)
        compare_splits(host, self._own, "this side")


class HostAlignment:
    """The host's half, for one collaborator. One-shot."""

    def __init__(self, own: SplitDigest, who: str) -> None:
        self._own = own
        self._who = who
        self._has_run = False

    def run(self) -> Steps[None]:
        """Compare first, so that everyone hears the host's explanation; then show ours. Raises `Misaligned`."""
        if self._has_run:
            raise RoleAlreadyUsed("the splits have been compared before")
        self._has_run = True
        theirs = received((yield Receive(SplitDigest)), SplitDigest)
        compare_splits(self._own, theirs, self._who)
        yield Send(self._own)
