"""Bytes of the BFV scheme, version 3: the format that every engine reads and writes alike.

    part     = header | body
    header   = magic "SHBV" | version u8 | kind u8 | parameter set u16 | key id 16 | index u32 | k_tile u32 | n_tile u32
    operand  : seed 32 | c0 mod each data prime, and modulo the special one if the set is raised
    reply    : c0 at the results only, sum by sum, W - D bits each | c1, N times W bits
    key      : as an operand, of zero                          (key id, index and tiles are zero)
               then, if the set packs sums, the key-switching keys: as operands, but modulo all primes (`packing`)

Integers are little-endian. Values are packed to the bit, value i of b bits from bit i b on, least significant bit
first: residues prime by prime, each prime at its own bit length; each row (one prime, or one half of a reply) ends on a
whole byte, its last bits zero. `key id` is the start of the SHA-256 of the public key's part, so that an operand or a
reply under another key is told apart by name; whether a ciphertext is what it claims to be cannot be seen from outside.

**Polynomials.** c0 of an operand or key is coefficients. c1 = a is expanded from the seed, in transform form: with psi
the least primitive 2N-th root of unity modulo p, value i is a(psi^(2 r + 1)), r the reversal of i's log2(N) bits. The
seed's stream (`protocols/core/randomness.py`: ChaCha20, zero nonce and counter) is read in draws of 6 bytes, of which
the low b bits count for a prime of b bits; those not below the prime are skipped. The first prime takes N of them, the
second goes on where the first stopped, and so on. `uniform` does this.

**Replies.** With c modulo q in residues c_l, and C_l = 2^(W + 52) / p_l rounded to the nearest integer,

    c' = floor((2^51 + sum over l of C_l (c_l (q / p_l)^-1 mod p_l)) / 2^52)  mod 2^W          is c 2^W / q, rounded

(`protocols/he/parameters.py` counts the error). c1' is sent whole; of c0', c0 = floor((c0' + 2^(D-1)) / 2^D) mod
2^(W-D). The result at place i is floor((2^D c0 + c1' s + 2^(W-60)) / 2^(W-59)) mod 2^59, in integers.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext
from protocols.core.randomness import Randomness, expand
from protocols.he.bit_packing import Wide, pack, pack_wide, packed_size, unpack, unpack_wide
from protocols.he.parameters import SEED_BYTES, BfvParameters
from protocols.wire.varint import Buffer

Residues = NDArray[np.uint64]

MAGIC = b"SHBV"
VERSION = 3
KEY_ID_BYTES = 16
NO_KEY = bytes(KEY_ID_BYTES)
_HEADER = struct.Struct(f"<4sBBH{KEY_ID_BYTES}sIII")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    """What a part is. Values are wire constants."""

    PUBLIC_KEY = 1
    OPERAND = 2
    REPLY = 3


@dataclass(frozen=True)
class Header:
    """The start of a part. Equality of `kind`, set and key is checked by `parse`."""

    kind: Kind
    parameter_set: int
    key_id: bytes = NO_KEY
    index: int = 0
    k_tile: int = 0
    n_tile: int = 0

    def to_bytes(self) -> bytes:
        fields = (self.kind, self.parameter_set, self.key_id, self.index, self.k_tile, self.n_tile)
        return _HEADER.pack(MAGIC, VERSION, *fields)


def key_id_of(public_key: bytes) -> bytes:
    """The name of a key pair: the first 16 bytes of the SHA-256 of its public part."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


def parse(part: object, kind: Kind, parameters: BfvParameters, key_id: bytes, index: int) -> tuple[Header, memoryview]:
    """A peer's part as header and body, refused unless it is this kind, of this set, key and place in its bundle.

    Of an operand or key, the length is checked as well. That of a reply depends on its results. Bodies are views: the
    ciphertexts of a batch are a megabyte.
    """
    if not isinstance(part, bytes) or len(part) < HEADER_BYTES:
        raise _refused(kind, index, "is not bytes that hold a header")
    magic, version, got_kind, got_set, got_key, got_index, k_tile, n_tile = _HEADER.unpack_from(part)
    if magic != MAGIC or version != VERSION:
        raise _refused(kind, index, f"is not in version {VERSION} of the BFV format")
    if got_kind != kind:
        raise _refused(kind, index, f"is of kind {got_kind}, not {kind.value}")
    if got_set != parameters.identifier:
        own = f"{parameters.identifier} ({parameters.name})"
        raise _refused(kind, index, f"is of parameter set {got_set}, not {own}")
    if not hmac.compare_digest(got_key, key_id):
        raise _refused(kind, index, "is under another key; both sides must use the key sent in this session")
    if got_index != index:
        raise _refused(kind, index, f"says that it is part {got_index}")
    size = parameters.key_bytes if kind is Kind.PUBLIC_KEY else parameters.operand_bytes
    if kind is not Kind.REPLY and len(part) != HEADER_BYTES + size:
        raise _refused(kind, index, f"has {len(part)} bytes, not {HEADER_BYTES + size}")
    return Header(kind, got_set, got_key, index, k_tile, n_tile), memoryview(part)[HEADER_BYTES:]


