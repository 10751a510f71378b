"""What each side computes for one piece of a batch, from the other's masked factor and its own half of a triple.

The letters are those of the diagram in protocols/schemes/masked/host.py. Nothing is sent or received here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.he.interface import as_ring
from protocols.layer.quantised import QuantisedGradient
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Integers, Ring, add, subtract
from protocols.layer.weight_share import WeightShare
from protocols.schemes.masked.messages import (
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.pieces import check_about, check_shape, padded
from protocols.schemes.masked.triples import FEATURE_GRADIENT, PROJECTION, WEIGHT_GRADIENT, Triple


@dataclass(frozen=True, repr=False)
class WaitingPiece:
    """A piece of a training batch that waits for its gradient: alpha', and nu."""

    rows: slice
    triple: Triple
    features: Ring
    share: Ring


class HostProducts:
    """The host's: it holds U, `share`.

    Args:
        share: U; a step moves it.
        rows: of a whole triple.

    Raises (from every method that takes a message):
        MalformedMessage: it is about other masks or weights, or has another shape.
    """

    def __init__(self, share: WeightShare, rows: int) -> None:
        self._share = share
        self._rows = rows

    def masked_share(self, triple: Triple) -> MaskedShare:
        """mu = U - M."""
        masked = subtract(self._share.values, triple[PROJECTION].mask)
        return MaskedShare(triple.index, self._share.version, masked)

    def projection(self, message: MaskedFeatures, rows: int, triple: Triple) -> Ring:
        """z + e = s + alpha U^T + P_H: [rows, o]."""
        shapes = self._share.shapes
        check_about(message, triple, self._share)
        check_shape("MaskedFeatures.features", message.features, (rows, shapes.d))
        check_shape("MaskedFeatures.projection", message.projection, (rows, shapes.o))
        own = matmul(message.features, np.ascontiguousarray(self._share.values.T))
        return add(add(message.projection, own), triple[PROJECTION].share[:rows])

    def gradient_features(self, message: MaskedGradientFeatures, triple: Triple) -> tuple[Ring, Ring]:
        """alpha' and nu, checked."""
        check_about(message, triple, self._share)
        check_shape("MaskedGradientFeatures.features", message.features, (self._rows, self._share.shapes.d))
        check_shape("MaskedGradientFeatures.share", message.share, self._share.values.shape)
        return message.features, message.share

    def feature_gradient(self, gradient: QuantisedGradient, piece: WaitingPiece) -> MaskedGradient:
        """delta = dz - D and h = D nu + Q_H + dz U + e'."""
        half, mantissas = piece.triple[FEATURE_GRADIENT], gradient.mantissas[piece.rows]
        rows, exponent = len(mantissas), gradient.exponent
        mask = half.mask[:rows]
        product = add(add(matmul(mask, piece.share), half.share[:rows]), self._share.pull_back(mantissas, exponent))
        masked = subtract(as_ring(mantissas), mask)
        return MaskedGradient(piece.triple.index, self._share.version, exponent, masked, product)

    def step(self, gradient: QuantisedGradient, piece: WaitingPiece) -> MaskedStep:
        """gamma = lr dz - G."""
        masked = subtract(padded(gradient.step[piece.rows], self._rows), piece.triple[WEIGHT_GRADIENT].mask)
        return MaskedStep(piece.triple.index, self._share.version, 0, masked)

    def move(self, piece: WaitingPiece) -> None:
        """U -= G^T alpha' + T_H."""
        half = piece.triple[WEIGHT_GRADIENT]
        self._share.subtract(add(matmul(np.ascontiguousarray(half.mask.T), piece.features), half.share))


class CollaboratorProducts:
    """The collaborator's: it holds V, `share`. Arguments and errors as `HostProducts`."""

    def __init__(self, share: WeightShare, rows: int) -> None:
        self._share = share
        self._rows = rows

    def projection(self, features: Integers, own: Ring, triple: Triple, share: Ring) -> MaskedFeatures:
        """alpha = a - A and s = A mu^T + P_C + a V^T + e. `share` may be fewer rows of mu, `own` as many columns."""
        half, (rows, width) = triple[PROJECTION], own.shape
        mask = half.mask[:rows]
        product = matmul(mask, np.ascontiguousarray(share.T))
        shared = add(add(product, half.share[:rows, :width]), own)
        return MaskedFeatures(triple.index, self._share.version, subtract(as_ring(features), mask), shared)

    def gradient_features(self, features: Integers, triple: Triple) -> MaskedGradientFeatures:
        """alpha' = a - A' and nu = V - N."""
        masked = subtract(padded(features, self._rows), triple[WEIGHT_GRADIENT].mask)
        nu = subtract(self._share.values, triple[FEATURE_GRADIENT].mask)
        return MaskedGradientFeatures(triple.index, self._share.version, masked, nu)

    def feature_gradient(self, message: MaskedGradient, piece: slice, triple: Triple) -> Ring:
        """da + e' = h + delta V + Q_C."""
        half, rows = triple[FEATURE_GRADIENT], piece.stop - piece.start
        check_about(message, triple, self._share)
        check_shape("MaskedGradient.gradient", message.gradient, (rows, self._share.shapes.o))
        check_shape("MaskedGradient.feature_gradient", message.feature_gradient, (rows, self._share.shapes.d))
        return add(add(message.feature_gradient, matmul(message.gradient, self._share.values)), half.share[:rows])

    def move(self, step: MaskedStep, features: Integers, triple: Triple) -> None:
        """V -= gamma^T a + T_C."""
        check_about(step, triple, self._share)
        check_shape("MaskedStep.step", step.step, (self._rows, self._share.shapes.o))
        product = matmul(np.ascontiguousarray(step.step.T), padded(features, self._rows))
        self._share.subtract(add(product, triple[WEIGHT_GRADIENT].share))
