"""Noise is a function of the query, looks Gaussian, and is as large as the smoothing parameter asks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protocols.core.errors import InvalidInput
from protocols.core.fixed_point import FEATURE_BITS, WEIGHT_BITS
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he.interface import as_signed
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import noise_in_ring
from protocols.layer.smoothing import SmoothingNoise

ROWS = np.arange(40, dtype=np.int64).reshape(8, 5)


def noise(number: int = 0) -> SmoothingNoise:
    return SmoothingNoise(SeededRandomness(number, "noise"))


@pytest.mark.parametrize("width", [1, 2, 7, 20])
def test_the_same_query_gets_the_same_noise(width):
    source = noise()
    first = source.draw(3, -5, ROWS, width)
    source.draw(4, 0, ROWS, width)  # nothing between the two matters
    assert first.shape == (8, width)
    assert (first == source.draw(3, -5, ROWS, width)).all()
    assert (first == noise().draw(3, -5, ROWS, width)).all()


def test_a_row_has_its_noise_wherever_it_stands_in_a_batch():
    whole = noise().draw(0, 0, ROWS, 6)
    order = [5, 2, 2, 7]
    assert (noise().draw(0, 0, ROWS[order], 6) == whole[order]).all()


def test_memory_layout_does_not_matter():
    assert (noise().draw(0, 0, np.asfortranarray(ROWS), 6) == noise().draw(0, 0, ROWS, 6)).all()


def changed_row() -> np.ndarray:
    rows = ROWS.copy()
    rows[0, 4] += 1
    return rows[:1]


@pytest.mark.parametrize(
    ("source", "query"),
    [
        (noise(1), (3, 7, ROWS[:1], 6)),
        (noise(), (4, 7, ROWS[:1], 6)),
        (noise(), (3, 8, ROWS[:1], 6)),
        (noise(), (3, -7, ROWS[:1], 6)),
        (noise(), (7, 3, ROWS[:1], 6)),
        (noise(), (3, 7, -ROWS[:1], 6)),
        (noise(), (3, 7, changed_row(), 6)),
        (noise(), (3, 7, ROWS[1:2], 6)),
    ],
    ids=["key", "version", "scale", "sign of scale", "version and scale swapped", "sign", "one step", "row"],
)
def test_any_other_query_gets_other_noise(source, query):
    assert not (source.draw(*query) == noise().draw(3, 7, ROWS[:1], 6)).any()


def test_a_shorter_result_is_no_prefix_of_a_longer_one():
    """Else two layers' widths would share noise."""
    assert not (noise().draw(0, 0, ROWS, 4) == noise().draw(0, 0, ROWS, 6)[:, :4]).any()


def test_moments_and_tails_are_normal():
    """100,000 values of a fixed key; bounds of six standard errors."""
    rows = np.arange(5000, dtype=np.int64)[:, None]
    values = noise().draw(0, 0, rows, 20)
    count = values.size
    assert abs(values.mean()) < 6 / math.sqrt(count)
    assert abs((values**2).mean() - 1) < 6 * math.sqrt(2 / count)
    assert abs((values**3).mean()) < 6 * math.sqrt(15 / count)
    assert abs((values**4).mean() - 3) < 6 * math.sqrt(96 / count)
    for limit in (1.0, 2.0, 3.0):
        expected = math.erfc(limit / math.sqrt(2))
        assert abs((np.abs(values) > limit).mean() - expected) < 6 * math.sqrt(expected / count)
    correlations = np.corrcoef(values, rowvar=False) - np.eye(20)
    assert np.abs(correlations).max() < 6 / math.sqrt(5000)


def gaussian_mass(sigma: float) -> float:
    """Sum over k != 0 of exp(-2 (pi sigma k)^2): what a lattice spacing of 1 still shows through such noise."""
    return 2 * sum(math.exp(-2 * (math.pi * sigma * k) ** 2) for k in range(1, 50))


