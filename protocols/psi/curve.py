"""Many points times one secret scalar on Curve25519, and digests of the results.

    check  ->  X25519 (eight at a time where the processor can, else `cryptography`)  ->  SHA-256, 128 bits kept

**What is refused** (`InvalidPoint`): u >= p or bit 255 set, so that a point has one spelling; the five u of low order
on the curve and its twist, for which every scalar gives 0 (RFC 7748, section 6.1), before the multiplication because
the multi-buffer kernel errs on one of them (see `protocols/core/multi_buffer.py`); and a result of 0, should one come.
Other points of the twist are not refused: Curve25519 is twist-secure, and honest points are never there.

**Limit.** A hostile peer could look for points on which the multi-buffer kernel errs for certain leading bits of the
scalar, and see from the digests of P and P + T (T of low order) whether it did. For k bits that means finding roots of
a polynomial of degree about 4^k, so it can show a few bits of a scalar that is used once. Who must exclude that too
switches the kernels off.

Reference: RFC 7748; Bernstein and Lange, SafeCurves (twist security).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from struct import iter_unpack
from typing import Protocol

import gmpy2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocols.core import multi_buffer
from protocols.core.errors import InvalidPoint
from protocols.core.randomness import Randomness
from protocols.psi.encode import POINT_BYTES, domain, encode_to_curve
from protocols.psi.ids import canonical
from protocols.psi.messages import DIGEST_BYTES, PsiDigests, PsiPoints

_P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the subgroup that multiples of eight are in."""

LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    _P - 1,
)
"""u of every point of order 1, 2, 4 or 8 on the curve or its twist."""

_LOW_ORDER_WORDS = np.array([np.frombuffer(u.to_bytes(POINT_BYTES, "little"), "<u8") for u in LOW_ORDER])
_P_WORDS = np.frombuffer(_P.to_bytes(POINT_BYTES, "little"), "<u8")


class Scalar:
    """A secret X25519 scalar, clamped: a multiple of 8 from 2^254 to 2^255 - 8. Not shown by repr."""

    __slots__ = ("value",)

    def __init__(self, randomness: Randomness) -> None:
        raw = bytearray(randomness.bytes(POINT_BYTES))
        raw[0] &= 248
        raw[31] = raw[31] & 127 | 64
        self.value = bytes(raw)

    def __repr__(self) -> str:
        return "Scalar(<secret>)"

    def inverse(self) -> Scalar:
        """A clamped scalar that takes back this one on multiples of eight: u([inverse] [self] P) = u(P).

        Of t and -t, which give one u, with t = 1 / (8 self) mod the order, one is in the range that clamping leaves;
        neither is for one scalar in 2^126, which no fresh one is.
        """
        t = int(gmpy2.invert(8 * int.from_bytes(self.value, "little"), ORDER))
        inverse = Scalar.__new__(Scalar)
        inverse.value = (8 * (t if t >> 251 == 1 else ORDER - t)).to_bytes(POINT_BYTES, "little")
        return inverse


def multiply(scalar: Scalar, points: bytes, may_use_kernels: bool = True) -> bytes:
    """[scalar] P for n points of 32 bytes; n results of 32 bytes. Raises `InvalidPoint` with the position from 0."""
    check_points(points)
    if may_use_kernels and multi_buffer.available():
        products = multi_buffer.x25519_many(scalar.value, points)
    else:
        key, load = X25519PrivateKey.from_private_bytes(scalar.value), X25519PublicKey.from_public_bytes
        pieces = range(0, len(points), POINT_BYTES)
        products = b"".join([key.exchange(load(points[at : at + POINT_BYTES])) for at in pieces])
    zero = ~np.frombuffer(products, "<u8").reshape(-1, 4).any(axis=1)
    if zero.any():
        raise InvalidPoint(f"point {int(zero.argmax())} has low order: its product is zero")
    return products


def check_points(points: bytes) -> None:
    """Raise `InvalidPoint` if one of n points is not canonical or has low order; names the first of either kind."""
    words = np.frombuffer(points, "<u8").reshape(-1, 4)
    suspect = words[:, 3] >= _P_WORDS[3]
    for row in _LOW_ORDER_WORDS:
        suspect |= words[:, 0] == row[0]
    positions = np.flatnonzero(suspect)  # by one word; the others are read only here, where honest points never are
    words = words[positions]
    low, high = words[:, 0], words[:, 3]
    middle_full = (words[:, 1:3] == _P_WORDS[1:3]).all(axis=1)
    not_canonical = (high > _P_WORDS[3]) | ((high == _P_WORDS[3]) & middle_full & (low >= _P_WORDS[0]))
    if not_canonical.any():
        first = int(positions[not_canonical.argmax()])
        raise InvalidPoint(f"point {first} is not canonical: u must be below 2^255 - 19")
    low_order = (words[:, np.newaxis] == _LOW_ORDER_WORDS).all(axis=2).any(axis=1)
    if low_order.any():
        first = int(positions[low_order.argmax()])
        raise InvalidPoint(f"point {first} has low order: refused (RFC 7748, section 6.1)")


def check_point(point: bytes) -> None:
    """The same of one point, which is no secret: without arrays."""
    u = int.from_bytes(point, "little")
    if u >= _P:
        raise InvalidPoint("it is not canonical: u must be below 2^255 - 19")
    if u in LOW_ORDER:
        raise InvalidPoint("it has low order: refused (RFC 7748, section 6.1)")


def digest(pair: bytes, points: bytes) -> bytes:
    """16 bytes for each point: SHA-256 of a tag, the id of the pair and the point, truncated.

    Two of 2^27 x 2^27 ids agree by chance with a probability of 2^-74.
    """
    tagged = hashlib.sha256(b"secure-hfl-psi-v2:shared-point".ljust(32, b"\0") + pair)  # one block, hashed once
    digests = []
    for (point,) in iter_unpack(f"{POINT_BYTES}s", points):
        state = tagged.copy()
        state.update(point)
        digests.append(state.digest())
    whole = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, tagged.digest_size)
    return whole[:, :DIGEST_BYTES].tobytes()


def encode_ids(pair: bytes, ids: Sequence[str]) -> bytes:
    """Q.x for every checked id, 32 bytes each."""
    return encode_to_curve(domain(pair), canonical(ids))


class Chunk(Protocol):
    """A message with a part of a peer's points."""

    @property
    def index(self) -> int: ...
    @property
    def points(self) -> bytes: ...


def shared_digests(pair: bytes, scalar: Scalar, message: Chunk) -> bytes:
    """The digests of a chunk of the peer's points times our scalar, in their order."""
    try:
        shared = multiply(scalar, message.points)
    except InvalidPoint as error:
        raise InvalidPoint(f"{type(message).__name__} {message.index}: {error}") from None
    return digest(pair, shared)


def raise_points(pair: bytes, scalar: Scalar, message: PsiPoints) -> PsiDigests:
    """The same, as they are sent back in PSI."""
    return PsiDigests(message.index, shared_digests(pair, scalar, message))