def _refused(kind: Kind, index: int, problem: str) -> InvalidCiphertext:
    return InvalidCiphertext(f"part {index} of the peer's {kind.name.lower().replace('_', ' ')} {problem}")


# ---- bodies


def pack_residues(residues: Residues, primes: tuple[int, ...]) -> bytes:
    """Residues [len(primes), count], prime by prime, each at its own width."""
    return b"".join(pack(row, prime.bit_length()) for row, prime in zip(residues, primes, strict=True))


def key_bodies(body: Buffer, parameters: BfvParameters) -> tuple[Buffer, list[Buffer]]:
    """A public key's body as the one of its encryption of zero and those of its key-switching keys."""
    cut, size = parameters.operand_bytes, parameters.switching_part_bytes
    return body[:cut], [body[cut + each * size : cut + (each + 1) * size] for each in range(parameters.switching_parts)]


def read_operand(
    body: Buffer, parameters: BfvParameters, primes: tuple[int, ...] | None = None
) -> tuple[bytes, Residues]:
    """The seed, and c0 [primes, N], of an operand's or key's body; refuses residues not below their primes.

    `parse` has checked its length. `primes`: what it is modulo; None: the operands' primes.
    """
    moduli = parameters.operand_primes if primes is None else primes
    c0 = np.empty((len(moduli), parameters.degree), np.uint64)
    at = SEED_BYTES
    for row, prime in zip(c0, moduli, strict=True):
        size = packed_size(parameters.degree, prime.bit_length())
        row[:] = unpack(body[at : at + size], parameters.degree, prime.bit_length())
        at += size
        if (row >= np.uint64(prime)).any():
            raise InvalidCiphertext("a residue is not below its prime")
        if not row.any():
            raise InvalidCiphertext("a polynomial of the peer's is transparent: it is zero")
    return bytes(body[:SEED_BYTES]), c0


def pack_reply(c0: Wide, c1: Wide, parameters: BfvParameters) -> bytes:
    """A reply's body from c0 at the results and c1 [N], scaled, c0 without the bits that are dropped."""
    return pack_wide(c0, parameters.sent_bits) + pack_wide(c1, parameters.reply_bits)


def read_reply(body: Buffer, places: int, parameters: BfvParameters) -> tuple[Wide, Wide]:
    """The inverse of `pack_reply`."""
    if len(body) != parameters.reply_bytes(places):
        raise InvalidCiphertext(
            f"a reply of {places} results holds {parameters.reply_bytes(places)} bytes, not {len(body)}"
        )
    cut = packed_size(places, parameters.sent_bits)
    c0 = unpack_wide(body[:cut], places, parameters.sent_bits)
    c1 = unpack_wide(body[cut:], parameters.degree, parameters.reply_bits)
    if not (c1.low.any() or c1.high.any()):
        raise InvalidCiphertext("the peer's reply is transparent: it is not encrypted")
    return c0, c1


# ---- c1 from its seed

_DRAW_BYTES = 6
"""Holds a residue modulo any data prime."""

_SPARE_DRAWS = 16
"""A draw is skipped once in 2^28, or more seldom."""


def uniform(seed: bytes, parameters: BfvParameters, primes: tuple[int, ...] | None = None) -> Residues:
    """a [primes, N] in transform form. `primes`: None for the operands' primes."""
    return uniform_of(expand(seed), parameters, primes)


def uniform_of(stream: Randomness, parameters: BfvParameters, primes: tuple[int, ...] | None = None) -> Residues:
    """The same from the stream of the seed."""
    moduli = parameters.operand_primes if primes is None else primes
    degree, count = parameters.degree, len(moduli) * parameters.degree
    out, draws, at = np.empty((len(moduli), degree), np.uint64), np.empty(0, np.uint64), 0
    for row, prime in zip(out, moduli, strict=True):
        filled = 0
        while filled < degree:
            if at == len(draws):
                count += _SPARE_DRAWS
                draws, at = unpack(stream.bytes(count * _DRAW_BYTES), count, 8 * _DRAW_BYTES), 0
                count = 0
            tried = draws[at : at + degree - filled] & np.uint64((1 << prime.bit_length()) - 1)
            good = tried[tried < np.uint64(prime)]
            row[filled : filled + len(good)] = good
            filled, at = filled + len(good), at + len(tried)
    return out