@pytest.mark.parametrize("dimension", [1, 2, 20, 128, 4096])
@pytest.mark.parametrize("norm", [0.5, 8.0])
def test_sigma_is_above_the_smoothing_parameter(dimension, norm):
    """Micciancio, Regev 2007, lemma 3.3: eta <= norm sqrt(ln(2 n (1 + 1/eps)) / pi), a width of sqrt(2 pi) sigma."""
    sigma = LayerParameters(weight_norm=norm).smoothing_sigma(dimension)
    eta = norm * math.sqrt(math.log(2 * dimension * (1 + 2.0**40)) / math.pi)
    assert sigma == pytest.approx(eta)
    width = math.sqrt(2 * math.pi) * sigma
    assert width > 2.5 * eta
    # The definition itself, for norm * Z^n: (1 + mass)^n - 1 <= eps at a width of eta, and far less at ours.
    at_eta = gaussian_mass(eta / norm / math.sqrt(2 * math.pi))
    assert math.expm1(dimension * math.log1p(at_eta)) <= 2.0**-40
    assert dimension * gaussian_mass(sigma / norm) < 2.0**-200


def test_sigma_for_twenty_dimensions_is_the_stated_one():
    parameters = LayerParameters()
    assert parameters.smoothing_sigma(20) / parameters.weight_norm == pytest.approx(3.16, abs=0.01)
    assert parameters.smoothing_sigma(20) * 2.0**-FEATURE_BITS == pytest.approx(3.9e-4, rel=0.02)


def test_noise_in_the_ring_has_sigma_and_keeps_its_sign():
    sigma = LayerParameters().smoothing_sigma(20) * 2.0**WEIGHT_BITS
    drawn = noise().draw(0, 0, np.arange(2000, dtype=np.int64)[:, None], 10)
    ring = as_signed(noise_in_ring(drawn, sigma))
    assert np.abs(ring - drawn * sigma).max() <= 0.5 + 2.0**-10
    assert ring.std() == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("dimension", [1, 20, 4096])
@pytest.mark.parametrize("norm", [1.0, 64.0])
def test_the_projection_limit_leaves_room_for_the_largest_noise(dimension, norm):
    parameters = LayerParameters(feature_norm=norm)
    tail = 8.6 * parameters.smoothing_sigma(dimension) * 2.0**-FEATURE_BITS
    assert parameters.weight_norm * norm + tail <= parameters.projection_limit


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight_norm": 0.0},
        {"weight_norm": 65.0},
        {"weight_norm": float("nan")},
        {"feature_norm": 0.5},
        {"feature_norm": 1025.0},
        {"feature_norm": 256.0},
        {"step_limit": 0.0},
        {"check_every": -1},
    ],
)
def test_bounds_that_leave_the_ring_or_the_room_are_refused(wrong):
    with pytest.raises(InvalidInput):
        LayerParameters(**wrong)


def test_a_gradient_too_wide_for_the_ring_is_refused():
    LayerParameters().check_gradient_width(4095)
    with pytest.raises(InvalidInput, match="4096 outputs"):
        LayerParameters().check_gradient_width(4096)


def test_a_kept_key_gives_the_same_noise():
    assert (SmoothingNoise.with_key(noise().key).draw(3, 7, ROWS, 6) == noise().draw(3, 7, ROWS, 6)).all()
    assert repr(SmoothingNoise.with_key(bytes(32))) == "SmoothingNoise(<secret>)"


@pytest.mark.parametrize(("dimension", "bits"), [(1, 14), (20, 11), (4096, 6)])
def test_the_average_over_all_resumes_of_a_checkpoint_is_still_smooth(dimension, bits):
    """A version after it, of the same W, is answered under 17 keys: in the interrupted run and in 16 resumes."""
    sigma = LayerParameters(weight_norm=1.0).smoothing_sigma(dimension) / math.sqrt(17)
    assert math.expm1(dimension * math.log1p(gaussian_mass(sigma))) < 2.0**-bits


def test_the_key_is_not_shown():
    source = SmoothingNoise(OsRandomness())
    assert source._key.hex() not in repr(source)
    assert repr(source._key) not in repr(source)
