"""Rounding is as exact as promised, unbiased where promised, and never silent when a value does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols.core.errors import LocalMisuse, OutOfRange
from protocols.core.fixed_point import (
    BLOCK_BITS,
    FACTOR_BITS,
    FEATURE_BITS,
    GRADIENT_FEATURE_BITS,
    MAX_EXPONENT,
    MIN_EXPONENT,
    STEP_BITS,
    WEIGHT_BITS,
    decode,
    encode,
    encode_block,
    encode_stochastic,
)
from protocols.core.randomness import SeededRandomness
from protocols.he.interface import RING_BITS

LIMIT = 64.0
FLOAT32_MAX = float(np.finfo(np.float32).max)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)
in_range = hnp.arrays(np.float32, shapes, elements=st.floats(-LIMIT, LIMIT, width=32))
any_finite = hnp.arrays(np.float32, shapes, elements=st.floats(allow_nan=False, allow_infinity=False, width=32))


def stream(number: int = 0) -> SeededRandomness:
    return SeededRandomness(number, "fixed point")


def test_products_come_out_at_the_scale_where_they_are_used():
    assert STEP_BITS + GRADIENT_FEATURE_BITS == WEIGHT_BITS == 2 * FACTOR_BITS
    assert FEATURE_BITS + WEIGHT_BITS == 48
    assert RING_BITS - 1 - 48 == 10  # |z| < 1024


@given(in_range, st.sampled_from([GRADIENT_FEATURE_BITS, FEATURE_BITS, STEP_BITS]))
def test_a_round_trip_is_within_half_a_step(values, bits):
    integers = encode("x", values, bits, LIMIT)
    assert integers.dtype == np.int64
    assert np.abs(integers * 2.0**-bits - values.astype(float)).max() <= 2.0 ** -(bits + 1)


@given(hnp.arrays(np.int64, shapes, elements=st.integers(-(1 << 22), 1 << 22)))
def test_what_float32_holds_survives_decode_and_encode(integers):
    values = decode("x", integers, FEATURE_BITS, LIMIT)
    assert values.dtype == np.float32
    assert (encode("x", values, FEATURE_BITS, LIMIT) == integers).all()


@given(in_range, st.integers(0, 1000))
def test_stochastic_rounding_takes_one_of_the_two_neighbours(values, number):
    integers = encode_stochastic("x", values, STEP_BITS, LIMIT, stream(number))
    scaled = values.astype(float) * 2.0**STEP_BITS
    assert (np.abs(integers - scaled) < 1).all() or (integers == scaled).all()


@pytest.mark.parametrize("fraction", [0.0, 2.0**-10, 0.25, 0.5, 0.999])
@pytest.mark.parametrize("sign", [1, -1])
def test_stochastic_rounding_is_unbiased(fraction, sign):
    """Mean of 40,000 with a fixed seed; six standard deviations."""
    count = 40_000
    values = np.full((count, 1), sign * (3 + fraction) * 2.0**-STEP_BITS)
    mean = encode_stochastic("x", values, STEP_BITS, LIMIT, stream()).mean()
    assert abs(mean - sign * (3 + fraction)) <= 6 * math.sqrt(fraction * (1 - fraction) / count)


def test_nearest_rounding_would_lose_what_stochastic_rounding_keeps():
    tiny = np.full((40_000, 1), 0.1 * 2.0**-STEP_BITS)
    assert not encode("x", tiny, STEP_BITS, LIMIT).any()
    assert encode_stochastic("x", tiny, STEP_BITS, LIMIT, stream()).sum() == pytest.approx(4000, rel=0.1)


def test_roundings_are_independent_between_entries_and_calls():
    randomness, values = stream(), np.full((4, 500), 0.5 * 2.0**-STEP_BITS)
    first, second = (encode_stochastic("x", values, STEP_BITS, LIMIT, randomness) for _ in range(2))
    assert (first != second).any()
    assert (first[0] != first[1]).any()


@given(any_finite)
def test_a_block_is_within_half_a_step_of_its_exponent(values):
    mantissas, exponent = encode_block("x", values)
    step = 2.0 ** (exponent - BLOCK_BITS + 1)
    assert MIN_EXPONENT <= exponent <= MAX_EXPONENT
    assert np.abs(mantissas).max() <= 1 << (BLOCK_BITS - 1)
    assert np.abs(mantissas * step - values.astype(float)).max() <= step / 2
    if values.any():
        assert np.abs(mantissas).max() >= 1 << (BLOCK_BITS - 2)  # the largest entry uses the width


@pytest.mark.parametrize(
    ("value", "exponent"),
    [(0.0, MIN_EXPONENT), (1.0, 1), (0.75, 0), (-1.0, 1), (FLOAT32_MAX, MAX_EXPONENT), (2.0**-149, -148)],
)
def test_the_exponent_of_a_block(value, exponent):
    assert encode_block("x", np.array([[value, 0.0]], np.float32))[1] == exponent


def encoders():
    yield "encode", lambda x: encode("features of a", x, FEATURE_BITS, LIMIT), LIMIT
    yield "stochastic", lambda x: encode_stochastic("features of a", x, STEP_BITS, LIMIT, stream()), LIMIT
    yield "block", lambda x: encode_block("features of a", x), FLOAT32_MAX


@pytest.mark.parametrize(("call", "limit"), [pytest.param(*rest, id=name) for name, *rest in encoders()])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "just beyond", "just beyond, negative"])
def test_what_does_not_fit_raises_with_tensor_value_place_and_limit(call, limit, bad):
    if isinstance(bad, str):
        bad = np.nextafter(limit, math.inf) * (-1 if "negative" in bad else 1)
    values = np.zeros((3, 4))
    values[1, 2] = bad
    with pytest.raises(OutOfRange) as caught:
        call(values)
    text = str(caught.value)
    assert isinstance(caught.value, LocalMisuse)
    for part in ("features of a", str(float(bad)), "[1, 2]", f"limit is {limit:g}", "nothing was sent"):
        assert part in text


@pytest.mark.parametrize(("call", "limit"), [pytest.param(*rest, id=name) for name, *rest in encoders()])
def test_the_limit_itself_fits(call, limit):
    call(np.array([[limit, -limit]]))


@pytest.mark.parametrize("value", [65, -65])
def test_a_result_beyond_its_limit_raises_with_tensor_value_and_limit(value):
    integers = np.array([[0, value << FEATURE_BITS]])
    with pytest.raises(OutOfRange, match=r"projection of a came out as 65, the limit is 64.*[Ll]ower"):
        decode("projection of a", integers, FEATURE_BITS, LIMIT)


def test_a_result_that_float32_cannot_hold_raises_instead_of_turning_infinite():
    with pytest.raises(OutOfRange, match="came out as"):
        decode("gradient", np.array([[1 << 57]]), WEIGHT_BITS + BLOCK_BITS - 1 - MAX_EXPONENT, 1e60)
