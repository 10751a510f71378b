"""What crosses the wire where two parties count the ids that both hold.

    Host (ids x, scalar h, order)                             Collaborator (ids y, scalar c, two orders)
    both                        OverlapOpen                   how many ids, the least, and what is rounded to
                            -- OverlapPoints x n/chunk -->    H(x)^h, shuffled
                            <- OverlapPoints x m/chunk ---    H(y)^c, shuffled
                            <- OverlapDigests x n/chunk --    D(H(x)^hc), all of them in ANOTHER secret order
    |D(H(x)^hc) and D(H(y)^ch)|
                            -- OverlapSize --------------->   rounded down

H is PSI's hash to Curve25519 and D its digest, both in a domain of their own (`overlap_id`): nothing of an overlap
means anything in a PSI, in another session, or between another pair of parties.

**Leaks** (semi-honest, one run). To both: the two set sizes. To the Host: how many ids both hold, exactly. Its program
rounds that down before it shows or keeps it, and tells the Collaborator no more; but a Host that reads its own memory
has the exact number. To the Collaborator: the rounded number. To neither: which ids. Which ids are equal shows in the
Host's view only by where equal digests stand, in two lists that the Collaborator shuffles, each uniformly and by itself
(tests/attacks/test_overlap_views.py).

**What a malicious party can do.** A malicious Host gets what a PSI would give it: with a scalar of its own for each id,
which nobody can tell from one for all, it learns in one run which of its ids the Collaborator holds (shown by the same
test). So this is for parties who trust each other's programs, and not yet each other's data. A malicious Collaborator
learns one number a run, of a set of its choice: of one guess among points of no id, whether the Host holds it. A least
set size, and a count of the runs that a peer has had, keep honest operators from asking about single ids by small
sets, or by one set after the other with an id more; they keep no liar. A Host may tell a wrong number, and a
Collaborator return digests of no ids: the number is as true as both parties are.

**Assumptions**: decisional Diffie-Hellman on Curve25519 with fresh scalars for every pair and run; SHAKE256 and SHA-256
as random oracles.

Reference: De Cristofaro, Gasti, Tsudik, "Fast and Private Computation of Cardinality of Set Intersection and Union"
(CANS 2012); Agrawal, Evfimievski, Srikant (SIGMOD 2003), whose intersection size protocol this is; RFC 7748; RFC 9380.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from protocols.core.errors import InvalidInput
from protocols.core.ledger import Content, LedgerEntry, ciphertext, public
from protocols.core.message import Message
from protocols.core.sizes import exactly
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.psi.chunks import MAX_CHUNK, chunk_bounds, opening_bounds, require_chunk
from protocols.psi.encode import PAIR_BYTES, POINT_BYTES, SUITE
from protocols.psi.ids import MAX_IDS
from protocols.psi.messages import DIGEST_BYTES
from protocols.wire.sizes import number

_DDH = "Decisional Diffie-Hellman on Curve25519, with fresh scalars and orders for every pair and run."


def overlap_id(pair: bytes) -> bytes:
    """What stands for a session and a pair of parties where ids are counted: 32 bytes, from PSI's `pair_id`."""
    if not isinstance(pair, bytes) or len(pair) != PAIR_BYTES:
        raise InvalidInput(f"the id of a pair has {PAIR_BYTES} bytes")
    return hashlib.sha256(b"secure-hfl-overlap-v1:pair".ljust(32, b"\0") + pair).digest()


@wire(
    116,
    ledger=public(
        "the size of the peer's set of sample ids, how small a set the peer counts with, and what it rounds to",
        "No protocol of this kind hides it.",
    ),
    recorded=("set_size", "chunk", "least", "round_to"),
    bounds=opening_bounds,
)
@dataclass(frozen=True)
class OverlapOpen(Message):
    """Opens a direction: how many points will come, in chunks of what size (the last may be shorter), and the terms.

    Attributes:
        least: both sets have at least so many ids, or nothing is counted.
        round_to: the number is rounded down to a multiple of this; 1: it is told as it is.

    **Leaks**: the size of the sender's set, to the peer.
    """

    set_size: Uint64
    chunk: Uint32
    least: Uint64
    round_to: Uint64
    pair: bytes = field(repr=False)
    suite: str = SUITE

    def __post_init__(self) -> None:
        for name in ("set_size", "least", "round_to"):
            self.require_int(name, 1, MAX_IDS)
        self.require_int("chunk", 1, MAX_CHUNK)
        self.require_bytes("pair", PAIR_BYTES)
        self.require_text("suite", 64)


@wire(
    117,
    ledger=ciphertext("nobody: the sender's scalar is used once and forgotten", _DDH),
    recorded=("index",),
    bounds=lambda task, sender, recorded: chunk_bounds(task, OverlapOpen, sender, recorded, POINT_BYTES),
)
@dataclass(frozen=True)
class OverlapPoints(Message):
    """A chunk of masked ids, in the secret order of the party that sends them.

    **Leaks**: nothing beyond the set size under DDH: the scalar and the order are fresh and secret.
    **Shapes**: points: k u-coordinates of 32 bytes, little-endian.
    """

    index: Uint64
    points: bytes

    def __post_init__(self) -> None:
        require_chunk(self, "points", POINT_BYTES)

    @property
    def items(self) -> int:
        """How many points there are."""
        return len(self.points) // POINT_BYTES


@wire(
    118,
    ledger=LedgerEntry(
        Content.RESULT,
        "{host}, and it reads a count only",
        "how many of its own sample ids {collaborator} holds, exactly, and not which",
        "",
        _DDH
        + " Which digests are equal says nothing more: both lists are in uniform orders that {collaborator} chose.",
        is_fresh=True,
    ),
    recorded=("index",),
    bounds=lambda task, sender, recorded: chunk_bounds(task, OverlapOpen, sender.other, recorded, DIGEST_BYTES),
)
@dataclass(frozen=True)
class OverlapDigests(Message):
    """Digests of the Host's points, raised by the collaborator, in an order of the whole list that it keeps secret.

    **Leaks**: with the collaborator's own points, the size of the intersection, to the Host; nothing about which ids.
    **Shapes**: digests: k of 16 bytes.
    """

    index: Uint64
    digests: bytes

    def __post_init__(self) -> None:
        require_chunk(self, "digests", DIGEST_BYTES)

    @property
    def items(self) -> int:
        """How many digests there are."""
        return len(self.digests) // DIGEST_BYTES


@wire(
    119,
    ledger=LedgerEntry(
        Content.RESULT,
        "both parties",
        "",
        "how many of its own sample ids {host} holds, rounded down as agreed, and not which",
        "One number, as {host} tells it.",
    ),
    recorded=("size",),
    bounds=exactly(lambda recorded: number(recorded[0])),
)
@dataclass(frozen=True)
class OverlapSize(Message):
    """How many ids both hold, rounded down to a multiple of what both have agreed on.

    **Leaks**: that number, to the collaborator.
    """

    size: Uint64

    def __post_init__(self) -> None:
        self.require_int("size", 0, MAX_IDS)
