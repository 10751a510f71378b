"""On-line predictions: a population is registered once a session, and ids are looked up in it as requests come.

    Host (a scalar b, fresh for every lookup)                 Collaborator (ids y, scalar c and order of the session)
    once                    <- PopulationOpen ------------
                            <- PopulationDigests x m/chunk    D(H(y)^c), in a secret order: y's position
    for each request        -- LookupPoints ------------->    H(x)^b of the ids that were not looked up before
                            <- LookupReplies ------------     H(x)^bc; or LookupRefused: the day's budget is spent
    D((H(x)^bc)^(1/b)) = D(H(y)^c) where x = y
                            -- RowsAsked ---------------->    positions of the ids that all parties hold
                            <- BatchOpen, z ... ---------     or RowsRefused: the budget of some of these is spent
    at the end of a round   -- RequestsOver ------------->

H is PSI's hash to Curve25519 and D its digest, both in a domain of their own (`lookup_id`): a point or digest of a
lookup means nothing in a PSI, nor in another session, nor between another pair of parties.

**Leaks** (semi-honest). To the Host: how many ids the Collaborator has, and of each id that it looks up whether it is
one. Nothing of ids that it has not looked up: it would need their H(y)^c, and gets a point under c only by a lookup,
which the Collaborator counts (`RunLimits.asked_a_day`). To the Collaborator: how many ids are looked up, which of its
ids rows are asked of, and when; nothing else of the other ids, nor whether one of them was looked up before.
A malicious Host can send points that are no hashes; each counts, and tells it of one id at most. It can also ask for
positions that it has not found: of no more different rows than it has looked up ids, and it does not know whose.

**Assumptions**: one-more gap Diffie-Hellman on Curve25519, SHAKE256 and SHA-256 as random oracles, for the Host's view
(c stays the same over the session, and the Host has points of its choice multiplied by it); decisional
Diffie-Hellman for the Collaborator's.

Reference: Jarecki, Liu, "Fast Secure Computation of Set Intersection" (SCN 2010), whose oblivious function this is;
RFC 9497 for blinding; RFC 7748 and RFC 9380 as in protocols/psi/.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.ledger import Content, LedgerEntry, ciphertext, public
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes, exactly
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.psi.chunks import MAX_CHUNK, chunk_bounds, opening_bounds, require_chunk, require_items
from protocols.psi.encode import PAIR_BYTES, POINT_BYTES, SUITE
from protocols.psi.ids import MAX_IDS
from protocols.psi.messages import DIGEST_BYTES
from protocols.wire.sizes import data, number

MAX_LOOKUP = 4096
"""Most ids in one lookup."""

MAX_ROWS_ASKED = 1 << 20
POSITION_BYTES = 4

_OMGDH = (
    "One-more gap Diffie-Hellman on Curve25519, in the random-oracle model: a digest of an id tells nothing to who has "
    "not looked that id up."
)
_DDH = "Decisional Diffie-Hellman on Curve25519, with a fresh scalar for every lookup."


def lookup_id(pair: bytes) -> bytes:
    """What stands for a session and a pair of parties in lookups: 32 bytes, from PSI's `pair_id`."""
    if not isinstance(pair, bytes) or len(pair) != PAIR_BYTES:
        raise InvalidInput(f"the id of a pair has {PAIR_BYTES} bytes")
    return hashlib.sha256(b"secure-hfl-lookup-v1:pair".ljust(32, b"\0") + pair).digest()


