"""A layer and its reference side by side.

Bounds are worst cases of the fixed point and of the noise (whose tails end at 8.6 sigma), not of chance.
"""

from __future__ import annotations

import numpy as np

from protocols.core.fixed_point import BLOCK_BITS, FEATURE_BITS, encode_block
from tests.protocols.layer.helpers import Layer, normal


class Compared:
    """Runs batches through a layer and its reference, and asserts that they agree."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.drift = np.zeros_like(layer.reference.weights)  # how far W may be from the reference by now

    def forward(self, a, training=True):
        layer = self.layer
        z, weights = layer.forward(a, training), layer.weights()
        assert z.dtype == np.float32
        assert z.shape == (len(a), layer.spec.width_out)
        rounding = 0.5 * np.abs(weights).sum(axis=1)
        expected = a.astype(float) @ weights.T
        bound = (8.6 * layer.sigma + rounding) * 2.0**-FEATURE_BITS + 2.0**-23 * np.abs(expected)
        assert (np.abs(z - expected) <= bound).all()
        against = layer.reference.forward(a.astype(float))
        assert (np.abs(z - against) <= bound + np.abs(a) @ self.drift.T + 1e-12).all()

    def backward(self, dz, learning_rate, a):
        layer, weights = self.layer, self.layer.weights()
        da = layer.backward(dz, learning_rate)
        assert da.dtype == np.float32
        step = 2.0 ** (encode_block("dz", dz)[1] - BLOCK_BITS + 1)
        expected = dz.astype(float) @ weights
        bound = (8.6 * layer.sigma + 0.5 * np.abs(weights).sum(axis=0)) * step
        bound = bound + 2.0**-23 * np.abs(expected) + 2.0**-149
        assert (np.abs(da - expected) <= bound).all()
        layer.reference.update(dz.astype(float), a.astype(float), learning_rate)
        step_size = learning_rate * np.abs(dz.astype(float))
        self.drift += step_size.sum(axis=0)[:, None] * 2.0**-11 + np.abs(a).sum(axis=0)[None, :] * 2.0**-22 + 2.0**-30
        assert (np.abs(layer.weights() - layer.reference.weights) <= self.drift).all()

    def batch(self, number, rows, learning_rate=0.1):
        d, o = self.layer.spec.width_in, self.layer.spec.width_out
        a, dz = normal(number, rows, d), normal(number + 1000, rows, o, scale=1e-3)
        self.forward(a)
        self.backward(dz, learning_rate, a)
