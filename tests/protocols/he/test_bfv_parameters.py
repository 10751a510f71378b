"""Parameter sets: what is refused, and that measured noise stays below the bounds, and not far below."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from protocols.core.errors import InvalidInput
from protocols.core.randomness import OsRandomness
from protocols.he import seal_wire as wire
from protocols.he.interface import MatrixShape
from protocols.he.layout import best_layout
from protocols.he.parameters import FLOODING_BITS, MAX_MODULUS_BITS, PARAMETER_SETS, TRAINING, TRIPLES
from tests.protocols.he.bfv_helpers import T, Watched, WithoutFlooding, operand_polynomials, scaled_noise, secret

SETS = list(PARAMETER_SETS.values())


@pytest.mark.parametrize(
    "change",
    [
        {"identifier": 0},
        {"identifier": 1 << 16},
        {"degree": 8191},
        {"degree": 4096},  # 161 bits of modulus where 109 are safe
        {"primes": (*TRIPLES.primes[:-1], 144115188075134977)},  # 237 bits
        {"primes": (*TRAINING.primes[:-1], TRAINING.primes[0])},  # a prime twice
        {"primes": (*TRAINING.primes[:-1], 65537 + 16384)},  # not prime
        {"primes": (*TRAINING.primes[:-1], 131071)},  # not 1 mod 2N
        {"primes": (*TRAINING.primes[:-1], 576460752303210497)},  # 59 bits cannot be packed
        {"primes": (*TRAINING.primes[:-1], 2305843009213317121)},  # 61 bits
        {"reply_levels": 0},
        {"reply_levels": 3},
        {"reply_levels": 1},  # 60 bits do not hold 59 and noise
        {"flood_bits": 63},
        {"flood_bits": 125},
        {"flood_bits": 84},  # no room to decrypt
    ],
)
def test_insecure_or_useless_literals_are_refused(change):
    with pytest.raises(InvalidInput):
        dataclasses.replace(TRAINING, **change)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_sets_are_frozen_secure_and_distinct(parameters):
    assert math.prod(parameters.primes).bit_length() <= MAX_MODULUS_BITS[parameters.degree]
    assert parameters.decryption_margin_bits > 0.25
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.flood_bits = 0
    assert len({p.identifier for p in SETS}) == len({p.name for p in SETS}) == len(SETS)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_flooding_covers_exactly_max_norm(parameters):
    most = parameters.max_norm
    room = 1 << (parameters.flood_bits - FLOODING_BITS)
    assert parameters.product_noise(most) <= room < parameters.product_noise(most + 1)


def worst_product(public, parameters, shape):
    """The noise of one reply by coefficient and its layout, for factors of the largest size and random signs."""
    stream = OsRandomness()
    owner = secret(parameters)
    bundle = owner.encrypt(stream.ring((shape.k, shape.n), 59), shape)
    operand = public.load_operand(bundle, shape)
    signs = stream.ring((shape.m, shape.k), 1).astype(np.int64) * 2 - 1
    largest = min((1 << shape.factor_bits) - 1, (1 << 58) - 1)
    public.multiply_add(signs * largest, operand, stream.ring((shape.m, shape.n), 59), shape)
    return np.abs(scaled_noise(owner, public.seen[0])) // T, best_layout(shape, parameters)


@pytest.mark.parametrize(("parameters", "factor_bits"), [(TRAINING, 20), (TRIPLES, 59)], ids=["training", "triples"])
@pytest.mark.parametrize(("m", "k", "n"), [(40, 20, 20), (6, 128, 20), (1, 1, 1), (1, 4000, 2)])
def test_product_noise_is_below_its_bound_and_not_far(parameters, factor_bits, m, k, n):
    shape = MatrixShape(m, k, n, factor_bits)
    noise, layout = worst_product(WithoutFlooding(parameters), parameters, shape)
    bound = parameters.product_noise(layout.norm)
    assert bound >> 12 < noise.max() <= bound


def test_flooding_fills_its_range_and_no_more():
    shape = MatrixShape(40, 20, 20, 22)
    evaluator = Watched()
    noise, layout = worst_product(evaluator, TRAINING, shape)
    most = TRAINING.largest_flood
    assert 0.8 * most < noise[evaluator.places[0]].max() <= most + TRAINING.product_noise(layout.norm)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_noise_of_an_encryption_of_zero_is_what_it_should_be(parameters):
    evaluator, shape = WithoutFlooding(parameters), MatrixShape(40, 20, 20, 20)
    operand = evaluator.load_operand(secret(parameters).encrypt(np.zeros((20, 20), np.uint64), shape), shape)
    evaluator.multiply_add(np.zeros((40, 20), np.int64), operand, np.zeros((40, 20), np.uint64), shape)
    noise = scaled_noise(secret(parameters), evaluator.seen[0]).astype(float) / T
    assert np.abs(noise).max() <= parameters.zero_noise + 1
    assert abs(noise.std() - 338) < 30  # (10.5 * 4 N / 3)^1/2, half of its square from e u and half from e2 s


def test_fresh_noise_is_below_its_bound():
    owner, shape = secret(), MatrixShape(1, 20, 20, 26)
    bundle = owner.encrypt(OsRandomness().ring((20, 20), 59), shape)
    noise = np.abs(scaled_noise(owner, operand_polynomials(owner, bundle.parts[0]))).max() / T
    assert 8 < noise <= 21.5


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_noise_of_a_reply_as_sent_is_below_its_bound_and_not_far(parameters):
    shape, stream, owner = MatrixShape(40, 20, 20, 26), OsRandomness(), secret(parameters)
    evaluator = Watched(parameters)
    operand = evaluator.load_operand(owner.encrypt(stream.ring((20, 20), 59), shape), shape)
    evaluator.multiply_add(np.ones((40, 20), np.int64), operand, stream.ring((40, 20), 59), shape)
    hidden = owner._seal.ciphertext(evaluator.seen[0], owner._seal.data_level)
    for _ in range(len(parameters.data_primes) - parameters.reply_levels):
        owner._seal.evaluator.mod_switch_to_next_inplace(hidden)
    kept = wire.saved_ciphertext(owner._seal.save(hidden), parameters.reply_levels, parameters.degree)
    noise = np.abs(scaled_noise(owner, kept)[evaluator.places[0]]).max() / T
    limit = math.prod(parameters.reply_primes) / (2 * T)
    assert parameters.reply_noise() / 16 < noise <= parameters.reply_noise() < limit / 1.19
