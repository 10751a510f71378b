"""Arithmetic on residues against Python integers, and the distributions of errors."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.randomness import SeededRandomness
from protocols.he.bit_packing import LIMB, Wide
from protocols.he.flooded_set import ERROR_BOUND
from protocols.he.interface import RING_BITS
from protocols.he.parameters import PARAMETER_SETS, TRAINING, TRIPLES
from protocols.he.residues import (
    add_residues,
    decode,
    drop_bits,
    lift,
    multiply_by,
    residues_of,
    scale_down,
    scaled_message,
    small_error,
    subtract_residues,
    ternary,
)
from protocols.he.transforms import coefficients, least_root
from tests.protocols.he.bfv_helpers import T, compose

SETS = list(PARAMETER_SETS.values())


def words(number, label):
    return SeededRandomness(number, label).ring((TRAINING.degree,), 64)


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
    scaled = compose(scaled_message(ring, parameters.data_primes), parameters.data_primes)
    for found, message in zip(scaled, ring.tolist(), strict=True):
        assert abs(2 * (found * T - modulus * message)) <= T


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_sums_are_reduced(parameters):
    primes = np.array(parameters.data_primes, np.uint64)[:, None]
    total = add_residues(
        np.hstack((primes - 1, primes - 1)), np.hstack((primes - 1, 0 * primes)), parameters.data_primes
    )
    assert (total == np.hstack((primes - 2, primes - 1))).all()
    assert (add_residues(primes - 1, 0 * primes + 1, parameters.data_primes) == 0).all()
    assert (subtract_residues(0 * primes, primes - 1, parameters.data_primes) == 1).all()
    assert (subtract_residues(primes - 1, primes - 1, parameters.data_primes) == 0).all()


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_small_integers_are_themselves_modulo_every_prime(parameters):
    signed = np.array([-21, -1, 0, 1, 21, -(1 << 40)], np.int64)
    found = compose(residues_of(signed, parameters.data_primes), parameters.data_primes)
    assert found.tolist() == [int(value) % parameters.modulus for value in signed]


def test_small_errors_are_centred_binomials():
    """Against the exact probabilities, within five standard deviations of a count."""
    error = small_error(words(3, "error"))
    for value in range(-ERROR_BOUND, ERROR_BOUND + 1):
        mean = len(error) * math.comb(2 * ERROR_BOUND, ERROR_BOUND + value) / 4**ERROR_BOUND
        assert abs((error == value).sum() - mean) <= 5 * math.sqrt(mean) + 1
    assert abs(error).max() <= ERROR_BOUND
    assert len(error) == TRAINING.degree


def test_ternary_coefficients_are_uniform():
    drawn = ternary(words(4, "ternary"))
    for value in (0, 1, -1):
        assert abs((drawn == value).mean() - 1 / 3) < 5 * math.sqrt(2 / 9 / TRAINING.degree)
    assert len(set(drawn.tolist())) == 3


def integers(wide):
    return wide.low.astype(object) + wide.high.astype(object) * 2**LIMB


def edges(modulus):
    """Integers modulo something: the ends, where rounding turns, and some in between."""
    drawn = [int.from_bytes(SeededRandomness(6, f"{i}").bytes(32), "little") % modulus for i in range(500)]
    turns = [(2 * i + 1) * modulus // 512 + d for i in range(0, 256, 5) for d in (-1, 0, 1)]
    return np.array([0, 1, modulus // 2, modulus // 2 + 1, modulus - 1, *turns, *drawn], object)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_scaling_is_the_formula_of_the_format_and_rounds_as_its_bound_says(parameters):
    values, modulus, bits = edges(parameters.modulus), parameters.modulus, parameters.reply_bits
    primes = parameters.data_primes
    residues = np.array([[int(value) % prime for value in values] for prime in primes], np.uint64)
    found = integers(scale_down(residues, parameters))
    total = 1 << 51
    for prime in primes:
        constant = round(Fraction(1 << (bits + 52), prime))
        total = total + constant * (values * pow(modulus // prime, -1, prime) % prime)
    assert (found == (total >> 52) % (1 << bits)).all()
    off = (found * modulus - (values << bits) + (modulus << bits) // 2) % (modulus << bits) - (modulus << bits) // 2
    most = Fraction(1, 2) + Fraction(sum(primes), 1 << 53)
    assert max(abs(Fraction(int(each), modulus)) for each in off) <= most


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_dropped_bits_are_rounded_away(parameters):
    values, dropped = edges(1 << parameters.reply_bits), parameters.dropped_bits
    wide = Wide((values % 2**LIMB).astype(np.uint64), (values >> LIMB).astype(np.uint64))
    exact = ((values + (1 << (dropped - 1))) >> dropped) % (1 << parameters.sent_bits)
    assert (integers(drop_bits(wide, parameters)) == exact).all()


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_replies_are_decoded_in_exact_integers(parameters):
    """From c1 s at its largest, either way, and anything between."""
    bits, dropped, primes = parameters.reply_bits, parameters.dropped_bits, parameters.data_primes[:2]
    most = parameters.degree << (bits - 1)
    products = edges(2 * most + 1) - most
    sent = edges(1 << parameters.sent_bits)[::-1]
    wide = Wide((sent % 2**LIMB).astype(np.uint64), (sent >> LIMB).astype(np.uint64))
    residues = np.array([[int(value) % prime for value in products] for prime in primes], np.uint64)
    exact = ((sent << dropped) + products + (1 << (bits - 60)) >> (bits - 59)) % T
    assert (decode(wide, residues, parameters) == exact).all()


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_lifting_is_centred(parameters):
    bits, primes = parameters.reply_bits, parameters.data_primes[:2]
    values = edges(1 << bits)
    wide = Wide((values % 2**LIMB).astype(np.uint64), (values >> LIMB).astype(np.uint64))
    centred = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    for row, prime in zip(lift(wide, primes, bits), primes, strict=True):
        assert (row == centred % prime).all()


def test_coefficients_are_those_whose_values_were_given():
    """At every power of the root that a few indices stand for, and X itself for the least root."""
    for prime in (TRAINING.primes[0], TRIPLES.primes[1]):
        root, degree = least_root(prime, 8192), 8192
        assert pow(root, degree, prime) == prime - 1
        values = SeededRandomness(7, "values").ring((degree,), 64) % np.uint64(prime)
        found = coefficients(values, prime).tolist()
        for index in (0, 1, 2, 4095, 8191):
            point, total = pow(root, 2 * int(f"{index:013b}"[::-1], 2) + 1, prime), 0
            for each in reversed(found):
                total = (total * point + each) % prime
            assert total == values[index]


def test_the_root_is_the_least_of_all():
    prime = 97
    roots = [each for each in range(1, prime) if pow(each, 16, prime) == prime - 1]
    assert least_root(prime, 16) == min(roots)
