"""A BFV key that its owner has opened to a judge: decryption by the textbook, which looks at the noise as well.

    phase      c0 + c1 s = (q/t) m + v  (mod q)
    key        m = 0, s ternary, |v| <= 21                    `ERROR_BOUND` of protocols/he/flooded_set.py
    switching  what protocols/he/packing.py says, |v| <= 21   modulo q P in place of q
    operand    m = 0 where no entry lies, |v| <= 22           the same, and the rounding of q m / t
    reply      |v| <= `BfvParameters.reply_noise`             where a result lies; modulo 2^W in place of q

An honest party is always inside these bounds, they are no matter of chance. A key has one opening: for another s' the
difference s - s' would be a vector of 8192 entries up to 2 in size whose product with c1, which comes out of a hash of
its seed, is below 84 in all places; the chance that there is one is 5^N (84/q)^N.

Slow (about 50 ms a ciphertext) and simple: integers of any length, and no engine that a party may have computed with.
"""

from __future__ import annotations

import math
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext
from protocols.he import bfv_wire as wire
from protocols.he.bfv_parts import read_parts
from protocols.he.bfv_wire import Kind, Residues
from protocols.he.bit_packing import LIMB, Wide
from protocols.he.flooded_set import ERROR_BOUND
from protocols.he.interface import RING_BITS, CiphertextBundle, MatrixShape, OpenedKey
from protocols.he.layout import Layout, put_results
from protocols.he.packing import switching_row
from protocols.he.parameters import BfvParameters
from protocols.he.transforms import coefficients
from protocols.wire.varint import Buffer

Ring = NDArray[np.uint64]
Integers = NDArray[Any]
"""Python's, dtype object."""


