"""The noise that Marvell's optimisation problem asks for, against a search over all noise."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from secure_hfl.privacy.marvell import Classes, NoiseVariances, optimal_noise

Matrix = NDArray[np.float64]
SPREADS = st.floats(1e-4, 10)


@st.composite
def problems(
    draw: st.DrawFn, widths: st.SearchStrategy[int], spreads: st.SearchStrategy[float]
) -> tuple[Classes, float]:
    """Two classes and a power, from hardly any noise to a lot."""
    gap = draw(st.floats(1e-3, 100))
    classes = Classes(gap, draw(spreads), draw(spreads), draw(widths), draw(st.floats(0.02, 0.98)))
    return classes, draw(st.floats(0.01, 50)) * gap


def power_of(classes: Classes, noise: NoiseVariances) -> float:
    """Mean squared norm of the noise."""
    others, p = classes.width - 1, classes.share
    negative = noise.negative_along + others * noise.negative_across
    return (1 - p) * negative + p * (noise.positive_along + others * noise.positive_across)


def sum_kl(classes: Classes, noise: NoiseVariances) -> float:
    """How well the classes can still be told apart. Infinite if one class varies where the other does not."""
    along = classes.negative + noise.negative_along, classes.positive + noise.positive_along
    across = classes.negative + noise.negative_across, classes.positive + noise.positive_across
    if classes.gap and not all(along):
        return inf
    total = ratios(*along) + sum(classes.gap / each for each in along if each)
    if classes.width > 1:
        total += (classes.width - 1) * ratios(*across)
    return total / 2 - classes.width


def ratios(one: float, other: float) -> float:
    """x/y + y/x; two directions in which nothing varies are alike."""
    if one == other:
        return 2.0
    return one / other + other / one if one and other else inf


def search(classes: Classes, power: float) -> float:
    """The smallest sumKL that 30,000 ways to share out the power reach, most of them near the best so far."""
    random = np.random.default_rng(0)
    others, p = classes.width - 1, classes.share
    costs = np.array([1 - p, (1 - p) * others, p, p * others])
    costs[costs == 0] = np.inf  # one dimension has no directions across
    shares = random.dirichlet(np.full(4, 0.5), 5000)
    best, least = shares[0], np.inf
    for scale in (1.0, 0.3, 0.1, 0.03, 0.01):
        noise = power * shares / costs
        along = classes.negative + noise[:, 0], classes.positive + noise[:, 2]
        across = classes.negative + noise[:, 1], classes.positive + noise[:, 3]
        with np.errstate(all="ignore"):
            total = along[0] / along[1] + along[1] / along[0] + classes.gap * (1 / along[0] + 1 / along[1])
            total += others * (across[0] / across[1] + across[1] / across[0]) if others else 0
        values = np.where(np.isnan(total), np.inf, total) / 2 - classes.width
        if values.min() < least:
            least, best = float(values.min()), shares[values.argmin()]
        moved = best * np.exp(scale * random.normal(size=(5000, 4))) + scale * 1e-3 * random.random((5000, 4))
        shares = moved / moved.sum(axis=1, keepdims=True)
    return least


@settings(max_examples=100, deadline=None)
@given(problems(st.one_of(st.integers(1, 3), st.integers(4, 40)), st.one_of(st.just(0.0), SPREADS)))
def test_no_other_noise_of_that_power_hides_more(problem: tuple[Classes, float]) -> None:
    classes, power = problem
    noise = optimal_noise(classes, power)
    assert power_of(classes, noise) <= power * (1 + 1e-9)
    assert min(vars(noise).values()) >= 0
    ours, found = sum_kl(classes, noise), search(classes, power)
    assert ours <= found + 1e-7 * (1 + found)
    assert found <= 1.2 * ours + 0.05, "the search comes near, so it would have noticed"


def gaussian_sum_kl(difference: Matrix, negative: Matrix, positive: Matrix) -> float:
    """By the definition, for any covariances."""
    inverses = np.linalg.inv(negative), np.linalg.inv(positive)
    traces = np.trace(inverses[0] @ positive) + np.trace(inverses[1] @ negative)
    return float(traces / 2 - len(difference) + difference @ (inverses[0] + inverses[1]) @ difference / 2)


@settings(max_examples=40, deadline=None)
@given(problems(st.integers(2, 4), SPREADS), st.integers(0, 2**32))
def test_no_noise_of_another_shape_does(problem: tuple[Classes, float], seed: int) -> None:
    classes, power = problem
    random, width, p = np.random.default_rng(seed), classes.width, classes.share
    difference = random.normal(size=width)
    difference *= np.sqrt(classes.gap) / np.linalg.norm(difference)
    unit = np.outer(difference, difference) / classes.gap
    clean = classes.negative * np.eye(width), classes.positive * np.eye(width)
    noise = optimal_noise(classes, power)
    shaped = [
        along * unit + across * (np.eye(width) - unit)
        for along, across in (
            (noise.negative_along, noise.negative_across),
            (noise.positive_along, noise.positive_across),
        )
    ]
    ours = gaussian_sum_kl(difference, clean[0] + shaped[0], clean[1] + shaped[1])
    assert ours == pytest.approx(sum_kl(classes, noise), rel=1e-6, abs=1e-6)
    for _ in range(50):
        # Around the best as well as anywhere: any covariance is a square.
        scale = 10.0 ** random.uniform(-3, 1)
        others = []
        for each in shaped:
            factor = np.linalg.cholesky(each + 1e-12 * np.eye(width)) + scale * np.sqrt(power) * random.normal(
                size=(width, width)
            )
            others.append(factor @ factor.T)
        used = (1 - p) * np.trace(others[0]) + p * np.trace(others[1])
        others = [each * power / used for each in others]
        assert ours <= gaussian_sum_kl(difference, clean[0] + others[0], clean[1] + others[1]) * (1 + 1e-6) + 1e-9


def test_classes_of_one_size_without_spread() -> None:
    """The case in the docstring: sumKL 1 / ratio."""
    for ratio in (0.5, 4.0, 16.0):
        classes = Classes(2.0, 0.0, 0.0, 8, 0.5)
        noise = optimal_noise(classes, ratio * classes.gap)
        assert sum_kl(classes, noise) == pytest.approx(1 / ratio)
        assert noise.negative_across == noise.positive_across == 0.0


def test_no_power_is_no_noise() -> None:
    assert optimal_noise(Classes(1.0, 0.5, 0.1, 3, 0.1), 0.0) == NoiseVariances(0.0, 0.0, 0.0, 0.0)
