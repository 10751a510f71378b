"""The host solves for W when it knows every weight update.

    dW = (lr dz)^T a  and  z = a W^T,  so  dW W^T = (lr dz)^T z:  the host knows dW, dz and z, solves for W, then for a.

The weak design gives the host dW itself: our protocol with the mask R of message 4 switched off. With R, what the host
gets is uniform, and the same algebra gives noise.
"""

from __future__ import annotations

import numpy as np

from tests.attacks.split_training import CHANCE, Matrix, Seen, WeakMasks, closeness, collaborator_masks, train
from tests.protocols.layer.helpers import Layer

D, O, ROWS = 12, 16, 40  # noqa: E741


def recover(seen: Seen) -> tuple[Matrix, Matrix]:
    """W and a from one batch."""
    transposed = np.linalg.lstsq(seen.update, seen.dz.T @ seen.z, rcond=None)[0]
    return transposed.T, np.linalg.lstsq(transposed.T, seen.z.T, rcond=None)[0].T


def test_a_host_that_sees_weight_updates_recovers_weights_and_features() -> None:
    layer = Layer(D, O, ROWS, prepare=collaborator_masks(WeakMasks))
    (seen,) = train(layer, 1, ROWS)
    weights, features = recover(seen)
    assert np.abs(weights - seen.weights).max() < 0.01
    assert np.abs(features - seen.a).max() < 0.05


def test_a_host_that_sees_masked_updates_does_not() -> None:
    for seen in train(Layer(D, O, ROWS), 3, ROWS):
        weights, features = recover(seen)
        assert closeness(weights, seen.weights) < CHANCE
        assert closeness(features, seen.a) < CHANCE
        assert np.abs(seen.update).max() > 2.0**20  # nothing like a weight update
