"""The only door to randomness for everything that must be secret.

    OsRandomness            the operating system's CSPRNG: keys, scalars, seeds, nonces
    ChaCha20Randomness      expands a 32-byte seed (RFC 8439 keystream): masks, permutations, noise, in bulk
    KeyedFunction           a PRF of any length: the same answer for the same question, for who has the key
    SeededRandomness        NOT SECRET: a run that can be repeated, for tests and comparisons only

Everything in `protocols/` takes a `Randomness`, so test vectors can be made with a seeded one.

Reference: RFC 8439 (ChaCha20; the full 128-bit counter-and-nonce block starts at zero because every seed is used once);
FIPS 202 (SHAKE256); NIST SP 800-185 (the key padded to a block, as in KMAC).
"""

from __future__ import annotations

import hashlib
import math
import os
from abc import ABC, abstractmethod

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput

SEED_BYTES = 32
_AT_ONCE = 1 << 17
_ZEROS = memoryview(bytes(_AT_ONCE))
Bytes = bytes  # inside the classes below, `bytes` is the method


class Randomness(ABC):
    """A source of uniform bytes, and the distributions that protocols draw from it."""

    @abstractmethod
    def bytes(self, count: int) -> bytes:
        """`count` uniform bytes, never returned before."""

    def octets(self, count: int) -> NDArray[np.uint8]:
        """The same as an array of its own: a source of much need not copy it."""
        return np.frombuffer(bytearray(self.bytes(count)), np.uint8)

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform words of 64 bits, little-endian in the stream, as an array of their own."""
        return self.octets(8 * count).view("<u8").astype(np.uint64, copy=False)

    def seed(self) -> Bytes:
        """A fresh 32-byte seed for `ChaCha20Randomness`."""
        return self.bytes(SEED_BYTES)

    def ring(self, shape: tuple[int, ...], bits: int) -> NDArray[np.uint64]:
        """Uniform elements of Z_{2^bits}, dtype uint64."""
        if not 1 <= bits <= 64:
            raise InvalidInput(f"a ring has 1 to 64 bits, not {bits}")
        words = self.words(math.prod(shape))
        words >>= np.uint64(64 - bits)
        return words.reshape(shape)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A uniform permutation of range(count): ranks of 128-bit keys, so ties have a chance of count^2 / 2^129."""
        low, high = self.words(2 * count).reshape(2, count)
        order = np.argsort(high)
        ordered = high[order]
        if (ordered[1:] == ordered[:-1]).any():  # sorting by both words takes six times as long
            order = np.lexsort((low, high))
        return order.astype(np.int64, copy=False)

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Uniform float64 in [0, 1) with 53 random bits."""
        return self.ring(shape, 53).astype(np.float64) * 2.0**-53

    def gaussian(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Standard normal float64 by Box-Muller (tails cut at 8.6 standard deviations by the 53-bit uniforms)."""
        count = math.prod(shape)
        half = (count + 1) // 2
        return box_muller(self.words(2 * half).reshape(2, half)).reshape(-1)[:count].reshape(shape)


def box_muller(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform 64-bit words [..., 2, n] to standard normal float64 of the same shape."""
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log1p(-uniform[..., 0, :]))
    angle = 2.0 * np.pi * uniform[..., 1, :]
    normal = np.empty(words.shape)
    np.multiply(radius, np.cos(angle), out=normal[..., 0, :])
    np.multiply(radius, np.sin(angle), out=normal[..., 1, :])
    return normal


class OsRandomness(Randomness):
    """`os.urandom`: what secrets are made from."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


class ChaCha20Randomness(Randomness):
    """The ChaCha20 keystream of a seed: as good as its seed, about a gigabyte a second, and never rewound."""

    def __init__(self, seed: bytes) -> None:
        if not isinstance(seed, bytes) or len(seed) != SEED_BYTES:
            raise InvalidInput(f"a ChaCha20 seed has {SEED_BYTES} bytes")
        self._stream = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor()

    def bytes(self, count: int) -> bytes:
        return self._stream.update(bytes(count))

    def octets(self, count: int) -> NDArray[np.uint8]:
        out = np.empty(count, np.uint8)
        self.fill(out)
        return out

    def fill(self, out: NDArray[np.uint8]) -> None:
        """The next len(out) bytes, into memory that is there: nothing is allocated."""
        for start in range(0, len(out), _AT_ONCE):
            part = out[start : start + _AT_ONCE].data
            self._stream.update_into(_ZEROS[: len(part)], part)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise InvalidInput("a random stream is used in one place only; send its seed through the protocol instead")


class SeededRandomness(ChaCha20Randomness):
    """NOT SECRET. Repeats itself for the same number and label; for vectors, parity tests and benchmarks only."""

    def __init__(self, number: int, label: str) -> None:
        super().__init__(hashlib.sha256(f"secure-hfl not secret/{label}/{number}".encode()).digest())


class KeyedFunction:
    """x -> `count` bytes that look uniform to whoever lacks the key: SHAKE256(key, padded to a block || head || x).

    A third of the time of a seed and a ChaCha20 stream for every x, where answers have a few hundred bytes.

    Args:
        key: 32 secret bytes.
        head: what all questions have in common; of one length wherever one key is used.
    """

    _BLOCK = 136
    """SHAKE256's rate: the key has a block to itself, which is absorbed once."""

    def __init__(self, key: bytes, head: bytes = b"") -> None:
        if not isinstance(key, bytes) or len(key) != SEED_BYTES:
            raise InvalidInput(f"a key has {SEED_BYTES} bytes")
        self._state = hashlib.shake_256(key.ljust(self._BLOCK, b"\0") + head)

    def __call__(self, x: bytes, count: int) -> bytes:
        """The first `count` bytes of the answer to x."""
        state = self._state.copy()
        state.update(x)
        return state.digest(count)

    def of_rows(self, rows: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
        """The answers to the bytes of each row of [B, k]: [B, count]."""
        answers = bytearray()
        for row in np.ascontiguousarray(rows):
            state = self._state.copy()
            state.update(row)
            answers += state.digest(count)
        return np.frombuffer(answers, np.uint8).reshape(len(rows), count)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"


def expand(seed: bytes) -> ChaCha20Randomness:
    """The stream of a seed."""
    return ChaCha20Randomness(seed)
