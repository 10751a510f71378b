"""How a host and a collaborator agree on buckets, between the openings and the first bucket's run.

both     PsiOpen                     how many ids each has: one of them too many for one run
H -> C   PsiBuckets                  how many buckets of what sizes, under which nonce, and how many are done
C -> H   PsiBucketsTaken             whether its ids fit, and how many buckets both have done; or a fresh nonce
both     PsiOpen, PsiPoints, PsiDigests for each bucket that is not done; then a PsiResult for each of all
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.sizes import exactly
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.psi.ids import MAX_IDS
from protocols.wire.sizes import data, number

NONCE_BYTES = 32
MAX_ATTEMPTS = 4
"""Nonces that are tried; a second one is needed once in 2^40 times."""


@wire(
    110,
    ledger=public(
        "how both sets are cut into buckets of one size, which follows from how many ids each party has",
        "The sizes are a function of the set sizes; the nonce is random.",
    ),
    recorded=("buckets", "host_size", "collaborator_size", "done"),
    bounds=exactly(lambda recorded: sum(map(number, recorded)) + data(NONCE_BYTES)),
)
@dataclass(frozen=True)
class PsiBuckets(Message):
    """The host's cut of both sets.

    **Leaks**: nothing beyond both set sizes, and where an interrupted run of the two stands.
    """

    buckets: Uint32
    host_size: Uint64
    collaborator_size: Uint64
    done: Uint32
    nonce: bytes

    def __post_init__(self) -> None:
        self.require_int("buckets", 1, MAX_IDS)
        self.require_int("host_size", 1, MAX_IDS)
        self.require_int("collaborator_size", 1, MAX_IDS)
        self.require_int("done", 0, self.buckets)
        self.require_bytes("nonce", NONCE_BYTES)


@wire(
    111,
    ledger=public(
        "whether the collaborator's ids fit buckets of that size, which they do but once in 2^41 times",
        "Chernoff's bound for a keyed hash: protocols/psi/buckets.py.",
    ),
    recorded=("fits", "done"),
    bounds=exactly(lambda recorded: sum(map(number, recorded))),
)
@dataclass(frozen=True)
class PsiBucketsTaken(Message):
    """A collaborator's answer: whether its ids fit, and how many buckets need not be run again.

    **Leaks**: that a random cut did not fit, with probability 2^-41.
    """

    fits: bool
    done: Uint32

    def __post_init__(self) -> None:
        self.require(isinstance(self.fits, bool), "fits must be a bool")
        self.require_int("done", 0, MAX_IDS)
        self.require(self.fits or not self.done, "where ids do not fit, no bucket is done")
