"""Messages by which two parties sign what has crossed the wire between them; signing.py has the exchange.

each side    Checkpoint(count, head, record, signature)     of what it has sent: a signed head of its chain
each side    Countersignature(count, head, signature)       of what it has received: the peer's Checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.sizes import Range
from protocols.core.wire_format import Uint64, wire
from protocols.wire.sizes import data, number

HASH_BYTES = 32
MAX_COUNT = (1 << 63) - 1
MIN_SIGNATURE, MAX_SIGNATURE = 8, 72
"""Bytes of an ECDSA P-256 signature in DER form."""


def _with_signature(size: int) -> Range:
    return size + data(MIN_SIGNATURE), size + data(MAX_SIGNATURE)


@dataclass(frozen=True)
class _SignedMessage(Message):
    def require_signed(self) -> None:
        """Raise unless count, head and signature are well-formed."""
        self.require_int("count", 0, MAX_COUNT)
        self.require_bytes("head", HASH_BYTES)
        signature = getattr(self, "signature", None)
        size = len(signature) if isinstance(signature, bytes) else 0
        self.require(
            MIN_SIGNATURE <= size <= MAX_SIGNATURE, f"a signature has {MIN_SIGNATURE} to {MAX_SIGNATURE} bytes"
        )


@wire(
    88,
    ledger=public("", "A digest of what the receiver has, and of the versions of the sender's software."),
    recorded=("count",),
    bounds=lambda task, sender, recorded: _with_signature(number(*recorded) + 2 * data(HASH_BYTES)),
)
@dataclass(frozen=True)
class Checkpoint(_SignedMessage):
    """A signed head: the sender signs the chain of what it has sent, at a boundary of a phase or round.

    Attributes:
        count: messages in the chain; all that were sent before this one, but for those of the offline phase that
            overtook it.
        head: the chain's head there.
        record: digest of what the sender's transcript says of its writer (`WriterInfo.digest`).
        signature: the sender's, of `protocols.transcript.chain.statement`.

    **Leaks** nothing: a digest of messages that the receiver has.
    """

    count: Uint64
    head: bytes
    record: bytes
    signature: bytes

    def __post_init__(self) -> None:
        self.require_signed()
        self.require_bytes("record", HASH_BYTES)


@wire(
    89,
    ledger=public("", "A signature of what the receiver signed before."),
    recorded=("count",),
    bounds=lambda task, sender, recorded: _with_signature(number(*recorded) + data(HASH_BYTES)),
)
@dataclass(frozen=True)
class Countersignature(_SignedMessage):
    """The receiver of a Checkpoint has received just that: it signs the same statement.

    **Leaks** nothing.
    """

    count: Uint64
    head: bytes
    signature: bytes

    def __post_init__(self) -> None:
        self.require_signed()
