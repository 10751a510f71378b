"""Noise on gradients: its moments, what it does to the best attack there is, and what it refuses.

Statistical tests draw from fixed seeds, so they either always pass or never; the bounds are five standard errors, which
another seed would break once in two million times.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.privacy.scores import auc
from protocols.core.randomness import SeededRandomness
from secure_hfl import GaussianNoise, MarvellNoise, MaxNormNoise
from secure_hfl.errors import ConfigurationError
from secure_hfl.privacy.defence import BatchNoise, Estimate, GradientNoise
from secure_hfl.privacy.marvell import optimal_noise

Matrix = NDArray[np.float64]
ROWS, WIDTH = 20_000, 6


def randomness(number: int = 1) -> SeededRandomness:
    return SeededRandomness(number, "tests of gradient noise")


def normal_cdf(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def two_classes(share: float = 0.3, rows: int = ROWS) -> tuple[Matrix, NDArray[np.bool_]]:
    """Gradients of a binary task, as Li et al. model them."""
    random = np.random.default_rng(3)
    positive = random.random(rows) < share
    means = np.where(positive[:, None], np.linspace(0.5, -1.0, WIDTH), np.linspace(-0.2, 0.1, WIDTH))
    return means + np.where(positive[:, None], 0.3, 0.1) * random.normal(size=(rows, WIDTH)), positive


# Moments -------------------------------------------------------------------------------------------------------------


def test_gaussian_clips_and_adds_noise_of_one_size() -> None:
    gradients, _ = two_classes()
    noised = GaussianNoise(clip=0.5, sigma=0.8).perturb(gradients, None, randomness())
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    assert 0.2 < (norms > 0.5).mean() < 0.8, "some are clipped, some are not"
    noise = noised - gradients * np.minimum(1, 0.5 / norms)
    sigma = 0.5 * 0.8
    assert np.abs(noise.mean(axis=0)).max() < 5 * sigma / sqrt(ROWS)
    covariance = noise.T @ noise / ROWS
    assert np.abs(np.diag(covariance) - sigma**2).max() < 5 * sigma**2 * sqrt(2 / ROWS)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 5 * sigma**2 / sqrt(ROWS)


def test_max_norm_gives_every_row_the_largest_norm_on_average() -> None:
    rows = np.array([[3.0, 4.0], [0.3, -0.4], [0.0, 0.0]])
    noise, source = MaxNormNoise(), randomness()
    samples = np.stack([noise.perturb(rows, None, source) for _ in range(4000)])
    squares = np.square(samples).sum(axis=2)
    assert (samples[:, 0] == rows[0]).all(), "the largest stays as it is"
    assert np.allclose(samples[:, 1, 0] * -0.4, samples[:, 1, 1] * 0.3), "each one stays on its line"
    # A squared Gaussian of mean m has a standard deviation of at most sqrt(2) m.
    assert np.abs(squares.mean(axis=0) - 25).max() < 5 * 25 * sqrt(2 / 4000)
    assert np.abs(samples[:, 1].mean(axis=0) - rows[1]).max() < 5 * 5 / sqrt(4000)


def test_marvell_adds_the_noise_that_was_solved_for() -> None:
    gradients, positive = two_classes()
    noised = MarvellNoise(ratio=2.0).perturb(gradients, torch.from_numpy(positive), randomness())
    noise = noised - gradients
    estimate = Estimate.of(gradients, positive)
    best = optimal_noise(estimate.classes, 2.0 * estimate.classes.gap)
    unit = estimate.difference / np.linalg.norm(estimate.difference)
    across = np.eye(WIDTH) - np.outer(unit, unit)
    assert best.negative_across > 0, "the negatives vary less, so they need some everywhere"
    for rows, along, other in (
        (noise[positive], best.positive_along, best.positive_across),
        (noise[~positive], best.negative_along, best.negative_across),
    ):
        expected = along * np.outer(unit, unit) + other * across
        assert np.abs(rows.T @ rows / len(rows) - expected).max() < 5 * along * sqrt(2 / len(rows))
        assert np.abs(rows.mean(axis=0)).max() < 5 * sqrt(along / len(rows))
    power = np.square(noise).sum(axis=1).mean()
    assert power == pytest.approx(2.0 * estimate.classes.gap, rel=5 * sqrt(2 / ROWS))


# What it does to attacks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_gaussian_reaches_its_bound_and_does_not_break_it(sigma: float) -> None:
    """The worst case: a label turns a gradient of the largest norm around, and the attacker knows along which line."""
    positive = np.arange(ROWS) % 2 == 0
    gradients = np.where(positive, 1.0, -1.0)[:, None] * np.full(WIDTH, 7.0)
    noised = GaussianNoise(clip=0.1, sigma=sigma).perturb(gradients, None, randomness())
    # The variance of an AUC of n against n samples is at most 1 / (4 n).
    assert auc(noised.sum(axis=1), positive) == pytest.approx(normal_cdf(sqrt(2) / sigma), abs=5 / sqrt(2 * ROWS))


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_marvell_leaves_the_auc_that_it_says(ratio: float) -> None:
    positive = np.arange(ROWS) % 2 == 0
    gradients = np.where(positive[:, None], 0.7, -0.1) * np.ones(WIDTH)
    noised = MarvellNoise(ratio).perturb(gradients, torch.from_numpy(positive).long(), randomness())
    assert auc(noised.sum(axis=1), positive) == pytest.approx(normal_cdf(1 / sqrt(2 * ratio)), abs=5 / sqrt(2 * ROWS))


@pytest.mark.parametrize("noise", [GaussianNoise(0.5, 4.0), MaxNormNoise(), MarvellNoise(16.0)], ids=repr)
def test_the_norm_attack_works_without_noise_and_not_with_it(noise: GradientNoise) -> None:
    gradients, positive = two_classes(share=0.1, rows=2000)
    assert auc(np.linalg.norm(gradients, axis=1), positive) > 0.95
    noised = noise.perturb(gradients, positive, randomness())
    assert abs(auc(np.linalg.norm(noised, axis=1), positive) - 0.5) < 0.2


# Batches -------------------------------------------------------------------------------------------------------------


def gradients_of_three() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(1)
    return {key: random.normal(size=(8, width)).astype(np.float32) for key, width in (("a", 2), ("b", 3), ("c", 1))}


def batch(
    noise: GradientNoise | None, seed: int | None = 3, place: str = "round 1, batch 1", shown: str = "ac"
) -> BatchNoise:
    return BatchNoise(noise, torch.tensor([0, 1] * 4), shown, seed, place)


ALL = [GaussianNoise(0.5, 1.0), MaxNormNoise(), MarvellNoise(2.0)]


@pytest.mark.parametrize("noise", ALL, ids=repr)
def test_only_what_is_shown_gets_noise(noise: GradientNoise) -> None:
    before = gradients_of_three()
    after = batch(noise)(before)
    assert list(after) == list(before)
    assert after["b"] is before["b"], "the owner of a frozen bottom model sees no gradient"
    for key in "ac":
        assert after[key].shape == before[key].shape
        assert after[key].dtype == np.float32
        assert after[key].flags.c_contiguous
        assert not np.array_equal(after[key], before[key])
    assert batch(noise, shown="")(before) is before


def test_nothing_is_the_default() -> None:
    before = gradients_of_three()
    assert batch(None)(before) is before


def test_the_clip_is_for_all_collaborators_together() -> None:
    before = gradients_of_three()
    after = batch(GaussianNoise(0.5, 1e-9))(before)
    together = np.concatenate([after["a"], after["c"]], axis=1)
    whole = np.concatenate([before["a"], before["c"]], axis=1)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.minimum(np.linalg.norm(whole, axis=1), 0.5), rel=1e-5)


@pytest.mark.parametrize("noise", ALL, ids=repr)
def test_a_seeded_run_repeats_its_noise_and_no_other(noise: GradientNoise) -> None:
    def drawn(**how: Any) -> bytes:
        return batch(noise, **how)(gradients_of_three())["a"].tobytes()

    assert drawn() == drawn()
    others = [drawn(), drawn(seed=4), drawn(place="round 1, batch 2"), drawn(seed=None), drawn(seed=None)]
    assert len(set(others)) == len(others)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 6), width=st.integers(1, 4), number=st.integers(0, 1000), zeros=st.booleans())
def test_any_batch_comes_back_finite(rows: int, width: int, number: int, zeros: bool) -> None:
    random = np.random.default_rng(number)
    scale = 0.0 if zeros else 10.0 ** random.integers(-30, 5)
    gradients = scale * random.normal(size=(rows, width))
    labels = torch.from_numpy(random.integers(0, 2, rows))
    for noise in (GaussianNoise(1e-3, 2.0), MaxNormNoise(), MarvellNoise(4.0)):
        noised = noise.perturb(gradients, labels, randomness(number))
        assert noised.shape == gradients.shape
        assert np.isfinite(noised).all()


# One class only ------------------------------------------------------------------------------------------------------


def test_a_batch_of_one_class_gets_the_noise_of_the_last_that_had_both() -> None:
    gradients, positive = two_classes()
    noise = MarvellNoise(1.0)
    noise.perturb(gradients, positive, randomness())
    negatives = gradients[~positive]
    added = noise.perturb(negatives, np.zeros(len(negatives)), randomness()) - negatives
    estimate = Estimate.of(gradients, positive)
    best = optimal_noise(estimate.classes, estimate.classes.gap)
    expected = best.negative_along + (WIDTH - 1) * best.negative_across
    assert np.square(added).sum(axis=1).mean() == pytest.approx(expected, rel=5 * sqrt(2 / len(negatives)))


def test_even_the_first_batch_gets_noise() -> None:
    gradients, positive = two_classes()
    for label in (0, 1):
        rows = gradients[positive == label]
        noised = MarvellNoise(1.0).perturb(rows, np.full(len(rows), label), randomness())
        assert np.square(noised - rows).sum(axis=1).mean() > np.square(2 * rows.mean(axis=0)).sum() / 2


def test_marvell_goes_on_from_a_checkpoint() -> None:
    gradients, positive = two_classes(rows=200)
    one, other = MarvellNoise(1.0), MarvellNoise(1.0)
    one.perturb(gradients, positive, randomness())
    rows, labels = gradients[~positive], np.zeros(int((~positive).sum()))
    fresh = other.perturb(rows, labels, randomness())
    other.load_state_dict(one.state_dict())
    resumed = other.perturb(rows, labels, randomness())
    assert not np.array_equal(fresh, resumed)
    assert np.array_equal(resumed, one.perturb(rows, labels, randomness()))
    other.load_state_dict(MarvellNoise(1.0).state_dict())
    assert np.array_equal(fresh, other.perturb(rows, labels, randomness()))


def test_nothing_of_a_batch_is_in_a_repr() -> None:
    gradients, positive = two_classes(rows=50)
    noise = MarvellNoise(2.0)
    noise.perturb(gradients, positive, randomness())
    assert repr(noise) == "MarvellNoise(ratio=2.0)"
    assert repr(Estimate.of(gradients, positive)) == "Estimate()"


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", None, True])
@pytest.mark.parametrize(
    "make",
    [lambda value: GaussianNoise(value, 1.0), lambda value: GaussianNoise(1.0, value), MarvellNoise],
    ids=["clip", "sigma", "ratio"],
)
def test_bad_arguments(make: Callable[[Any], GradientNoise], value: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a positive number"):
        make(value)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 1, 2, 1]),
        torch.tensor([-1.0, 1.0, 1.0, -1.0]),
        torch.tensor([0, 1, 1]),
        torch.zeros(4, 2),
        torch.tensor([0.0, 1.0, float("nan"), 1.0]),
        ["no", "yes", "no", "yes"],
        None,
    ],
    ids=str,
)
def test_marvell_needs_binary_labels(labels: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"MarvellNoise needs labels of 0 and 1 as a tensor \[4\]"):
        MarvellNoise(1.0).perturb(np.ones((4, 2)), labels, randomness())


@pytest.mark.parametrize(
    "labels",
    [torch.tensor([0, 1, 1, 0]), torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None], np.array([False, True, True, False])],
    ids=["integers", "a column of floats", "booleans"],
)
def test_marvell_takes_binary_labels_of_any_kind(labels: Any) -> None:
    gradients = np.arange(8.0).reshape(4, 2)
    noised = MarvellNoise(1.0).perturb(gradients, labels, randomness())
    assert np.array_equal(noised, MarvellNoise(1.0).perturb(gradients, torch.tensor([0, 1, 1, 0]), randomness()))
