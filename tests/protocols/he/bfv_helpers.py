"""What only tests may do with BFV: read noise with the key owner's eyes, and switch one protection off at a time."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from flint import fmpz_poly
from numpy.typing import NDArray

from protocols.core.randomness import OsRandomness
from protocols.he import bfv_wire as wire
from protocols.he.bfv import BfvBackend, BfvPublic, BfvSecret
from protocols.he.bfv_engine import FLOODING_BYTES
from protocols.he.bit_packing import LIMB
from protocols.he.engines import chosen, make_engine
from protocols.he.interface import RING_BITS
from protocols.he.parameters import TRAINING, BfvParameters
from protocols.he.seal_engine import SealEngine, SealMask
from protocols.he.transforms import coefficients

T = 1 << RING_BITS
ENGINE = chosen()
"""The name of what computes on this machine, unless a test asks for another."""


def backend(parameters: BfvParameters = TRAINING, engine: str = ENGINE) -> BfvBackend:
    """By the engine of this name."""
    return _party(parameters, 0, engine)[0]


def secret(parameters: BfvParameters = TRAINING, number: int = 0, engine: str = ENGINE) -> BfvSecret:
    return _party(parameters, number, engine)[1]


def public(parameters: BfvParameters = TRAINING, number: int = 0, engine: str = ENGINE) -> BfvPublic:
    return _party(parameters, number, engine)[2]


@lru_cache
def _party(parameters: BfvParameters, number: int, engine: str) -> tuple[BfvBackend, BfvSecret, BfvPublic]:
    """Key pair `number`; made once, as contexts and keys take time."""
    scheme = (
        _party(parameters, 0, engine)[0] if number else BfvBackend(parameters, None, make_engine(parameters, engine))
    )
    owner = scheme.generate()
    return scheme, owner, scheme.load_public(owner.public_key())


class Watching(SealEngine):
    """SEAL's engine that keeps every ciphertext as it is before it is scaled, [2, data primes, N], and its places."""

    def __init__(self, parameters: BfvParameters) -> None:
        super().__init__(parameters)
        self.seen: list[NDArray[np.uint64]] = []
        self.places: list[NDArray[np.int64]] = []

    def _reply_body(self, c0: Any, c1: Any, places: NDArray[np.int64]) -> bytes:
        flooded = np.zeros_like(c1)
        flooded[:, places] = c0
        self.seen.append(np.stack((flooded, c1)))
        self.places.append(places)
        return super()._reply_body(c0, c1, places)


class Unflooded(Watching):
    """Adds the encryption of zero, and no flooding noise."""

    def _flooding(self, words: bytes) -> NDArray[np.uint64]:
        return np.zeros((len(self.parameters.data_primes), len(words) // FLOODING_BYTES), np.uint64)


class Unmasked(Watching):
    """Adds flooding noise, and no encryption of zero: u and e2 are 0."""

    def mask(self, key: Any, words: bytes) -> SealMask:
        nothing = np.zeros((len(self.parameters.data_primes), self.parameters.degree), np.uint64)
        return SealMask(np.stack((nothing, nothing)), nothing)


@lru_cache
def _watching(kind: type[Watching], parameters: BfvParameters) -> Watching:
    return kind(parameters)


class Watched(BfvPublic):
    """A peer's key under an engine that keeps what it sees."""

    kind = Watching

    def __init__(self, parameters: BfvParameters = TRAINING) -> None:
        self.engine = _watching(self.kind, parameters)
        self.seen, self.places = self.engine.seen, self.engine.places = [], []
        super().__init__(self.engine, secret(parameters).public_key(), OsRandomness())


class WithoutFlooding(Watched):
    """Adds no flooding noise."""

    kind = Unflooded


class WithoutZero(Watched):
    """Adds no encryption of zero."""

    kind = Unmasked


def compose(residues: NDArray[np.uint64], primes: tuple[int, ...]) -> NDArray[Any]:
    """Residues [primes, N] as Python integers mod the product, by the Chinese remainder theorem."""
    modulus = math.prod(primes)
    total = np.zeros(residues.shape[1], object)
    for row, prime in zip(residues, primes, strict=True):
        rest = modulus // prime
        total = total + row.astype(object) * (rest * pow(rest, -1, prime))
    return total % modulus


def negacyclic(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """left * right mod x^N + 1 over the integers."""
    degree = len(left)
    product = fmpz_poly([int(x) for x in left]) * fmpz_poly([int(x) for x in right])
    coefficients = [int(x) for x in product.coeffs()] + [0] * (2 * degree)
    return np.array(coefficients[:degree], object) - np.array(coefficients[degree : 2 * degree], object)


@lru_cache
def key_polynomial(owner: BfvSecret) -> NDArray[Any]:
    """The owner's ternary s."""
    return np.frombuffer(owner.exported(), np.int8).astype(object)


def scaled_noise(owner: BfvSecret, polynomials: NDArray[np.uint64]) -> NDArray[Any]:
    """t v, exactly: with phase = (q/t) m + v, t * phase is t v mod q whatever m is."""
    parameters = owner._engine.parameters
    c0, c1 = (compose(half, parameters.data_primes) for half in polynomials)
    return _noise(c0 + negacyclic(c1, key_polynomial(owner)), parameters.modulus)


def sent_reply(part: bytes, places: int, parameters: BfvParameters = TRAINING) -> tuple[NDArray[Any], NDArray[Any]]:
    """c0 at the places, with its dropped bits as zeros, and c1, as integers modulo 2^W."""
    c0, c1 = (
        half.low.astype(object) + half.high.astype(object) * 2**LIMB
        for half in wire.read_reply(part[wire.HEADER_BYTES :], places, parameters)
    )
    return c0 << parameters.dropped_bits, c1


def scaled_noise_as_sent(owner: BfvSecret, part: bytes, places: NDArray[np.int64]) -> NDArray[Any]:
    """t v at the places of a reply as it was sent: modulo 2^W in place of q."""
    parameters = owner._engine.parameters
    c0, c1 = sent_reply(part, len(places), parameters)
    return _noise(c0 + negacyclic(c1, key_polynomial(owner))[places], 1 << parameters.reply_bits)


def _noise(phase: NDArray[Any], modulus: int) -> NDArray[Any]:
    scaled = phase * T % modulus
    return np.where(scaled > modulus // 2, scaled - modulus, scaled)


def operand_polynomials(owner: BfvSecret, part: bytes) -> NDArray[np.uint64]:
    """[2, data primes, N] of one operand part, c1 expanded from its seed."""
    parameters = owner._engine.parameters
    seed, c0 = wire.read_operand(part[wire.HEADER_BYTES :], parameters)
    rows = zip(wire.uniform(seed, parameters), parameters.data_primes, strict=True)
    return np.stack((c0, np.stack([coefficients(row, prime) for row, prime in rows])))
