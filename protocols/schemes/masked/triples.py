"""Beaver matrix triples: what one is, and which products it consists of.

A product is a pair of uniform matrices over Z_{2^59}, one at each party, and uniform additive shares of their product:

    name               collaborator     host           shared               used for
    projection         A  [B, d]        M [o, d]       A M^T    [B, o]      z
    weight_gradient    A' [B, d]        G [B, o]       G^T A'   [o, d]      the step of W       kind "train" only
    feature_gradient   N  [o, d]        D [B, o]       D N      [B, d]      da                  and if trainable

B: rows of a batch at most; a shorter batch uses the first rows and the rest of the masks is thrown away.

**Reference** Beaver, Efficient Multiparty Protocols Using Circuit Randomization (CRYPTO 1991); for matrices Mohassel,
Zhang, SecureML (IEEE S&P 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from protocols.core.errors import InvalidInput
from protocols.he.interface import RING_BITS, Backend, MatrixShape, as_signed
from protocols.layer.interface import LayerSpec
from protocols.layer.shapes import Integers, Ring

TRAIN, TEST = "train", "test"
KINDS = (TRAIN, TEST)
PROJECTION, WEIGHT_GRADIENT, FEATURE_GRADIENT = "projection", "weight_gradient", "feature_gradient"
PRODUCTS = (PROJECTION, WEIGHT_GRADIENT, FEATURE_GRADIENT)
OF_SHARES = (PROJECTION, FEATURE_GRADIENT)
"""Products whose operand, M or N, hides its owner's share of the weights."""

MAX_TOGETHER = 4
"""Triples whose ciphertexts of one product go in one message, at most: each costs both sides turns of their threads."""
TOGETHER_BYTES = 1 << 20
"""Of their masks and shares; ciphertexts of small triples take a few times as much."""


def kind_of(training: bool) -> str:
    """The kind of triple that a batch takes."""
    return TRAIN if training else TEST


@dataclass(frozen=True, repr=False)
class Half:
    """One party's half of one product: its own mask, and its share of the product. Used once.

    Attributes:
        operand: the other party's mask, encrypted, as it came: where that mask hides its share of the weights, and the
            share is tested (protocols/schemes/masked/share_tests.py).
    """

    mask: Ring
    share: Ring
    operand: tuple[bytes, ...] = ()


@dataclass(frozen=True, repr=False)
class Triple:
    """One party's halves of the products of one triple, by name. `index` counts the triples of its kind from 0."""

    index: int
    halves: Mapping[str, Half]

    def __getitem__(self, product: str) -> Half:
        return self.halves[product]

    def __repr__(self) -> str:
        return f"<Triple {self.index}>"


@dataclass(frozen=True)
class Product:
    """How one product is made: an owner encrypts its mask, the other party, the evaluator, multiplies by its own.

    Args:
        name: one of `PRODUCTS`.
        host_evaluates: who multiplies. The collaborator where there is a choice: a host serves several of them.
        host_mask, collaborator_mask: shapes of the masks.
        shape: of the product as it is computed: factor (evaluator) times operand (owner).
        transposed: which of "operand", "factor" and "result" are computed as the transpose of what a `Half` holds.
    """

    name: str
    host_evaluates: bool
    host_mask: tuple[int, int]
    collaborator_mask: tuple[int, int]
    shape: MatrixShape
    transposed: frozenset[str]

    def operand(self, mask: Ring) -> Ring:
        """The owner's mask as the operand of the product."""
        return self._oriented("operand", mask)

    def factor(self, mask: Ring) -> Integers:
        """The evaluator's mask as the factor, centred."""
        return as_signed(self._oriented("factor", mask))

    def result(self, product: Ring) -> Ring:
        """A share of the computed product as a `Half` holds it."""
        return self._oriented("result", product)

    def _oriented(self, which: str, matrix: Ring) -> Ring:
        return np.ascontiguousarray(matrix.T) if which in self.transposed else matrix


def mask_product(m: int, k: int, n: int) -> MatrixShape:
    """A product of two masks: [m, k] times [k, n]."""
    return MatrixShape(m, k, n, RING_BITS, is_uniform=True)


class TripleShapes:
    """The products of one layer's triples.

    Args:
        spec: the layer.
        backend: what multiplies. Its noise budget must carry factors that fill the ring.
        keeps_operands: whether each side keeps the mask that hides the other's share, encrypted, until it is used.

    Attributes:
        bytes_per_triple: memory that one party's halves take, about: the same at both, as both go by it.
        together: how many triples' ciphertexts of one product go in one message.

    Raises:
        InvalidInput: there is no layer, or a product is too large for the backend.
    """

    def __init__(self, spec: LayerSpec, backend: Backend, keeps_operands: bool = False) -> None:
        if spec.width_out is None:
            raise InvalidInput(f"{spec.feature_key}: scheme masked needs the projection layer")
        rows, d, o = spec.rows, spec.width_in, spec.width_out
        products = [
            Product(PROJECTION, False, (o, d), (rows, d), mask_product(rows, d, o), frozenset({"operand"})),
            # G^T A' as the transpose of A'^T G.
            Product(
                WEIGHT_GRADIENT,
                False,
                (rows, o),
                (rows, d),
                mask_product(d, rows, o),
                frozenset({"factor", "result"}),
            ),
        ]
        if spec.trainable:
            shape = mask_product(rows, o, d)
            products.append(Product(FEATURE_GRADIENT, True, (rows, o), (o, d), shape, frozenset()))
        for product in products:
            backend.check(product.shape)
        self._products = tuple(products)
        # Masks and shares of the three products, and of one the other's mask: each side keeps one.
        numbers = 8 * (4 * rows * (d + o) + 4 * d * o)
        self.together = max(1, min(MAX_TOGETHER, TOGETHER_BYTES // numbers))
        self.bytes_per_triple = numbers
        if keeps_operands:
            kept = (each.shape for each in products if each.name in OF_SHARES)
            self.bytes_per_triple += max(map(backend.operand_bytes, kept))

    def products(self, kind: str) -> tuple[Product, ...]:
        """What a triple of this kind consists of. Raises `InvalidInput` for an unknown kind."""
        if kind not in KINDS:
            raise InvalidInput(f"a triple's kind is one of {', '.join(KINDS)}, not {kind!r}")
        return self._products if kind == TRAIN else self._products[:1]
