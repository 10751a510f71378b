"""A malicious host shows each of two collaborators the other's points as its own, and compares what comes back.

    C1: points H1(y)^c1  ---> host ---> C2: digests of H1(y)^c1c2
    C2: points H2(y)^c2  ---> host ---> C1: digests of H2(y)^c2c1         equal where y is in both, if H1 = H2

With one hash for the whole task it learns how many ids the two share with each other, and whose points they are, though
it holds none of them. With a hash for every pair, bound to the session and both certificates, nothing is equal.
"""

from __future__ import annotations

import pytest

from benchmarks.harness.pump import pinned
from protocols.core.randomness import OsRandomness
from protocols.psi import PsiOpen, PsiSender, hash_ids, pair_id
from protocols.psi.curve import Scalar, digest, multiply
from protocols.psi.messages import DIGEST_BYTES, POINT_BYTES, PsiPoints

SESSION = b"\x07" * 32
KNOWN = pinned({"bank": "bank", "shop": "shop"})
BANK_IDS = [f"+49-30-{i:04d}" for i in range(60)]
SHOP_IDS = [f"+49-30-{i:04d}" for i in range(45, 125)]
SHARED = 15


def pair_of(name: str, is_bound: bool) -> bytes:
    """What a collaborator's ids are hashed for: its own pair, or as it was before, the session alone."""
    return pair_id(SESSION, KNOWN.host, KNOWN.collaborators[name]) if is_bound else SESSION


def points_of(role: PsiSender) -> bytes:
    """All that a collaborator says first."""
    role.open()
    return b"".join(message.points for message in role.masked_points())


def digests_of(role: PsiSender, pair: bytes, points: bytes) -> bytes:
    """What it answers a host that has these points."""
    role.receive_open(PsiOpen(len(points) // POINT_BYTES, len(points) // POINT_BYTES, pair))
    return b"".join(reply.digests for reply in role.replies([PsiPoints(0, points)]))


def pieces(data: bytes, size: int) -> set[bytes]:
    return {data[at : at + size] for at in range(0, len(data), size)}


def relayed(is_bound: bool) -> set[bytes]:
    """What the relaying host finds equal."""
    names = ("bank", "shop")
    pairs = [pair_of(name, is_bound) for name in names]
    roles = [
        PsiSender(hash_ids(pair, ids), OsRandomness()) for pair, ids in zip(pairs, (BANK_IDS, SHOP_IDS), strict=True)
    ]
    points = [points_of(role) for role in roles]
    bank, shop = (digests_of(role, pair, other) for role, pair, other in zip(roles, pairs, points[::-1], strict=True))
    assert (len(bank), len(shop)) == (len(SHOP_IDS) * DIGEST_BYTES, len(BANK_IDS) * DIGEST_BYTES)
    return pieces(bank, DIGEST_BYTES) & pieces(shop, DIGEST_BYTES)


@pytest.mark.parametrize(("is_bound", "found"), [(False, SHARED), (True, 0)], ids=["one hash a task", "one a pair"])
def test_a_relaying_host_learns_what_two_collaborators_share(is_bound: bool, found: int) -> None:
    assert len(relayed(is_bound)) == found


@pytest.mark.parametrize(("is_bound", "found"), [(False, SHARED), (True, 0)], ids=["one hash a task", "one a pair"])
def test_the_points_themselves_are_apart(is_bound: bool, found: int) -> None:
    """Not only the tag of the digests: points raised to both scalars are equal only under one hash."""
    bank, shop = (pair_of(name, is_bound) for name in ("bank", "shop"))
    scalars = Scalar(OsRandomness()), Scalar(OsRandomness())
    raised = [
        multiply(scalars[1], multiply(scalars[0], hash_ids(pair, ids).points))
        for pair, ids in ((bank, BANK_IDS), (shop, SHOP_IDS))
    ]
    assert len(pieces(raised[0], POINT_BYTES) & pieces(raised[1], POINT_BYTES)) == found
    same_tag = [pieces(digest(SESSION, points), DIGEST_BYTES) for points in raised]
    assert len(same_tag[0] & same_tag[1]) == found
