"""SEAL 4's own format, written and read here: only this process's own objects, never a peer's bytes.

Reference: seal/serialization.h, ciphertext.h, plaintext.h of SEAL 4.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import zstandard
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput

Residues = NDArray[np.uint64]

Chunks = list[memoryview]
"""Bytes that make one object when they are written one after the other: spares copies of the arrays."""

_HEADER = struct.Struct("<HB2sBHQ")  # magic, header size, version, compression, reserved, size of all
_CIPHERTEXT = struct.Struct("<32sBQQQdQ")  # parms_id, is NTT form, polynomials, N, primes, scale, correction factor


def _object(version: bytes, *chunks: bytes | memoryview) -> Chunks:
    size = _HEADER.size + sum(map(len, chunks))
    header = _HEADER.pack(0xA15E, _HEADER.size, version, 0, 0, size)
    return [memoryview(chunk) for chunk in (header, *chunks)]


def _array(version: bytes, *values: Residues) -> Chunks:
    words = [np.ascontiguousarray(part, "<u8").reshape(-1).view(np.uint8).data for part in values]
    return _object(version, struct.pack("<Q", sum(part.size for part in values)), *words)


def version_of(saved: bytes) -> bytes:
    """Of the format, which SEAL reads in its own version only: major, minor."""
    return saved[3:5]


def plaintext(version: bytes, ring: Residues) -> Chunks:
    """Coefficients [N] below the plain modulus, as SEAL loads a Plaintext."""
    return _object(version, struct.pack("<32sQd", bytes(32), len(ring), 1.0), *_array(version, ring))


def ciphertext(version: bytes, parms_id: bytes, polynomials: Sequence[Residues], ntt: bool) -> Chunks:
    """Residues of polynomials, [primes, N] each, as SEAL loads a Ciphertext. `ntt`: they are in transform form."""
    primes, degree = polynomials[0].shape
    fields = _CIPHERTEXT.pack(parms_id, ntt, len(polynomials), degree, primes, 1.0, 1)
    return _object(version, fields, *_array(version, *polynomials))


def saved_ciphertext(saved: bytes, primes: int, degree: int) -> Residues:
    """Residues [2, primes, N] of a Ciphertext that SEAL saved here."""
    compression, body = saved[5], saved[_HEADER.size :]
    if compression not in (0, 2):
        raise InvalidInput(f"SEAL saved with compression {compression}; only none (0) and zstd (2) can be read here")
    at, count = _CIPHERTEXT.size + _HEADER.size, 2 * primes * degree
    if compression:
        body = zstandard.ZstdDecompressor().decompress(body, at + 8 * (count + 1))
    if struct.unpack_from("<Q", body, at) != (count,):
        raise InvalidInput("SEAL saved an object of another size than this version of the format has")
    return np.frombuffer(body, "<u8", count, at + 8).reshape(2, primes, degree)
