"""Two ways to break one-time masks, which work on weak designs and not on ours; and what an observer of ours sees.

    one mask for two batches      the difference of two openings is the difference of the features
    one scalar for a tensor       one known entry gives the mask, and with it all others

The weak design and ours are attacked by the same code.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.fixed_point import FEATURE_BITS
from protocols.he.interface import RING_BITS, as_ring, as_signed
from protocols.layer.shapes import Ring, subtract
from protocols.schemes.masked.messages import (
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.triples import TRAIN, Half
from tests.protocols.schemes.masked.helpers import RANDOM, Layer, layer_spec

ROWS, WIDTH, OUT = 32, 6, 4


def features(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(ROWS, WIDTH)).astype(np.float32)


def quantised(values: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(values.astype(np.float64) * 2.0**FEATURE_BITS).astype(np.int64)


def openings(layer: Layer, batches: list[NDArray[np.float32]]) -> list[Ring]:
    """alpha of every batch, as the host gets it."""
    dz = np.full((ROWS, OUT), 1e-3, np.float32)
    for batch in batches:
        layer.forward(batch)
        layer.backward(dz, 0.1)
    return [message.features for message in layer.sent if isinstance(message, MaskedFeatures)]


def difference(first: Ring, second: Ring) -> NDArray[np.float64]:
    """The attack on a mask that is used twice."""
    return as_signed(subtract(first, second)) * 2.0**-FEATURE_BITS


def strip(opening: Ring, known: float) -> NDArray[np.float64]:
    """The attack on a scalar mask: whoever knows one feature of one sample knows them all."""
    mask = subtract(opening[:1, :1], as_ring(np.array([[round(known * 2.0**FEATURE_BITS)]])))
    return as_signed(subtract(opening, mask)) * 2.0**-FEATURE_BITS


def dealt(count: int) -> Layer:
    layer = Layer(layer_spec(ROWS, WIDTH, OUT))
    layer.deal(TRAIN, count)
    return layer


def test_one_mask_for_two_batches_gives_their_difference_away() -> None:
    first, second = features(1), features(2)
    target = (quantised(first) - quantised(second)) * 2.0**-FEATURE_BITS
    weak = dealt(2)
    for triples in (weak.host.triples, weak.collaborator.triples):  # the second triple is the first one again
        stock = triples._stock[TRAIN]
        stock[1] = type(stock[0])(1, stock[0].halves)
    assert np.array_equal(difference(*openings(weak, [first, second])), target)
    assert np.mean(np.abs(difference(*openings(dealt(2), [first, second])) - target) < 1e6) < 0.1


def test_a_scalar_mask_is_stripped_by_one_known_value() -> None:
    batch = features(3)
    exact = quantised(batch) * 2.0**-FEATURE_BITS
    mask = np.broadcast_to(RANDOM.ring((1, 1), RING_BITS), (ROWS, WIDTH))
    weak = subtract(as_ring(quantised(batch)), mask)
    known = float(exact[0, 0])
    assert np.array_equal(strip(weak, known), exact)
    (ours,) = openings(dealt(1), [batch])
    assert np.mean(np.abs(strip(ours, known) - exact) < 1e6) < 0.1


CELLS = 64
CHI_SQUARE_LIMIT = 63 + 9 * np.sqrt(2 * 63)  # nine standard deviations above the mean of 63 degrees of freedom


def chi_square(values: Ring) -> float:
    """Of the six top bits of ring elements against uniform."""
    counts = np.bincount((values.reshape(-1) >> np.uint64(RING_BITS - 6)).astype(np.int64), minlength=CELLS)
    expected = values.size / CELLS
    return float((np.square(counts - expected) / expected).sum())


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (MaskedFeatures, "features"),
        (MaskedFeatures, "projection"),
        (MaskedGradientFeatures, "features"),
        (MaskedGradientFeatures, "share"),
        (MaskedShare, "share"),
        (MaskedGradient, "gradient"),
        (MaskedGradient, "feature_gradient"),
        (MaskedStep, "step"),
    ],
)
def test_what_crosses_the_wire_is_uniform(kind: type, field: str) -> None:
    """For features, weights and gradients that are far from uniform: the same few small numbers over and over."""
    count = 64
    layer = Layer(layer_spec(ROWS, WIDTH, OUT), weights=np.eye(OUT, WIDTH))
    layer.deal(TRAIN, count)
    batch = np.ones((ROWS, WIDTH), np.float32)
    for _ in range(count):
        layer.forward(batch)
        layer.backward(np.full((ROWS, OUT), 1e-3, np.float32), 0.0)
    arrays = [getattr(message, field) for message in layer.sent if isinstance(message, kind)]
    if kind is MaskedShare:  # the others come with the steps
        arrays += [array for message in layer.sent if isinstance(message, MaskedStep) for array in message.share]
    assert chi_square(np.concatenate([array.reshape(-1) for array in arrays])) < CHI_SQUARE_LIMIT
    weak = as_ring(quantised(np.concatenate([batch] * count)))
    assert chi_square(weak) > 100 * CHI_SQUARE_LIMIT


def test_a_short_batch_shows_no_padding() -> None:
    """The rows that a short batch leaves empty are masked like the others."""
    layer = dealt(1)
    layer.forward(features(4)[:3])
    layer.backward(np.full((3, OUT), 1e-3, np.float32), 0.1)
    (opened,) = (message.features for message in layer.sent if isinstance(message, MaskedGradientFeatures))
    (step,) = (message.step for message in layer.sent if isinstance(message, MaskedStep))
    for matrix in (opened, step):
        assert matrix.shape[0] == ROWS
        assert len(np.unique(matrix)) == matrix.size


def test_halves_show_nothing() -> None:
    mask = RANDOM.ring((2, 2), RING_BITS)
    assert str(int(mask[0, 0])) not in repr(Half(mask, mask))
