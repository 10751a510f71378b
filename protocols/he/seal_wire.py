"""Bytes: this project's wire format for BFV, and SEAL's own format, both as numpy arrays of residues.

    peer's bytes -> parse header, unpack bits, check every residue -> arrays -> SEAL's format, written here -> SEAL

so that SEAL never parses a byte that a peer chose. Residues are packed to the bit: an 18-bit prime takes 18 bits.

    part     = header | body
    header   = magic "SHBV" | version u8 | kind u8 | parameter set u16 | key id 16 | index u32 | k_tile u32 | n_tile u32
    operand  : seed 64 | c0 mod each data prime                (SEAL expands the seed to c1)
    reply    : c0 mod each kept prime, result places only | c1 mod each kept prime
    key      : as an operand, of zero                          (key id, index and tiles are zero)

Integers are little-endian. `key id` is the start of the SHA-256 of the public key's part, so that an operand or a reply
under another key is told apart by name; whether a ciphertext is what it claims to be cannot be seen from outside.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import zstandard
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.he.parameters import BfvParameters

Residues = NDArray[np.uint64]

MAGIC = b"SHBV"
VERSION = 2
KEY_ID_BYTES = 16
SEED_BYTES = 64
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


def parse(part: object, kind: Kind, parameters: BfvParameters, key_id: bytes, index: int) -> tuple[Header, bytes]:
    """A peer's part as header and body, refused unless it is this kind, of this set, key and place in its bundle."""
    where = f"part {index} of the peer's {kind.name.lower().replace('_', ' ')}"
    if not isinstance(part, bytes) or len(part) < HEADER_BYTES:
        raise InvalidCiphertext(f"{where} is not bytes that hold a header")
    magic, version, got_kind, got_set, got_key, got_index, k_tile, n_tile = _HEADER.unpack_from(part)
    if magic != MAGIC or version != VERSION:
        raise InvalidCiphertext(f"{where} is not in version {VERSION} of the BFV format")
    if got_kind != kind:
        raise InvalidCiphertext(f"{where} is of kind {got_kind}, not {kind.value}")
    if got_set != parameters.identifier:
        own = f"{parameters.identifier} ({parameters.name})"
        raise InvalidCiphertext(f"{where} is of parameter set {got_set}, not {own}")
    if not hmac.compare_digest(got_key, key_id):
        raise InvalidCiphertext(f"{where} is under another key; both sides must use the key sent in this session")
    if got_index != index:
        raise InvalidCiphertext(f"{where} says that it is part {got_index}")
    return Header(kind, got_set, got_key, index, k_tile, n_tile), part[HEADER_BYTES:]


# ---- bit packing