class BfvOpenedKey(OpenedKey):
    """Arguments and errors as `Backend.open_key`; `secret` is N signed bytes, each -1, 0 or 1."""

    def __init__(self, parameters: BfvParameters, public_key: bytes, secret: bytes) -> None:
        self._parameters = parameters
        key = np.frombuffer(secret, np.int8)
        if len(key) != parameters.degree or not np.isin(key, (-1, 0, 1)).all():
            raise InvalidCiphertext(f"an opened key has {parameters.degree} coefficients from -1 to 1")
        self._key = key
        _, body = wire.parse(public_key, Kind.PUBLIC_KEY, parameters, wire.NO_KEY, 0)
        self._key_id = wire.key_id_of(public_key)
        zero, switching = wire.key_bodies(body, parameters)
        message, noise = self._open_seeded(zero)
        if message.any() or noise > ERROR_BOUND:
            raise InvalidCiphertext("the opened key does not belong to the public key that was sent")
        for index, part in enumerate(switching):
            if self._switching_noise(part, key, index) > ERROR_BOUND:
                raise InvalidCiphertext("a key-switching key of the public key is not of the opened key")

    def __repr__(self) -> str:
        return f"<BfvOpenedKey {self._parameters.name} key {self._key_id.hex()}>"

    def operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> Ring:
        parameters = self._parameters
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
        parameters = self._parameters
        layout, bodies = read_parts(bundle, Kind.REPLY, shape, parameters, self._key_id)
        out = np.empty((shape.m, shape.n), np.uint64)
        most = parameters.reply_noise()
        for index, body in enumerate(bodies):
            places = np.concatenate(layout.part_places(index))
            c0, c1 = (_integers(half) for half in wire.read_reply(body, len(places), parameters))
            values, noise = self._open(c0 << parameters.dropped_bits, c1, 1 << parameters.reply_bits, places)
            if noise > most:
                raise InvalidCiphertext("a reply is noisier than a product with a fresh operand can be")
            put_results(out, layout, index, values)
        return out

    def _open_seeded(self, body: Buffer) -> tuple[Ring, int]:
        parameters = self._parameters
        halves = self._halves(body, parameters.operand_primes)
        return self._open(*halves, math.prod(parameters.operand_primes), np.arange(parameters.degree))

    def _halves(self, body: Buffer, primes: tuple[int, ...]) -> tuple[Integers, Integers]:
        """c0 and c1 of a part that has a seed, as coefficients."""
        seed, c0 = wire.read_operand(body, self._parameters, primes)
        a = wire.uniform(seed, self._parameters, primes)
        c1 = np.stack([coefficients(row, prime) for row, prime in zip(a, primes, strict=True)])
        return _composed(c0, primes), _composed(c1, primes)

    def _switching_noise(self, body: Buffer, key: NDArray[np.int8], index: int) -> int:
        """The largest |e| of a key-switching key."""
        parameters, modulus = self._parameters, math.prod(self._parameters.primes)
        number, row = divmod(index, len(parameters.data_primes))
        message = np.zeros((len(parameters.primes), parameters.degree), np.uint64)
        message[row] = switching_row(key, number, row, parameters)
        c0, c1 = self._halves(body, parameters.primes)
        error = (c0 + self._times_key(c1, modulus) - _composed(message, parameters.primes)) % modulus
        return int(np.minimum(error, modulus - error).max())

    def _open(self, c0: Integers, c1: Integers, modulus: int, places: NDArray[np.int64]) -> tuple[Ring, int]:
        """m at these places, and the largest |v| there, rounded up."""
        phase = (c0 + self._times_key(c1, modulus)[places]) % modulus
        scaled = phase << RING_BITS
        message = (scaled + modulus // 2) // modulus
        noise = np.abs(scaled - message * modulus).max()
        return (message % (1 << RING_BITS)).astype(np.uint64), -(-int(noise) >> RING_BITS)

    def _times_key(self, polynomial: Integers, modulus: int) -> Integers:
        """polynomial times s over the integers, modulo x^N + 1, for coefficients below the modulus (Kronecker)."""
        degree = len(polynomial)
        offset = modulus * degree  # no coefficient of the product is larger, and none is negative with it
        slot = offset.bit_length() // 8 + 1
        key = _packed_bits(self._key == 1, slot) - _packed_bits(self._key == -1, slot)
        product = _packed(polynomial, slot) * key + offset * _packed_bits(np.ones(2 * degree, bool), slot)
        found = _unpacked(product, 2 * degree, slot)
        wrapped: Integers = found[:degree] - found[degree:]
        return wrapped


def _integers(values: Wide) -> Integers:
    """As Python's."""
    found: Integers = values.low.astype(object) + (values.high.astype(object) << LIMB)
    return found


def _composed(residues: Residues, primes: tuple[int, ...]) -> Integers:
    """Modulo the product, by the Chinese remainder theorem."""
    modulus, total = math.prod(primes), np.zeros(residues.shape[1], object)
    for row, prime in zip(residues, primes, strict=True):
        rest = modulus // prime
        total += row.astype(object) * (rest * pow(rest, -1, prime))
    found: Integers = total % modulus
    return found


def _packed(coefficients: Integers, slot: int) -> mpz:
    """One integer, `slot` bytes a coefficient."""
    return mpz.from_bytes(b"".join([each.to_bytes(slot, "little") for each in coefficients.tolist()]), "little")


def _packed_bits(bits: NDArray[np.bool_], slot: int) -> mpz:
    """The same for coefficients that are 0 or 1."""
    raw = np.zeros((len(bits), slot), np.uint8)
    raw[:, 0] = bits
    return mpz.from_bytes(raw.tobytes(), "little")


def _unpacked(product: mpz, count: int, slot: int) -> Integers:
    """The slots of a product."""
    raw = gmpy2.mpz(product).to_bytes(count * slot, "little")
    return np.array([int.from_bytes(raw[at : at + slot], "little") for at in range(0, len(raw), slot)], object)


def _matrix_of(polynomials: Ring, layout: Layout) -> Ring:
    """The inverse of `Layout.operand`."""
    k_tile, n_tile = layout.k_tile, layout.n_tile
    tiles = polynomials[:, : k_tile * n_tile].reshape(layout.n_tiles, layout.k_tiles, n_tile, k_tile)
    padded = tiles.transpose(1, 3, 0, 2).reshape(layout.k_tiles * k_tile, layout.n_tiles * n_tile)
    return np.ascontiguousarray(padded[: layout.shape.k, : layout.shape.n])