def _marks_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range | None:
    asked = task.announced(RowsAsked, sender.other)
    if asked is None:
        return None
    size = data(-(-asked[0] // 8))
    return size, size


@wire(
    100,
    ledger=public("how many sample ids predictions can be asked of", "No lookup of this kind hides it."),
    recorded=("size", "chunk"),
    bounds=opening_bounds,
)
@dataclass(frozen=True)
class PopulationOpen(Message):
    """The collaborator opens the registration: how many ids, in chunks of what size (the last may be shorter).

    **Leaks**: the size of the population, to the Host.
    """

    size: Uint64
    chunk: Uint32
    pair: bytes = field(repr=False)
    suite: str = SUITE

    def __post_init__(self) -> None:
        self.require_int("size", 1, MAX_IDS)
        self.require_int("chunk", 1, MAX_CHUNK)
        self.require_bytes("pair", PAIR_BYTES)
        self.require_text("suite", 64)


@wire(
    101,
    ledger=ciphertext("nobody: of an id that was not looked up", _OMGDH),
    recorded=("index",),
    bounds=lambda task, sender, recorded: chunk_bounds(task, PopulationOpen, sender, recorded, DIGEST_BYTES),
)
@dataclass(frozen=True)
class PopulationDigests(Message):
    """A chunk of the population, in the collaborator's secret order for this session.

    **Leaks**: nothing by itself; with a lookup's reply, where that lookup's ids stand.
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
    102,
    ledger=ciphertext(
        "nobody: the scalar is used for one lookup and forgotten",
        _DDH,
        collaborator="how many sample ids {host} looks up, and when; of those it does not ask a row of, nothing else",
    ),
    recorded=("count",),
    record=lambda message: (message.count,),
    bounds=exactly(lambda recorded: data(POINT_BYTES * recorded[0])),
)
@dataclass(frozen=True)
class LookupPoints(Message):
    """Blinded ids that the Host asks about.

    **Leaks**: their number.
    **Shapes**: points: k u-coordinates of 32 bytes, little-endian.
    """

    points: bytes

    def __post_init__(self) -> None:
        require_items(self, "points", POINT_BYTES, MAX_LOOKUP)

    @property
    def count(self) -> int:
        """How many ids there are."""
        return len(self.points) // POINT_BYTES


@wire(
    103,
    ledger=LedgerEntry(
        Content.RESULT,
        "{host}, for ids that it looks up",
        "which of the sample ids that it looks up {collaborator} holds",
        "",
        _OMGDH,
        is_fresh=True,
    ),
    recorded=("count",),
    record=lambda message: (message.count,),
    bounds=exactly(lambda recorded: data(POINT_BYTES * recorded[0])),
)
@dataclass(frozen=True)
class LookupReplies(Message):
    """The points of a lookup under the collaborator's scalar, in the Host's order.

    **Leaks**: with the registered digests, which of the ids that were looked up the collaborator holds, to the Host.
    **Shapes**: points: k u-coordinates of 32 bytes.
    """

    points: bytes

    def __post_init__(self) -> None:
        require_items(self, "points", POINT_BYTES, MAX_LOOKUP)

    @property
    def count(self) -> int:
        """How many ids there are."""
        return len(self.points) // POINT_BYTES


@wire(
    104,
    ledger=public("that ids asked for reach what a day allows", "It is about the budget, not about ids."),
    recorded=("left",),
    bounds=exactly(lambda recorded: number(*recorded)),
)
@dataclass(frozen=True)
class LookupRefused(Message):
    """Nothing is said about these ids: so many may still be asked about today."""

    left: Uint32

    def __post_init__(self) -> None:
        self.require_int("left", 0, MAX_LOOKUP - 1)


@wire(
    105,
    ledger=LedgerEntry(
        Content.RESULT,
        "{collaborator}: positions in its own secret order",
        "",
        "of which of its own sample ids {host} asks for predictions, how often, and when",
        "Only ids that all parties hold are asked for; it is positions in {collaborator}'s order that travel.",
    ),
    recorded=("count",),
    record=lambda message: (len(message.positions) // POSITION_BYTES,),
    bounds=exactly(lambda recorded: data(POSITION_BYTES * recorded[0])),
)
@dataclass(frozen=True)
class RowsAsked(Message):
    """The rows of the next batch, by their positions in the population.

    **Leaks**: which of its rows are asked for, to the collaborator.
    **Shapes**: positions: k of 4 bytes, little-endian, all different.
    """

    positions: bytes

    def __post_init__(self) -> None:
        require_items(self, "positions", POSITION_BYTES, MAX_ROWS_ASKED)
        rows = self.rows
        self.require(len(np.unique(rows)) == len(rows), "a position is asked for twice")
        self.require(int(rows.max()) < MAX_IDS, "a position is out of range")

    @classmethod
    def of(cls, positions: NDArray[np.int64]) -> RowsAsked:
        """These."""
        return cls(positions.astype("<u4").tobytes())

    @property
    def rows(self) -> NDArray[np.int64]:
        """The positions."""
        return np.frombuffer(self.positions, "<u4").astype(np.int64)


@wire(
    106,
    ledger=public(
        "of which of the rows that were asked for as many predictions were made as {collaborator} allows",
        "It is about the budget; {host} knows what it has asked for.",
    ),
    bounds=_marks_bounds,
)
@dataclass(frozen=True)
class RowsRefused(Message):
    """Nothing of this batch is shown: the rows that are marked were predicted as often as the collaborator allows.

    **Shapes**: marks: one bit a row, in the order of `RowsAsked`, least significant bit first, padded with zero bits.
    """

    marks: bytes

    def __post_init__(self) -> None:
        require_items(self, "marks", 1, MAX_ROWS_ASKED // 8)
        self.require(any(self.marks), "no row is marked")

    @classmethod
    def of(cls, marks: NDArray[np.bool_]) -> RowsRefused:
        """These."""
        return cls(np.packbits(marks, bitorder="little").tobytes())

    def of_rows(self, count: int) -> NDArray[np.bool_]:
        """A mark for each of so many rows. Raises `MalformedMessage` unless they are as many."""
        bits = np.unpackbits(np.frombuffer(self.marks, np.uint8), bitorder="little").astype(np.bool_)
        self.require(len(self.marks) == -(-count // 8) and not bits[count:].any(), f"it is not of {count} rows")
        return bits[:count]


@wire(107, ledger=public(""), recorded=("batches",), bounds=exactly(lambda recorded: number(*recorded)))
@dataclass(frozen=True)
class RequestsOver(Message):
    """There are no more requests in this round; it has had so many batches, those that were refused included."""

    batches: Uint64

    def __post_init__(self) -> None:
        self.require_int("batches", 0, 1 << 31)
