"""Parameter sets: what is refused, and that measured noise stays below the bounds, and not far below."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from protocols.core.errors import InvalidInput
from protocols.core.randomness import OsRandomness
from protocols.he.bit_packing import LIMB
from protocols.he.flooded_set import ERROR_BOUND, FLOODING_BITS
from protocols.he.interface import MatrixShape
from protocols.he.layout import best_layout
from protocols.he.parameters import MAX_MODULUS_BITS, PARAMETER_SETS, TRAINING, TRIPLES
from protocols.he.residues import drop_bits, scale_down
from protocols.he.retired_parameters import RETIRED_SETS
from tests.protocols.he.bfv_helpers import (
    T,
    Watched,
    WithoutFlooding,
    operand_polynomials,
    scaled_noise,
    scaled_noise_as_sent,
    secret,
)

SETS = list(PARAMETER_SETS.values())


@pytest.mark.parametrize(
    "change",
    [
        {"identifier": 0},
        {"identifier": 1 << 16},
        {"degree": 8191},
        {"degree": 4096},  # 192 bits of modulus where 109 are safe
        {"primes": (*TRIPLES.primes[:-1], 281474976694273)},  # 236 bits
        {"primes": (*TRAINING.primes[:-1], TRAINING.primes[0])},  # a prime twice
        {"primes": (*TRAINING.primes[:-1], 65537 + 16384)},  # not prime
        {"primes": (*TRAINING.primes[:-1], 131071)},  # not 1 mod 2N
        {"primes": (65537, *TRAINING.primes[1:])},  # a small data prime
        {"primes": (562949953290241, *TRAINING.primes[1:])},  # 49 bits
        {"primes": TRAINING.primes[2:]},  # one data prime
        {"primes": (*TRAINING.primes[1:3], 2305843009213317121)},  # a special one of 61 bits
        {"reply_bits": 75},  # no room to decrypt
        {"reply_bits": 65},
        {"reply_bits": 77},  # with a fraction, more than two words
        {"dropped_bits": 0},
        {"dropped_bits": 12},  # no room to decrypt
        {"dropped_bits": 13},
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
    every = [*SETS, *RETIRED_SETS.values()]
    assert len({p.identifier for p in every}) == len({p.name for p in every}) == len(every)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_flooding_covers_exactly_max_norm(parameters):
    most = parameters.max_norm
    room = 1 << (parameters.flood_bits - FLOODING_BITS)
    assert parameters.product_noise(most) <= room < parameters.product_noise(most + 1)


def worst_product(public, parameters, shape):
    """The noise of one reply at its results and its layout, for factors of the largest size and random signs."""
    stream = OsRandomness()
    owner = secret(parameters)
    bundle = owner.encrypt(stream.ring((shape.k, shape.n), 59), shape)
    operand = public.load_operand(bundle, shape)
    signs = stream.ring((shape.m, shape.k), 1).astype(np.int64) * 2 - 1
    largest = min((1 << shape.factor_bits) - 1, (1 << 58) - 1)
    public.multiply_add(signs * largest, operand, stream.ring((shape.m, shape.n), 59), shape)
    return np.abs(scaled_noise(owner, public.seen[0])[public.places[0]]) // T, best_layout(shape, parameters)


@pytest.mark.parametrize(("parameters", "factor_bits"), [(TRAINING, 20), (TRIPLES, 59)], ids=["training", "triples"])
@pytest.mark.parametrize(("m", "k", "n"), [(40, 20, 20), (140, 20, 20), (6, 128, 20), (1, 1, 1), (1, 4000, 2)])
def test_product_noise_is_below_its_bound_and_not_far(parameters, factor_bits, m, k, n):
    shape = MatrixShape(m, k, n, factor_bits)
    noise, layout = worst_product(WithoutFlooding(parameters), parameters, shape)
    bound = parameters.product_noise(layout.norm)
    # One result is below 2^-12 of it once in 15 times, and below 2^-26 once in 250,000.
    assert bound >> (12 if noise.size > 2 else 26) < noise.max() <= bound


@pytest.mark.parametrize(
    ("parameters", "sides", "sums"), [(TRIPLES, (40, 20, 20), 2), (TRAINING, (9, 16, 512), 9)], ids=["four", "pairs"]
)
def test_noise_of_packing_is_within_the_mean_square_that_runs_are_counted_with(parameters, sides, sums):
    """Of factors so small that little else is left of a product's noise. Roundings are counted at their worst."""
    (m, k, n), owner, evaluator = sides, secret(parameters), WithoutFlooding(parameters)
    shape = MatrixShape(*sides, 1)
    assert (best_layout(shape, parameters).sums, best_layout(shape, parameters).reply_parts) == (sums, 1)
    operand = evaluator.load_operand(owner.encrypt(np.zeros((k, n), np.uint64), shape), shape)
    evaluator.multiply_add(np.ones((m, k), np.int64), operand, np.zeros((m, n), np.uint64), shape)
    noise = (scaled_noise(owner, evaluator.seen[0])[evaluator.places[0]] // T).astype(float)
    errors = ERROR_BOUND / 2 * parameters.degree * (parameters.switching_parts + 2)  # two of the encryption of zero
    # Keys differ: of 60, one had 1.2 times `errors`, and one a sixth.
    assert errors / 32 < np.square(noise).mean() < 8 * errors < parameters.switching_squares
    assert parameters.switching_squares < parameters.switching_noise**2 / 2**10


def test_flooding_fills_its_range_and_no_more():
    shape = MatrixShape(40, 20, 20, 22)
    evaluator = Watched()
    noise, layout = worst_product(evaluator, TRAINING, shape)
    most = TRAINING.largest_flood
    # Of 800 sums of three uniform numbers none is beyond 0.7 of the bound with probability 2e-11, beyond 0.8 with 7e-4.
    assert 0.7 * most < noise.max() <= most + TRAINING.product_noise(layout.norm)


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
def test_noise_of_an_encryption_of_zero_is_what_it_should_be(parameters):
    evaluator, shape = WithoutFlooding(parameters), MatrixShape(40, 20, 20, 20)
    operand = evaluator.load_operand(secret(parameters).encrypt(np.zeros((20, 20), np.uint64), shape), shape)
    evaluator.multiply_add(np.zeros((40, 20), np.int64), operand, np.zeros((40, 20), np.uint64), shape)
    noise = scaled_noise(secret(parameters), evaluator.seen[0])[evaluator.places[0]].astype(float) / T
    assert np.abs(noise).max() <= parameters.zero_noise + 1
    # (10.5 * 4 N / 3)^1/2, half of its square from e u and half from e2 s; 60 is seven times what 800 values vary.
    assert abs(noise.std() - 338) < 60


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
    reply = evaluator.multiply_add(np.ones((40, 20), np.int64), operand, stream.ring((40, 20), 59), shape)
    noise = np.abs(scaled_noise_as_sent(owner, reply.parts[0], evaluator.places[0])).max() / T
    assert parameters.reply_noise() / 16 < noise <= parameters.reply_noise() < 2 ** (parameters.reply_bits - 60) / 1.19


@pytest.mark.parametrize("parameters", SETS, ids=lambda p: p.name)
@pytest.mark.parametrize("flood", [-1, 1])
@pytest.mark.parametrize("message", [0, T // 2, T - 1])
def test_a_reply_in_the_worst_case_is_within_its_bound_and_decrypts(parameters, flood, message):
    """All flooding at its end, all of what it covers beside it, and roundings that all go one way as the key stands."""
    primes, degree, modulus = parameters.data_primes, parameters.degree, parameters.modulus
    key = np.frombuffer(secret(parameters).exported(), np.int8).astype(object)
    noise = flood * (parameters.largest_flood + (1 << (parameters.flood_bits - FLOODING_BITS)))
    # c1 just beside the middle of two steps: rounded up where it meets a 1 of the key at place 0 (or down, by `flood`)
    meets = np.concatenate((key[:1], -key[:0:-1]))
    steps = OsRandomness().ring((degree,), 60).astype(object)
    beside = flood * meets * (modulus // (10 << parameters.reply_bits))
    c1 = (((2 * steps + 1) * modulus >> (parameters.reply_bits + 1)) + beside) % modulus
    phase = (modulus * message + T // 2) // T + noise
    c0 = (phase - int((c1 * meets).sum())) % modulus
    scaled = _exact(scale_down(np.array([[int(v) % p for v in c1] for p in primes], np.uint64), parameters))
    sent = drop_bits(scale_down(np.array([[c0 % p] for p in primes], np.uint64), parameters), parameters)
    dropped = int(_exact(sent)[0]) << parameters.dropped_bits
    space = 1 << parameters.reply_bits
    found = (dropped + int((scaled * meets).sum())) % space * T % (space * T)
    off = (found - space * message + space * T // 2) % (space * T) - space * T // 2
    assert abs(off) / T <= parameters.reply_noise()
    assert abs(off) / T > 0.28 * parameters.reply_noise()  # c0 is rounded either way


def _exact(wide):
    return wide.low.astype(object) + wide.high.astype(object) * 2**LIMB