def packed_size(count: int, width: int) -> int:
    """Bytes that `count` values of `width` bits take."""
    return -(-count * width // 8)


def lanes(width: int) -> tuple[int, int]:
    """How many values of `width` bits fill whole bytes, and how many bytes they fill."""
    count = 8 // math.gcd(width, 8)
    return count, count * width // 8


def pack(values: Residues, width: int) -> bytes:
    """Values below 2^width, to the bit. `width` is such that a value with its shift stays in a word (`parameters`)."""
    per_group, size = lanes(width)
    groups = -(-len(values) // per_group)
    missing = groups * per_group - len(values)
    padded = np.concatenate((values, np.zeros(missing, np.uint64))) if missing else values
    grouped = padded.astype("<u8", copy=False).reshape(groups, per_group)
    out = np.zeros((groups, size + 8), np.uint8)
    for lane in range(per_group):
        start, shift = divmod(lane * width, 8)
        shifted = grouped[:, lane] << np.uint64(shift)
        out[:, start : start + 8] |= shifted.view(np.uint8).reshape(groups, 8)
    return out[:, :size].tobytes()[: packed_size(len(values), width)]


def unpack(data: bytes, count: int, width: int) -> Residues:
    """The inverse of `pack`; refuses a wrong length and bits set beyond the last value."""
    if len(data) != packed_size(count, width):
        raise InvalidCiphertext(f"{count} residues of {width} bits take {packed_size(count, width)} bytes")
    per_group, size = lanes(width)
    groups = -(-count // per_group)
    raw = np.zeros((groups, size + 8), np.uint8)
    padded = data + bytes(groups * size - len(data))
    raw[:, :size] = np.frombuffer(padded, np.uint8).reshape(groups, size)
    out = np.empty((groups, per_group), np.uint64)
    for lane in range(per_group):
        start, shift = divmod(lane * width, 8)
        window = np.ascontiguousarray(raw[:, start : start + 8]).view("<u8")[:, 0]
        out[:, lane] = (window >> np.uint64(shift)) & np.uint64((1 << width) - 1)
    values = out.reshape(-1)
    if values[count:].any():
        raise InvalidCiphertext("bits are set beyond the last residue")
    return values[:count]


def pack_residues(residues: Residues, primes: tuple[int, ...]) -> bytes:
    """Residues [len(primes), count], prime by prime, each at its own width."""
    return b"".join(pack(row, prime.bit_length()) for row, prime in zip(residues, primes, strict=True))


def residues_size(count: int, primes: tuple[int, ...]) -> int:
    """Bytes that `pack_residues` makes."""
    return sum(packed_size(count, prime.bit_length()) for prime in primes)


def unpack_residues(data: bytes, primes: tuple[int, ...], count: int) -> Residues:
    """The inverse of `pack_residues`; refuses a residue that is not below its prime."""
    if len(data) != residues_size(count, primes):
        raise InvalidCiphertext(f"a polynomial takes {residues_size(count, primes)} bytes here, not {len(data)}")
    out = np.empty((len(primes), count), np.uint64)
    at = 0
    for row, prime in zip(out, primes, strict=True):
        size = packed_size(count, prime.bit_length())
        row[:] = unpack(data[at : at + size], count, prime.bit_length())
        at += size
        if (row >= np.uint64(prime)).any():
            raise InvalidCiphertext(f"a residue is not below its {prime.bit_length()}-bit prime")
    return out


def unpack_bodies(body: bytes, primes: tuple[int, ...], counts: tuple[int, ...]) -> list[Residues]:
    """Several polynomials, one after the other, with so many coefficients each."""
    sizes = [residues_size(count, primes) for count in counts]
    if len(body) != sum(sizes):
        raise InvalidCiphertext(f"a part of this kind and shape holds {sum(sizes)} bytes, not {len(body)}")
    out, at = [], 0
    for size, count in zip(sizes, counts, strict=True):
        out.append(unpack_residues(body[at : at + size], primes, count))
        at += size
    return out


# ---- SEAL 4's format (seal/serialization.h, ciphertext.h, plaintext.h)

_SEAL_HEADER = struct.Struct("<HBBBBHQ")  # magic, header size, version, compression, reserved, size of all
_CIPHERTEXT = struct.Struct("<32sBQQQdQ")  # parms_id, is NTT form, polynomials, N, primes, scale, correction factor
_BLAKE2XB = 1


Chunks = list[memoryview]
"""Bytes that make one object when they are written one after the other: spares copies of the arrays."""


def _seal_object(*chunks: bytes | memoryview) -> Chunks:
    size = _SEAL_HEADER.size + sum(map(len, chunks))
    header = _SEAL_HEADER.pack(0xA15E, _SEAL_HEADER.size, 4, 3, 0, 0, size)
    return [memoryview(chunk) for chunk in (header, *chunks)]


def _seal_array(*values: Residues) -> Chunks:
    words = [np.ascontiguousarray(part, "<u8").reshape(-1).view(np.uint8).data for part in values]
    return _seal_object(struct.pack("<Q", sum(part.size for part in values)), *words)


def seal_plaintext(ring: Residues) -> Chunks:
    """Coefficients [N] below the plain modulus, as SEAL loads a Plaintext."""
    return _seal_object(struct.pack("<32sQd", bytes(32), len(ring), 1.0), *_seal_array(ring))


def seal_ciphertext(parms_id: bytes, c0: Residues, c1: Residues, ntt: bool = False) -> Chunks:
    """Residues of c0 and c1, [primes, N] each, as SEAL loads a Ciphertext."""
    fields = _CIPHERTEXT.pack(parms_id, ntt, 2, c0.shape[1], c0.shape[0], 1.0, 1)
    return _seal_object(fields, *_seal_array(c0, c1))


def seal_seeded(parms_id: bytes, c0: Residues, seed: bytes) -> Chunks:
    """Residues of c0 [primes, N] and the seed of c1, as SEAL loads a Ciphertext and expands it."""
    fields = _CIPHERTEXT.pack(parms_id, False, 2, c0.shape[1], c0.shape[0], 1.0, 1)
    return _seal_object(fields, *_seal_array(c0), *_seal_object(struct.pack("<B", _BLAKE2XB) + seed))


def _inflate(saved: bytes) -> bytes:
    """The body of an object that SEAL saved. Own objects only: no limit on its size."""
    compression = saved[5]
    body = saved[_SEAL_HEADER.size :]
    if compression == 0:
        return body
    if compression != 2:
        raise InvalidInput(f"SEAL saved with compression {compression}; only none (0) and zstd (2) can be read here")
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


def _array_at(body: bytes, at: int, count: int) -> tuple[Residues, int]:
    at += _SEAL_HEADER.size
    if struct.unpack_from("<Q", body, at) != (count,):
        raise InvalidInput("SEAL saved an object of another size than this version of the format has")
    return np.frombuffer(body, "<u8", count, at + 8), at + 8 + 8 * count


def saved_ciphertext(saved: bytes, primes: int, degree: int) -> Residues:
    """Residues [2, primes, N] of a Ciphertext that SEAL saved here."""
    values, _ = _array_at(_inflate(saved), _CIPHERTEXT.size, 2 * primes * degree)
    return values.reshape(2, primes, degree)


def saved_seeded(saved: bytes, primes: int, degree: int) -> tuple[Residues, bytes]:
    """Residues of c0 [primes, N] and the seed of c1 of a symmetric encryption that SEAL saved here."""
    body = _inflate(saved)
    values, at = _array_at(body, _CIPHERTEXT.size, primes * degree)
    at += _SEAL_HEADER.size
    if len(body) != at + 1 + SEED_BYTES or body[at] != _BLAKE2XB:
        raise InvalidInput("SEAL did not save a seed of its Blake2xb generator")
    return values.reshape(primes, degree), body[at + 1 :]


def saved_plaintext(saved: bytes, degree: int) -> Residues:
    """Coefficients [N] of a Plaintext that SEAL saved here; SEAL leaves out leading zeros."""
    body = _inflate(saved)
    (count,) = struct.unpack_from("<Q", body, 32)
    values, _ = _array_at(body, 48, count)
    out = np.zeros(degree, np.uint64)
    out[:count] = values
    return out
