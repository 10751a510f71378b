"""Lattice attacks on what the two sides see: exact results give W away, noisy ones do not, asking again does not help.

Exact      Every row of an exact z is an integer combination of the columns of W with small coefficients; likewise da
           and the rows of W. LLL on sixty rows returns W itself, up to signs and order. The weak design is our
           protocol with a smoothing noise of 0; both ends' views are taken from the ring elements that they decrypt.
Repeated   The weak design draws fresh noise whenever it is asked. After 1,000 times the average is within a tenth of a
           step, and W^-1 z must be close to integers, which only the right W does. For two features an orthogonal W is
           one angle, so all of them are tried. With noise from a PRF the 1,001st answer is the first one again.

Reference: Nguyen, Regev, Learning a Parallelepiped (EUROCRYPT 2006), for what a signer's exact answers tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flint import fmpz_mat
from numpy.typing import NDArray

from protocols.core.fixed_point import FEATURE_BITS, WEIGHT_BITS
from protocols.core.randomness import SeededRandomness
from protocols.he.interface import as_signed
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import noise_in_ring
from protocols.layer.smoothing import SmoothingNoise
from tests.protocols.layer.helpers import QUIET, Layer, NoNoise, normal

WIDTH, ROWS = 20, 60


def short_basis(results: NDArray[np.int64]) -> NDArray[np.float64]:
    """LLL of the rows; the zero rows dropped."""
    reduced = np.array([[int(x) for x in row] for row in fmpz_mat(results.tolist()).lll().tolist()], dtype=float)
    return reduced[np.abs(reduced).sum(axis=1) > 0]


def found(basis: NDArray[np.float64], rows: NDArray[np.float64]) -> int:
    """How many of W's rows stand in the basis, up to sign and 1e-6 of their size."""
    return sum(any(np.allclose(row, sign * one, atol=1e-6) for one in basis for sign in (1, -1)) for row in rows)


@pytest.mark.parametrize(("parameters", "recovered"), [(NoNoise(check_every=0), WIDTH), (QUIET, 0)])
def test_lll_on_z_and_on_da(parameters: LayerParameters, recovered: int) -> None:
    layer = Layer(WIDTH, WIDTH, ROWS, parameters=parameters)
    weights = layer.weights()
    layer.forward(normal(1, ROWS, WIDTH))
    basis = short_basis(layer.exact_projection()) * 2.0**-WEIGHT_BITS
    assert found(basis, weights.T) == recovered
    layer.backward(normal(2, ROWS, WIDTH, scale=1e-3), 0.1)
    basis = short_basis(layer.exact_gradient(ROWS)) * 2.0**-WEIGHT_BITS
    assert found(basis, weights) == recovered


@pytest.mark.parametrize(("parameters", "recovered"), [(NoNoise(check_every=0), True), (QUIET, False)])
def test_with_the_basis_go_the_features(parameters: LayerParameters, recovered: bool) -> None:
    layer, a = Layer(WIDTH, WIDTH, ROWS, parameters=parameters), normal(1, ROWS, WIDTH)
    layer.forward(a)
    seen = layer.exact_projection()
    basis = short_basis(seen)[-WIDTH:]  # of full rank also with noise, where there are more rows than that
    guess = np.linalg.lstsq(basis.T, seen.T.astype(float), rcond=None)[0].T * 2.0**-FEATURE_BITS
    matches = np.abs(guess.T @ a / (np.linalg.norm(guess, axis=0)[:, None] * np.linalg.norm(a, axis=0)))
    best = matches.max(axis=0)  # |cosine| of every feature with the guess that is most like it
    assert (best > 0.9999).all() if recovered else (best < 0.9).all()


# The same query, a thousand times ------------------------------------------------------------------------------------

REPEATS = 1000
CANDIDATES = 400_000


def averaged_answers(noise: Callable[[], SmoothingNoise]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The average of 1,000 answers to one query of 60 rows, in steps of a, by the ring computation; and a."""
    parameters = LayerParameters(weight_norm=1.0)
    a = np.rint(normal(4, ROWS, 2, scale=2.0**-4) * 2.0**FEATURE_BITS).astype(np.int64)
    angle = 0.7391
    w = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    exact = a @ np.rint(w.T * 2.0**WEIGHT_BITS).astype(np.int64)
    sigma = parameters.smoothing_sigma(2) * 2.0**WEIGHT_BITS
    total = np.zeros(exact.shape)
    for _ in range(REPEATS):
        total += exact + as_signed(noise_in_ring(noise().draw(0, 0, a, 2), sigma))
    return total / REPEATS * 2.0**-WEIGHT_BITS, a


def features_by_trying(z: NDArray[np.float64]) -> tuple[float, NDArray[Any]]:
    """(how close to integers, a) for the angle that brings W^-1 z closest: 1 is integers, 0 is anything."""
    best = (-1.0, z)
    for angles in np.array_split(np.linspace(0, np.pi / 2, CANDIDATES, endpoint=False), 40):
        cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
        turned = np.stack((z[:, 0] * cosine + z[:, 1] * sine, -z[:, 0] * sine + z[:, 1] * cosine), axis=-1)
        scores = np.cos(2 * np.pi * turned).mean(axis=(1, 2))
        top = int(scores.argmax())
        if scores[top] > best[0]:
            best = (float(scores[top]), np.rint(turned[top]))
    return best


def share_recovered(guess: NDArray[Any], a: NDArray[np.int64]) -> float:
    """Entries of a that are exactly right, in either order of the two features, up to signs."""
    return max(float((np.abs(guess) == np.abs(a[:, order])).mean()) for order in ([0, 1], [1, 0]))


def keys() -> Callable[[], SmoothingNoise]:
    numbers = iter(range(REPEATS))
    return lambda: SmoothingNoise(SeededRandomness(next(numbers), "a fresh key for every query"))


def test_fresh_noise_averages_away() -> None:
    z, a = averaged_answers(keys())
    score, guess = features_by_trying(z)
    assert score > 0.5
    assert share_recovered(guess, a) > 0.95


def test_noise_that_belongs_to_the_query_does_not() -> None:
    ours = SmoothingNoise(SeededRandomness(0, "one key for the session"))
    z, a = averaged_answers(lambda: ours)
    score, guess = features_by_trying(z)
    assert score < 0.5
    assert share_recovered(guess, a) < 0.2


def test_the_protocol_answers_a_repeated_query_alike() -> None:
    layer, a = Layer(3, 3, 4), normal(1, 4, 3)
    answers = []
    for _ in range(5):
        layer.forward(a)
        answers.append(layer.exact_projection())
        layer.skip()
    assert all((answer == answers[0]).all() for answer in answers)
