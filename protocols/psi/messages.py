"""What crosses the wire in a PSI run, over all ids or a bucket. H = Host (receiver), C = collaborator (sender).

    both     PsiOpen(set_size, chunk, pair, suite)
    H -> C   PsiPoints   H(x)^h, shuffled            n points in chunks; n, m: set sizes
    C -> H   PsiPoints   H(y)^c, shuffled            m points in chunks
    C -> H   PsiDigests  digest(H(x)^hc), in H's order   a chunk for each of H's
    H -> C   PsiResult   which of C's shuffled points are in the final intersection

Reference: Meadows 1986; Huberman, Franklin, Hogg 1999 (the DDH protocol); RFC 7748; RFC 9380.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import MalformedMessage
from protocols.core.ledger import Content, LedgerEntry, ciphertext, public
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.psi.bucket_messages import PsiBuckets
from protocols.psi.chunks import MAX_CHUNK, chunk_bounds, opening_bounds, require_chunk
from protocols.psi.encode import PAIR_BYTES, POINT_BYTES, SUITE
from protocols.psi.ids import MAX_IDS
from protocols.wire.sizes import data, varint

PSI_CHUNK = 4096
"""Points in a chunk, unless a role is told otherwise: 128 KiB on the wire, some 20 ms of work."""

DIGEST_BYTES = 16

_DDH = "Decisional Diffie-Hellman on Curve25519, with fresh scalars and orders for every pair and run."


def _result_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range | None:
    """A bit for each of the collaborator's points, of all or of a bucket's, and how many are set."""
    opened, cut = task.announced(PsiOpen, sender.other), task.announced(PsiBuckets, sender)
    if opened is None:
        return None
    points = opened[0] if cut is None else cut[2]
    size = data(-(-points // 8))
    return size, size + 1 + varint(points)


@wire(
    24,
    ledger=public(
        "the size of the peer's set of sample ids", "No PSI of this kind hides it (De Cristofaro, Tsudik 2010)."
    ),
    recorded=("set_size", "chunk"),
    bounds=opening_bounds,
)
@dataclass(frozen=True)
class PsiOpen(Message):
    """Opens a direction: how many points will come, in chunks of what size (the last may be shorter).

    **Leaks**: the size of the sender's set, to the peer.
    """

    set_size: Uint64
    chunk: Uint32
    pair: bytes = field(repr=False)
    suite: str = SUITE

    def __post_init__(self) -> None:
        self.require_int("set_size", 1, MAX_IDS)
        self.require_int("chunk", 1, MAX_CHUNK)
        self.require_bytes("pair", PAIR_BYTES)
        self.require_text("suite", 64)


@wire(
    25,
    ledger=ciphertext("nobody: the sender's scalar is used once and forgotten", _DDH),
    recorded=("index",),
    bounds=lambda task, sender, recorded: chunk_bounds(task, PsiOpen, sender, recorded, POINT_BYTES),
)
@dataclass(frozen=True)
class PsiPoints(Message):
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
    26,
    ledger=LedgerEntry(
        Content.RESULT,
        "{host}, for ids that it holds itself",
        "which of its own sample ids {collaborator} holds (the pairwise intersection)",
        "",
        _DDH + " A digest of an id that {collaborator} lacks looks random.",
        is_fresh=True,
    ),
    recorded=("index",),
    bounds=lambda task, sender, recorded: chunk_bounds(task, PsiOpen, sender.other, recorded, DIGEST_BYTES),
)
@dataclass(frozen=True)
class PsiDigests(Message):
    """Digests of a chunk of the Host's points, raised by the collaborator, in the Host's order.

    **Leaks**: with the collaborator's own points, the pairwise intersection, to the Host. Nothing about other ids: a
    digest of H(x)^hc for an id that the collaborator lacks looks random.
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
    27,
    ledger=LedgerEntry(
        Content.RESULT,
        "{collaborator}: positions in its own secret order",
        "",
        "which of its own sample ids all parties hold (the final intersection)",
        "Bits in {collaborator}'s order; no id of another party, and not the pairwise intersection.",
    ),
    bounds=_result_bounds,
)
@dataclass(frozen=True)
class PsiResult(Message):
    """Which of the collaborator's points, in its own shuffled order, are in the intersection of all parties.

    **Leaks**: the final intersection, to the collaborator; no other id of the Host or of other collaborators, and with
    more than two parties not the pairwise intersection either.
    **Shapes**: matches: one bit a point, least significant bit first, padded with zero bits.
    """

    matches: bytes
    count: Uint64

    def __post_init__(self) -> None:
        self.require_int("count", 0, MAX_IDS)
        self.require(isinstance(self.matches, bytes), "matches must be bytes")
        self.require(0 < len(self.matches) <= MAX_IDS // 8, "matches must have one bit for each point")
        ones = int.from_bytes(self.matches, "little").bit_count()
        self.require(ones == self.count, f"count says {self.count} matches, the bits say {ones}")

    @classmethod
    def marking(cls, slots: NDArray[np.int64], size: int) -> PsiResult:
        """A result that marks these of a collaborator's `size` points."""
        bits = np.zeros(size, dtype=np.bool_)
        bits[slots] = True
        return cls(np.packbits(bits, bitorder="little").tobytes(), len(slots))

    def slots(self, size: int, most: int) -> NDArray[np.int64]:
        """Which of `size` points are marked, ascending.

        Raises:
            MalformedMessage: the bits are not of so many points, or more than `most` are marked.
        """
        if len(self.matches) != (size + 7) // 8:
            raise MalformedMessage(f"PsiResult has {len(self.matches)} bytes for a list of {size} points")
        bits = np.unpackbits(np.frombuffer(self.matches, np.uint8), bitorder="little")
        if bits[size:].any():
            raise MalformedMessage(f"PsiResult marks positions after the last of {size} points")
        if self.count > most:
            raise MalformedMessage(f"PsiResult marks {self.count} points where at most {most} can match")
        return np.flatnonzero(bits[:size])
