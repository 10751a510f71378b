"""Ids to points: the suite curve25519_XOF:SHAKE256_ELL2_NU_, u-coordinates only, without the cofactor.

    msg --expand_message_xof(SHAKE256)--> 48 bytes --mod p--> u --Elligator 2--> Q.x --X25519(scalar)--> sent

**Suite.** RFC 9380's own for this curve expands with SHA-512. Exchanging the expander is what its section 8.9 provides
for; SHAKE256 takes one permutation where SHA-512 takes three blocks, which is a fifth of an id's way to the curve.

**Cofactor.** The RFC clears it with P = 8 Q. Here Q goes out of this module, and every use multiplies it by a clamped
X25519 scalar, a multiple of 8: [s] Q = [s / 8] P. So every value on the wire lies in the subgroup of prime order.

**Half of the points is enough.** Elligator 2 reaches about half of the curve, so Q is not a uniform point. ECDH-PSI
needs less: H(x)^s must look random next to H(x). Model SHAKE256 as a random oracle and take a DDH challenge of
random-self-reduced pairs (R_i, S_i). The reduction must program H(x_i) to be R_i, which it can when R_i has a preimage:
Elligator 2 is invertible, and u is uniform, so Q is uniform over the image (u and -u, which share a point, aside).
It drops the R_i without a preimage, half of them, and loses nothing else. (A uniform point, suite `_RO_`, costs twice.)

**Steps.** Every id takes the same operations, with one Legendre symbol: there is no hash-and-increment loop to watch.
Where the multi-buffer library has its field (elligator.py), the map takes constant time; the integers here do not, but
what their timing could show is about the party's own ids to its own machine. Both give the same bytes. One element that
is a secret, of which a peer may have a guess, is mapped in C (protocols/he/native/elligator.c), to the same bytes too.

Reference: RFC 9380, sections 5.2, 5.3.2, 6.7.1, 8.5, 8.9; Bernstein, Hamburg, Krasnova, Lange, "Elligator" (CCS 2013).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import gmpy2
from gmpy2 import mpz

from protocols.core import multi_buffer
from protocols.core.errors import InvalidInput, LocalMisuse
from protocols.psi import elligator

SUITE = "curve25519_XOF:SHAKE256_ELL2_NU_"
POINT_BYTES = 32
PAIR_BYTES = 32

P = mpz(2**255 - 19)
J = mpz(486662)
_K = J * J - 2
_SYMBOL_OF_J = gmpy2.jacobi(J, P)

_FIELD_BYTES = 48
"""L: ceil((255 + 128) / 8), so that the reduction mod p has a bias below 2^-128."""


def pair_id(session: bytes, host: bytes, collaborator: bytes) -> bytes:
    """What stands for a session and a pair of its parties: SHA-256 of the session id and both certificates' digests.

    Points of one pair mean nothing in another. Else a host that relays them could compare two collaborators' sets with
    each other, ids that it does not hold included (tests/attacks/test_relayed_points.py).

    Raises:
        InvalidInput: one of them has not 32 bytes.
    """
    parts = (session, host, collaborator)
    if any(not isinstance(each, bytes) or len(each) != PAIR_BYTES for each in parts):
        raise InvalidInput(f"a session id and the digest of a certificate have {PAIR_BYTES} bytes")
    return hashlib.sha256(b"secure-hfl-psi-v2:pair".ljust(32, b"\0") + b"".join(parts)).digest()


def domain(pair: bytes) -> bytes:
    """The domain separation tag (DST) of a pair: protocol, version, suite, and its `pair_id`."""
    if not isinstance(pair, bytes) or len(pair) != PAIR_BYTES:
        raise InvalidInput(f"the id of a pair has {PAIR_BYTES} bytes")
    return b"secure-hfl-psi-v2:" + SUITE.encode() + b":" + pair


def encode_to_curve(dst: bytes, messages: Iterable[bytes]) -> bytes:
    """Q.x for every message (the RFC's encode_to_curve before clear_cofactor), 32 bytes little-endian each."""
    field = multi_buffer.field25519()
    if field is not None:
        return _map_checked(field, expand_messages(dst, messages))
    points = map_to_curve(hash_to_field(dst, messages))
    return b"".join([point.to_bytes(POINT_BYTES, "little") for point in points])


def _map_checked(field: multi_buffer.Field25519, uniform: list[bytes]) -> bytes:
    """With the library's field, and one element, which nobody can foresee, without."""
    points = elligator.map_many(field, b"".join(uniform))
    if uniform:
        at = int.from_bytes(uniform[0], "big") % len(uniform)
        plain = map_to_curve([mpz.from_bytes(uniform[at], "big") % P])[0].to_bytes(POINT_BYTES, "little")
        if points[at * POINT_BYTES : (at + 1) * POINT_BYTES] != plain:
            switch = multi_buffer.SWITCH
            raise LocalMisuse(f"the multi-buffer library maps ids wrongly; switch it off with {switch}=1")
    return points


def hash_to_field(dst: bytes, messages: Iterable[bytes]) -> list[mpz]:
    """One field element for every message: RFC 9380, hash_to_field with count = 1 (section 5.2)."""
    from_bytes = mpz.from_bytes
    return [from_bytes(uniform, "big") % P for uniform in expand_messages(dst, messages)]


def expand_messages(dst: bytes, messages: Iterable[bytes], length: int = _FIELD_BYTES) -> list[bytes]:
    """`length` uniform bytes for every message: RFC 9380, expand_message_xof with SHAKE256 (section 5.3.2)."""
    if not 0 < len(dst) <= 255:
        raise InvalidInput(f"a domain separation tag has 1 to 255 bytes, not {len(dst)}")
    tail = length.to_bytes(2, "big") + dst + bytes([len(dst)])
    shake = hashlib.shake_256
    return [shake(message + tail).digest(length) for message in messages]


def map_to_curve(fields: Sequence[mpz]) -> list[mpz]:
    """Elligator 2 (RFC 9380, section 6.7.1, Z = 2), u-coordinates only.

    With t = 2 u^2 and d = 1 + t the candidates are x1 = -J / d and x2 = -J - x1. g(x1) is a square exactly when
    J d (J^2 t - d^2) = g(x1) d^4 is, so the symbol needs no inversion; J^2 t - d^2 = t (J^2 - 2 - t) - 1. d is never 0,
    because -1/2 is no square.
    """
    jacobi = gmpy2.jacobi
    squares = [2 * field * field % P for field in fields]
    is_first = [jacobi((t + 1) * (t * (_K - t) - 1) % P, P) == _SYMBOL_OF_J for t in squares]
    quotients = _divide_by_all(J, [t + 1 for t in squares])
    return [P - quotient if first else (quotient - J) % P for quotient, first in zip(quotients, is_first)]


def _divide_by_all(dividend: mpz, values: Sequence[mpz]) -> list[mpz]:
    """Quotients mod p by numbers that are not 0, for three products each and one inversion (Montgomery's trick)."""
    product, prefixes = mpz(1), []
    for value in values:
        prefixes.append(product)
        product = product * value % P
    quotient = dividend * gmpy2.invert(product, P) % P
    quotients = []
    for value, prefix in zip(reversed(values), reversed(prefixes)):
        quotients.append(quotient * prefix % P)
        quotient = quotient * value % P
    quotients.reverse()
    return quotients
