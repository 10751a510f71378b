"""A key owner checks a guess of the evaluator's factor on all the noise of a run. Small flooding confirms it.

The owner knows its own errors e, so from a guess of X it knows the noise v = X e that the guess would leave, and looks
whether what it sees leans that way: the sum of (noise x v) over many results, in deviations of what flooding alone
would give. Small flooding is added here to the true noise of replies without any; the library's own is 2^83 wide.

Uniform flooding has a weakness of its own: a result outside of the flooding's range. One is found in a run as soon as
results times v reach that range, however small each single distance is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.randomness import OsRandomness
from protocols.he.budget import smooth_squares
from protocols.he.interface import MatrixShape
from protocols.he.parameters import TRAINING
from tests.protocols.he.bfv_helpers import T, Watched, WithoutFlooding, scaled_noise, secret

SHAPE = MatrixShape(40, 20, 20, 22)
STREAM = OsRandomness()


def replies(*evaluators: Watched) -> list[NDArray[np.float64]]:
    """The noise of all results of four products of one factor, as the owner finds it in what each evaluator sends."""
    owner, factor = secret(), STREAM.ring((SHAPE.m, SHAPE.k), SHAPE.factor_bits).astype(np.int64)
    for _ in range(4):
        bundle = owner.encrypt(STREAM.ring((SHAPE.k, SHAPE.n), 59), SHAPE)
        for each in evaluators:
            addend = STREAM.ring((SHAPE.m, SHAPE.n), 59)
            each.multiply_add(factor, each.load_operand(bundle, SHAPE), addend, SHAPE)
    return [
        np.concatenate(
            [scaled_noise(owner, seen)[places].astype(float) / T for seen, places in zip(each.seen, each.places)]
        )
        for each in evaluators
    ]


def deviations(noise: NDArray[np.float64], guess: NDArray[np.float64], bits: int) -> float:
    """How far the noise leans the way of a guess, in deviations: the flooding has one of 2^(bits - 1)."""
    return float(noise @ guess / np.linalg.norm(guess)) / 2.0 ** (bits - 1)


def flooding(count: int, bits: int) -> NDArray[np.float64]:
    return (STREAM.uniform((3, count)).sum(axis=0) - 1.5) * 2.0**bits


def test_small_flooding_confirms_a_guess() -> None:
    """Flooding four times as wide as what it hides: 3,200 results together say which factor it was."""
    (leaning,) = replies(WithoutFlooding())
    bits = math.ceil(math.log2(np.sqrt(np.mean(np.square(leaning))))) + 2
    alone = flooding(len(leaning), bits)
    assert deviations(leaning + flooding(len(leaning), bits), leaning, bits) > 8
    assert abs(deviations(alone, leaning, bits)) < 6
    assert Distance(smooth_squares(float(leaning @ leaning), bits)).total > 1


def test_the_flooding_of_the_library_confirms_nothing() -> None:
    """The guess is right, and what is seen does not lean its way: 2^-40 of a deviation, in noise of one."""
    guess, noise = replies(WithoutFlooding(), Watched())
    bits = TRAINING.flood_bits
    assert abs(deviations(noise, guess, bits)) < 6
    assert 0.9 < float(noise.std()) / 2.0 ** (bits - 1) < 1.1
    assert Distance(smooth_squares(float(guess @ guess), bits)).bits > 44


def test_uniform_noise_is_told_at_its_ends_where_smooth_noise_is_not() -> None:
    """The same range, the same shift, 100 runs of 4,096 results each."""
    reach, shift, results, runs = 3.0 * 2**20, 2.0**10, 4096, 100
    uniform = STREAM.uniform((runs, results)) * reach + shift
    found = float((uniform.max(axis=1) > reach).mean())
    assert found > 0.5
    bound = Distance(smooth_squares(results * shift**2, 20)).total
    smooth = STREAM.uniform((runs, 3, results)).sum(axis=1) * reach / 3 + shift
    assert bound < 0.08
    assert float((smooth.max(axis=1) > reach).mean()) < 0.05
