"""What attacks on the projection layer have in common: how well something was recovered, and what one host has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.fixed_point import FEATURE_BITS, WEIGHT_BITS
from protocols.core.randomness import Randomness
from protocols.he.interface import RING_BITS, as_signed
from protocols.layer.shapes import subtract
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from tests.protocols.layer.helpers import Floats, Layer, normal

Matrix = NDArray[np.float64]
Z_STEP = 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)


class WeakMasks(Randomness):
    """NOT RANDOM: every entry of a matrix gets the same mask, 0 or fresh for each matrix."""

    def __init__(self, source: Randomness | None = None) -> None:
        self._source = source

    def bytes(self, count: int) -> bytes:
        raise AssertionError("only ring elements are drawn from masks")

    def ring(self, shape: tuple[int, ...], bits: int) -> NDArray[np.uint64]:
        scalar = np.uint64(0) if self._source is None else self._source.ring((1,), bits)[0]
        return np.full(shape, scalar)


def collaborator_masks(make: Callable[[], Randomness]) -> Callable[[EncryptedHost, EncryptedCollaborator], None]:
    """For `Layer(prepare=...)`: the collaborator's masks R come from here."""

    def prepare(host: EncryptedHost, collaborator: EncryptedCollaborator) -> None:
        masks, share = make(), collaborator._share
        collaborator._masks = masks
        shape = (share.shapes.o, share.shapes.d)
        share.step_mask = lambda: masks.ring(shape, RING_BITS)  # type: ignore[method-assign]

    return prepare


class Seen:
    """What the host has of one training batch: z, dz, and how its share moved, which is all that message 4 tells it."""

    def __init__(self, layer: Layer, a: Floats, dz: Floats, learning_rate: float) -> None:
        before = layer.host._share.values.copy()
        self.a, self.weights = a.astype(float), layer.weights()  # to judge, not for the attack
        layer.forward(a)
        self.z: Matrix = layer.exact_projection() * Z_STEP
        self.dz: Matrix = learning_rate * dz.astype(float)
        layer.backward(dz, learning_rate)
        self.update: Matrix = as_signed(subtract(before, layer.host._share.values)) * 2.0**-WEIGHT_BITS


def train(layer: Layer, batches: int, rows: int, learning_rate: float = 0.5) -> list[Seen]:
    """The host's view of some batches."""
    d, o = layer.spec.width_in, layer.spec.width_out
    assert o is not None
    return [Seen(layer, normal(i, rows, d), normal(500 + i, rows, o, scale=0.1), learning_rate) for i in range(batches)]


def closeness(guess: Any, truth: Matrix) -> float:
    """|cosine| of the two as vectors: 1 for a full recovery up to scale and sign, near 0 at chance."""
    left, right = np.asarray(guess, float).ravel(), truth.ravel()
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return abs(float(left @ right)) / norms if norms and np.isfinite(norms) else 0.0


CHANCE = 0.6
"""For matrices of 100 and more entries, of which an attack's guess has about d free directions: five deviations and
more. What an attack that works reaches is above 0.99."""
