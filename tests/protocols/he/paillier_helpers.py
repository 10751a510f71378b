"""What only tests may do with Paillier: make a key once, look at the integers in slots, switch masks off."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from protocols.core.randomness import OsRandomness, Randomness
from protocols.he.interface import RING_BITS, CiphertextBundle, MatrixShape
from protocols.he.paillier import PaillierBackend, PaillierPublicSide, PaillierSecretSide
from protocols.he.paillier_math import REPLY
from protocols.he.paillier_parameters import PARAMETER_SETS

SHORT = "paillier-2048"


class ConstantRandomness(Randomness):
    """NOT RANDOM: every byte is the same."""

    def __init__(self, byte: int) -> None:
        self.byte = byte

    def bytes(self, count: int) -> bytes:
        return bytes([self.byte]) * count


@lru_cache
def _sides(name: str, number: int) -> tuple[PaillierSecretSide, PaillierPublicSide]:
    backend = PaillierBackend(PARAMETER_SETS[name])
    base = name.removesuffix("-full")
    owner = backend.generate() if name == base else backend.from_primes(*primes(base, number))
    return owner, backend.load_public(owner.public_key())


def secret(name: str = SHORT, number: int = 0) -> PaillierSecretSide:
    """The owner of a key made once a run. Different numbers are different keys; `-full` sets share primes."""
    return _sides(name, number)[0]


def public(name: str = SHORT, number: int = 0) -> PaillierPublicSide:
    """The evaluator for `secret(name, number)`."""
    return _sides(name, number)[1]


def primes(name: str = SHORT, number: int = 0) -> tuple[int, int]:
    """The primes of `secret(name, number)`."""
    key = secret(name, number)._key
    return int(key.p), int(key.q)


def public_with(randomness: Randomness) -> PaillierPublicSide:
    """An evaluator for `secret()` that draws from `randomness`."""
    return PaillierBackend(PARAMETER_SETS[SHORT], randomness).load_public(secret().public_key())


def public_with_masks(masks: Randomness) -> PaillierPublicSide:
    """An evaluator for `secret()` that re-randomises as it should, but draws the masks of slots from `masks`."""
    evaluator = public_with(OsRandomness())
    evaluator._randomness = masks
    return evaluator


def reference(factor: NDArray[np.int64], matrix: NDArray[np.uint64], addend: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """X M + R mod 2^59 in Python integers."""
    exact = factor.astype(object) @ matrix.astype(object) + addend.astype(object)
    return (exact % (1 << RING_BITS)).astype(np.uint64)


def draw(
    shape: MatrixShape, randomness: Randomness | None = None
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
    """A uniform X, M and R of this shape."""
    source = randomness or OsRandomness()
    limit = 1 << shape.factor_bits
    factor = source.ring((shape.m, shape.k), shape.factor_bits + 1).astype(np.int64) - limit
    matrix, addend = source.ring((shape.k, shape.n), RING_BITS), source.ring((shape.m, shape.n), RING_BITS)
    return np.maximum(factor, 1 - limit), matrix, addend


def run_product(
    owner: PaillierSecretSide,
    evaluator: PaillierPublicSide,
    shape: MatrixShape,
    inputs: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]],
) -> NDArray[np.uint64]:
    """The whole protocol for one product."""
    factor, matrix, addend = inputs
    operand = evaluator.load_operand(owner.encrypt(matrix, shape), shape)
    return owner.decrypt(evaluator.multiply_add(factor, operand, addend, shape), shape)


def plaintexts(owner: PaillierSecretSide, reply: CiphertextBundle, shape: MatrixShape) -> list[mpz]:
    """The integers that a key owner decrypts, before anything is taken modulo the ring."""
    layout = owner._public.parameters.layout(shape)
    return owner._key.decrypt(owner._public.read(reply, REPLY, layout))


def slot_integers(owner: PaillierSecretSide, reply: CiphertextBundle, shape: MatrixShape) -> list[list[int]]:
    """The integer in every slot, [m][n], for shapes with one ciphertext a row."""
    layout = owner._public.parameters.layout(shape)
    assert layout.fold == len(layout.chunks) == 1
    bits = 8 * layout.slot_bytes
    mask = (1 << bits) - 1
    return [[int(m >> (bits * j) & mask) for j in range(shape.n)] for m in plaintexts(owner, reply, shape)]
