"""A BFV key that its owner has opened to a judge: decryption by the textbook, which looks at the noise as well.

    phase      c0 + c1 s = (q/t) m + v  (mod q)
    key        m = 0, s ternary, |v| <= 21                    `ERROR_BOUND` of protocols/he/parameters.py
    operand    m = 0 where no entry lies, |v| <= 22           the same, and the rounding of q m / t
    reply      |v| <= `BfvParameters.reply_noise`             where a result lies

An honest party is always inside these bounds, they are no matter of chance. A key has one opening: for another s' the
difference s - s' would be a vector of 8192 entries up to 2 in size whose product with c1, which comes out of a hash of
its seed, is below 84 in all places; the chance that there is one is 5^N (84/q)^N.

Slow (about 50 ms a ciphertext) and simple: SEAL only expands the seed of c1.
"""

from __future__ import annotations

import math
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext
from protocols.he import seal_wire as wire
from protocols.he.interface import RING_BITS, CiphertextBundle, MatrixShape, OpenedKey
from protocols.he.layout import Layout
from protocols.he.parameters import ERROR_BOUND
from protocols.he.residues import multiply_by, reduce_once
from protocols.he.seal_engine import SealEngine
from protocols.he.seal_parts import read_parts
from protocols.he.seal_wire import Kind, Residues

Ring = NDArray[np.uint64]

_SLOT_BYTES = 10
"""A coefficient of a product of N = 8192 residues of 60 bits has 73."""


class BfvOpenedKey(OpenedKey):
    """Arguments and errors as `Backend.open_key`; `secret` is N signed bytes, each -1, 0 or 1."""

    def __init__(self, engine: SealEngine, public_key: bytes, secret: bytes) -> None:
        parameters = engine.parameters
        self._seal = engine
        key = np.frombuffer(secret, np.int8)
        if len(key) != parameters.degree or np.abs(key).max() > 1:
            raise InvalidCiphertext(f"an opened key has {parameters.degree} coefficients from -1 to 1")
        self._ones, self._minus_ones = (_packed((key == sign).astype(np.uint64)) for sign in (1, -1))
        _, body = wire.parse(public_key, Kind.PUBLIC_KEY, parameters, wire.NO_KEY, 0)
        self._key_id = wire.key_id_of(public_key)
        message, noise = self._open_seeded(body)
        if message.any() or noise > ERROR_BOUND:
            raise InvalidCiphertext("the opened key does not belong to the public key that was sent")

    def __repr__(self) -> str:
        return f"<BfvOpenedKey {self._seal.parameters.name} key {self._key_id.hex()}>"

    def operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> Ring:
        parameters = self._seal.parameters
        layout, bodies = read_parts(bundle, Kind.OPERAND, shape, parameters, self._key_id)
        polynomials = np.empty((len(bodies), parameters.degree), np.uint64)
        for row, body in zip(polynomials, bodies, strict=True):
            row[:], noise = self._open_seeded(body)
            if noise > ERROR_BOUND + 1:
                raise InvalidCiphertext("an operand is noisier than a fresh encryption can be")
        matrix = _matrix_of(polynomials, layout)
        wanted = np.zeros_like(polynomials)
        tiles = layout.operand(matrix)
        wanted[:, : tiles.shape[1]] = tiles
        if not np.array_equal(wanted, polynomials):
            raise InvalidCiphertext("an operand holds something where no entry of its matrix lies")
        return matrix

    def reply(self, bundle: CiphertextBundle, shape: MatrixShape) -> Ring:
        parameters = self._seal.parameters
        layout, bodies = read_parts(bundle, Kind.REPLY, shape, parameters, self._key_id)
        out = np.empty((shape.m, shape.n), np.uint64)
        most = parameters.reply_noise()
        for index, body in enumerate(bodies):
            group, n_index = divmod(index, layout.n_tiles)
            places = layout.places(group, n_index)
            c0, c1 = wire.unpack_bodies(body, parameters.reply_primes, (len(places), parameters.degree))
            values, noise = self._open(c0, c1, parameters.reply_primes, places)
            if noise > most:
                raise InvalidCiphertext("a reply is noisier than a product with a fresh operand can be")
            window = layout.window(group, n_index)
            out[window] = values.reshape(out[window].shape)
        return out

    def _open_seeded(self, body: bytes) -> tuple[Ring, int]:
        parameters = self._seal.parameters
        c0, c1 = self._seal.expanded(body)
        return self._open(c0, c1, parameters.data_primes, np.arange(parameters.degree))

    def _open(self, c0: Residues, c1: Residues, primes: tuple[int, ...], places: NDArray[np.int64]) -> tuple[Ring, int]:
        """m at these places, and the largest |v| there, rounded up."""
        modulus = math.prod(primes)
        phase: Any = np.zeros(len(places), object)
        for row, other, prime in zip(c0, c1, primes, strict=True):
            residues = reduce_once(row + self._times_key(other, prime)[places], prime).astype(object)
            rest = modulus // prime
            phase += residues * (rest * pow(rest, -1, prime))
        scaled = (phase % modulus) << RING_BITS
        message = (scaled + modulus // 2) // modulus
        noise = np.abs(scaled - message * modulus).max()
        return (message % (1 << RING_BITS)).astype(np.uint64), -(-int(noise) >> RING_BITS)

    def _times_key(self, polynomial: Residues, prime: int) -> Residues:
        """polynomial times s, modulo x^N + 1 and the prime."""
        packed, degree = _packed(polynomial), len(polynomial)
        plus, minus = (_unpacked(packed * part, 2 * degree, prime) for part in (self._ones, self._minus_ones))
        difference = reduce_once(plus + (np.uint64(prime) - minus), prime)
        return reduce_once(difference[:degree] + (np.uint64(prime) - difference[degree:]), prime)


def _packed(coefficients: Ring) -> mpz:
    """One integer, a slot a coefficient (Kronecker)."""
    slots = np.zeros((len(coefficients), _SLOT_BYTES), np.uint8)
    slots[:, :8] = np.ascontiguousarray(coefficients, "<u8").view(np.uint8).reshape(-1, 8)
    return mpz.from_bytes(slots.tobytes(), "little")


def _unpacked(product: mpz, count: int, prime: int) -> Residues:
    """The slots of a product, modulo a prime."""
    raw = gmpy2.mpz(product).to_bytes(count * _SLOT_BYTES, "little")
    slots = np.frombuffer(raw, np.uint8).reshape(count, _SLOT_BYTES)
    low = np.ascontiguousarray(slots[:, :8]).view("<u8")[:, 0]
    high = np.ascontiguousarray(slots[:, 8:]).view("<u2")[:, 0].astype(np.uint64)
    return reduce_once(low % np.uint64(prime) + multiply_by(high, (1 << 64) % prime, prime), prime)


def _matrix_of(polynomials: Ring, layout: Layout) -> Ring:
    """The inverse of `Layout.operand`."""
    k_tile, n_tile = layout.k_tile, layout.n_tile
    tiles = polynomials[:, : k_tile * n_tile].reshape(layout.n_tiles, layout.k_tiles, n_tile, k_tile)
    padded = tiles.transpose(1, 3, 0, 2).reshape(layout.k_tiles * k_tile, layout.n_tiles * n_tile)
    return np.ascontiguousarray(padded[: layout.shape.k, : layout.shape.n])
