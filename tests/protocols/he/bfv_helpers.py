"""What only tests may do with BFV: read noise with the key owner's eyes, and switch one protection off at a time."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from flint import fmpz_poly
from numpy.typing import NDArray

from protocols.core.randomness import OsRandomness, Randomness
from protocols.he import seal_wire as wire
from protocols.he.bfv import BfvBackend, BfvPublic, BfvSecret, Mask
from protocols.he.interface import RING_BITS
from protocols.he.parameters import TRAINING, BfvParameters

T = 1 << RING_BITS


def backend(parameters: BfvParameters = TRAINING) -> BfvBackend:
    return _party(parameters, 0)[0]


def secret(parameters: BfvParameters = TRAINING, number: int = 0) -> BfvSecret:
    return _party(parameters, number)[1]


def public(parameters: BfvParameters = TRAINING, number: int = 0) -> BfvPublic:
    return _party(parameters, number)[2]


@lru_cache
def _party(parameters: BfvParameters, number: int) -> tuple[BfvBackend, BfvSecret, BfvPublic]:
    """Key pair `number`; made once, as contexts and keys take time."""
    scheme = _party(parameters, 0)[0] if number else BfvBackend(parameters)
    owner = scheme.generate()
    return scheme, owner, scheme.load_public(owner.public_key())


class Watched(BfvPublic):
    """Keeps a copy of every ciphertext as it is before primes are dropped, [2, data primes, N], and its places."""

    def __init__(self, parameters: BfvParameters = TRAINING) -> None:
        super().__init__(backend(parameters)._seal, secret(parameters).public_key(), OsRandomness())
        self.seen: list[NDArray[np.uint64]] = []
        self.places: list[NDArray[np.int64]] = []

    def _reply_body(self, hidden: Any, places: NDArray[np.int64]) -> bytes:
        parameters = self._seal.parameters
        saved = self._seal.save(hidden)
        self.seen.append(wire.saved_ciphertext(saved, len(parameters.data_primes), parameters.degree).copy())
        self.places.append(places)
        return super()._reply_body(hidden, places)


class WithoutFlooding(Watched):
    """Adds the encryption of zero, and no flooding noise."""

    def _flooding(self, stream: Randomness, count: int) -> NDArray[np.uint64]:
        return np.zeros((len(self._seal.parameters.data_primes), count), np.uint64)


class WithoutZero(Watched):
    """Adds flooding noise, and no encryption of zero: u and e2 are 0."""

    def _make_mask(self) -> Mask:
        parameters = self._seal.parameters
        nothing = np.zeros((len(parameters.data_primes), parameters.degree), np.uint64)
        raw = wire.seal_ciphertext(self._seal.data_level, nothing, nothing, ntt=True)
        return Mask(self._seal.load(seal.Ciphertext(self._seal.context), raw), nothing)


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
    """The owner's ternary s, which it gets by decrypting (0, q/t): that has the phase (q/t) s."""
    parameters = owner._seal.parameters
    scale = round(math.prod(parameters.data_primes) / T)
    polynomials = np.zeros((2, len(parameters.data_primes), parameters.degree), np.uint64)
    polynomials[1, :, 0] = [scale % prime for prime in parameters.data_primes]
    plain = seal.Plaintext()
    owner._decryptor.decrypt(owner._seal.ciphertext(polynomials, owner._seal.data_level), plain)
    ring = wire.saved_plaintext(owner._seal.save(plain), parameters.degree).astype(object)
    return np.where(ring == T - 1, -1, ring)


def scaled_noise(owner: BfvSecret, polynomials: NDArray[np.uint64]) -> NDArray[Any]:
    """t v, exactly: with phase = (q/t) m + v, t * phase is t v mod q whatever m is. At any level."""
    primes = owner._seal.parameters.primes[: polynomials.shape[1]]
    modulus = math.prod(primes)
    c0, c1 = (compose(half, primes) for half in polynomials)
    scaled = (c0 + negacyclic(c1, key_polynomial(owner))) * T % modulus
    return np.where(scaled > modulus // 2, scaled - modulus, scaled)


def operand_polynomials(owner: BfvSecret, part: bytes) -> NDArray[np.uint64]:
    """[2, data primes, N] of one operand part, c1 expanded from its seed."""
    engine = owner._seal
    body = part[wire.HEADER_BYTES :]
    primes, degree = engine.parameters.data_primes, engine.parameters.degree
    c0 = wire.unpack_residues(body[wire.SEED_BYTES :], primes, degree)
    raw = wire.seal_seeded(engine.data_level, c0, body[: wire.SEED_BYTES])
    loaded = engine.load(seal.Ciphertext(engine.context), raw)
    return wire.saved_ciphertext(engine.save(loaded), len(primes), degree)
