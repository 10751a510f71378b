"""A mask of one number for a whole matrix comes off by subtracting rows; a mask for every entry does not.

The weak design masks the weight gradient of message 4 with one fresh, uniform scalar: every single entry that the host
gets is uniform, and yet differences of rows are exact, D dW W^T = D (lr dz)^T z, which is enough to solve for W.
"""

from __future__ import annotations

import numpy as np

from protocols.core.fixed_point import WEIGHT_BITS
from protocols.core.randomness import OsRandomness
from protocols.he.interface import RING_BITS
from tests.attacks.split_training import CHANCE, Matrix, Seen, WeakMasks, closeness, collaborator_masks, train
from tests.protocols.layer.helpers import Layer

D, O, ROWS = 8, 16, 40  # noqa: E741
RING = 2.0 ** (RING_BITS - WEIGHT_BITS)


def strip_and_recover(seen: Seen) -> tuple[Matrix, Matrix]:
    """W and a from one batch; differences are taken in the ring, where a wrap is none."""
    differences = np.diff(seen.update, axis=0)
    differences -= RING * np.rint(differences / RING)
    transposed = np.linalg.lstsq(differences, np.diff(seen.dz.T, axis=0) @ seen.z, rcond=None)[0]
    return transposed.T, np.linalg.lstsq(transposed.T, seen.z.T, rcond=None)[0].T


def test_a_scalar_mask_is_stripped() -> None:
    layer = Layer(D, O, ROWS, prepare=collaborator_masks(lambda: WeakMasks(OsRandomness())))
    for seen in train(layer, 2, ROWS):
        assert np.abs(seen.update).min() > 2.0**4  # masked: not one entry shows the update, of size 0.1 (2^-22 chance)
        weights, features = strip_and_recover(seen)
        assert np.abs(weights - seen.weights).max() < 0.02
        assert np.abs(features - seen.a).max() < 0.1


def test_a_mask_for_every_entry_is_not() -> None:
    for seen in train(Layer(D, O, ROWS), 3, ROWS):
        weights, features = strip_and_recover(seen)
        assert closeness(weights, seen.weights) < CHANCE
        assert closeness(features, seen.a) < CHANCE
