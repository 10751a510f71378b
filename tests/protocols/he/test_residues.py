"""Arithmetic on residues against Python integers, and the distributions of errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.randomness import SeededRandomness
from protocols.he.interface import RING_BITS
from protocols.he.parameters import ERROR_BOUND, PARAMETER_SETS, TRAINING
from protocols.he.residues import add_residues, multiply_by, scaled_message, small_error, ternary
from tests.protocols.he.bfv_helpers import T, compose

SETS = list(PARAMETER_SETS.values())
PRIMES = sorted({prime for parameters in SETS for prime in parameters.primes})


@given(
    st.lists(st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, (1 << 32) - 1, (1 << 64) - 1]))),
    st.sampled_from(PRIMES),
    st.data(),
)
def test_products_of_words_are_exact(values, prime, data):
    constant = data.draw(st.one_of(st.integers(0, prime - 1), st.sampled_from([0, 1, prime - 1])))
    product = multiply_by(np.array(values, np.uint64), constant, prime)
    assert product.tolist() == [value * constant % prime for value in values]


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_messages_are_scaled_and_rounded(parameters):
    edges = np.array([0, 1, 2, T // 2 - 1, T // 2, T // 2 + 1, T - 2, T - 1], np.uint64)
    ring = np.concatenate((edges, SeededRandomness(1, "scale").ring((200,), RING_BITS)))
    modulus = math.prod(parameters.data_primes)
    scaled = compose(scaled_message(ring, parameters), parameters.data_primes)
    for found, message in zip(scaled, ring.tolist(), strict=True):
        assert abs(2 * (found * T - modulus * message)) <= T


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_sums_are_reduced(parameters):
    primes = np.array(parameters.data_primes, np.uint64)[:, None]
    total = add_residues(np.hstack((primes - 1, primes - 1)), np.hstack((primes - 1, 0 * primes)), parameters)
    assert (total == np.hstack((primes - 2, primes - 1))).all()
    assert (add_residues(primes - 1, 0 * primes + 1, parameters) == 0).all()


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_small_errors_are_centred_binomials(parameters):
    """Against the exact probabilities, within five standard deviations of a count."""
    modulus = math.prod(parameters.data_primes)
    found = compose(small_error(SeededRandomness(3, "error"), parameters), parameters.data_primes)
    error = np.where(found > modulus // 2, found - modulus, found).astype(int)
    for value in range(-ERROR_BOUND, ERROR_BOUND + 1):
        mean = len(error) * math.comb(2 * ERROR_BOUND, ERROR_BOUND + value) / 4**ERROR_BOUND
        assert abs((error == value).sum() - mean) <= 5 * math.sqrt(mean) + 1
    assert abs(error).max() <= ERROR_BOUND
    assert len(error) == parameters.degree


def test_ternary_coefficients_are_uniform():
    drawn = ternary(SeededRandomness(4, "ternary"), TRAINING.degree)
    for value in (0, 1, T - 1):
        assert abs((drawn == value).mean() - 1 / 3) < 5 * math.sqrt(2 / 9 / TRAINING.degree)
    assert len(set(drawn.tolist())) == 3


def test_one_stream_gives_fresh_errors():
    stream = SeededRandomness(5, "fresh")
    assert (small_error(stream, TRAINING) != small_error(stream, TRAINING)).any()
    assert (ternary(stream, TRAINING.degree) != ternary(stream, TRAINING.degree)).any()
