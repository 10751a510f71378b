"""Fuzz targets for ciphertexts and keys. SEAL is C++: a crash there would kill the process, so what it accepts is used.

Whatever a peer sends is refused as an `InvalidCiphertext`, or goes through a whole product and decrypts to something.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from protocols.core.errors import InvalidCiphertext
from protocols.core.randomness import SeededRandomness
from protocols.he.bfv import BfvBackend
from protocols.he.interface import RING_BITS, Backend, CiphertextBundle, MatrixShape, PublicSide, SecretSide
from protocols.he.paillier import PaillierBackend, PaillierPublicSide
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.messages import ProjectionKey
from protocols.schemes.encrypted.messages import Projection
from protocols.schemes.shares.messages import HostShare
from tests.fuzz.allowed import refused
from tests.fuzz.corpus import message_of, tree_of
from tests.fuzz.recipe import Recipe, alter

_VECTORS = Path(__file__).parent.parent / "vectors" / "paillier.json"
_SOURCE = SeededRandomness(1, "fuzz")


@dataclass(frozen=True)
class _Product:
    """One product, honestly made."""

    shape: MatrixShape
    factor: Any
    addend: Any
    operand: HostShare
    reply: Projection


@dataclass(frozen=True)
class _Setting:
    """A scheme with a key pair."""

    backend: Backend
    secret: SecretSide
    public: PublicSide
    products: tuple[_Product, ...]

    @classmethod
    def of(cls, backend: Backend, secret: SecretSide, *shapes: MatrixShape) -> _Setting:
        public = backend.load_public(secret.public_key())
        return cls(backend, secret, public, tuple(_product(secret, public, shape) for shape in shapes))


def _product(secret: SecretSide, public: PublicSide, shape: MatrixShape) -> _Product:
    factor = _SOURCE.ring((shape.m, shape.k), shape.factor_bits).astype(np.int64)
    addend = _SOURCE.ring((shape.m, shape.n), RING_BITS)
    operand = secret.encrypt(_SOURCE.ring((shape.k, shape.n), RING_BITS), shape)
    reply = public.multiply_add(factor, public.load_operand(operand, shape), addend, shape)
    return _Product(shape, factor, addend, HostShare(0, operand.parts), Projection(0, reply.parts))


@lru_cache
def _bfv() -> tuple[_Setting, ...]:
    training, triples = BfvBackend(TRAINING), BfvBackend(TRIPLES)
    small, wide = MatrixShape(2, 3, 2, 20), MatrixShape(130, 20, 20, 20)
    return (
        _Setting.of(training, training.generate(), small, wide),
        _Setting.of(triples, triples.generate(), MatrixShape(2, 3, 2, RING_BITS)),
    )


@lru_cache
def _paillier() -> tuple[_Setting, ...]:
    case = next(case for case in json.loads(_VECTORS.read_text())["cases"] if case["parameters"] == PAILLIER_2048.name)
    backend = PaillierBackend(PAILLIER_2048)
    secret = backend.from_primes(int(case["p"], 16), int(case["q"], 16))
    return (_Setting.of(backend, secret, MatrixShape(2, 3, 2, 17), MatrixShape(3, 2, 40, 20)),)


def _fuzz(setting: _Setting, recipe: Recipe) -> None:
    what, product = recipe.below(3), recipe.pick(setting.products)
    honest = (ProjectionKey(setting.secret.public_key()), product.operand, product.reply)[what]
    message = message_of(alter(tree_of(honest), recipe))
    shape = product.shape
    with refused(InvalidCiphertext):
        if isinstance(message, ProjectionKey):
            _use_key(setting, message.public_key, product)
        elif isinstance(message, HostShare):
            operand = setting.public.load_operand(CiphertextBundle(message.parts), shape)
            setting.secret.decrypt(setting.public.multiply_add(product.factor, operand, product.addend, shape), shape)
        elif isinstance(message, Projection):
            setting.secret.decrypt(CiphertextBundle(message.parts), shape)


def _use_key(setting: _Setting, key: bytes, product: _Product) -> None:
    """A product under a key that nobody made: the true operand, told to be under this one."""
    public, shape = setting.backend.load_public(key), product.shape
    public.prepare(shape)
    true_id, its_id = (_key_id(each) for each in (setting.public, public))
    parts = tuple(part.replace(true_id, its_id, 1) for part in product.operand.parts)
    operand = public.load_operand(CiphertextBundle(parts), shape)
    public.multiply_add(product.factor, operand, product.addend, shape)


def _key_id(public: Any) -> bytes:
    named: bytes = public._key.id if isinstance(public, PaillierPublicSide) else public._key_id
    return named


def bfv(data: bytes) -> None:
    """Public keys, operands and replies of BFV, under both parameter sets."""
    recipe = Recipe(data)
    _fuzz(recipe.pick(_bfv()), recipe)


def paillier(data: bytes) -> None:
    """Public keys, operands and replies of Paillier."""
    recipe = Recipe(data)
    _fuzz(recipe.pick(_paillier()), recipe)


TARGETS: tuple[Callable[[bytes], None], ...] = (bfv, paillier)
