"""Real numbers as integers in the ring Z_{2^59}: which scale every tensor has, and how it gets there.

    tensor                    scale (fraction bits)    why
    a, forward                16                       z at 16 + 32 = 48 bits, so |z| < 2^(58-48) = 1024
    a, weight gradient        10                       with lr dz gives increments at the scale of W
    W and its shares          32
    lr dz                     22, stochastic rounding  22 + 10 = 32; unbiased, so small learning rates still train
    dz, feature gradient      18 signed bits under one power of two for the batch, which both sides see
    initial factors of W      16                       16 + 16 = 32

Nothing is ever truncated after it was shared: each product comes out at the scale where it is used. Whatever does not
fit raises `OutOfRange`; nothing wraps silently.

**Reference** Mohassel, Zhang, SecureML (IEEE S&P 2017) for the truncation this avoids; Gupta et al., Deep Learning with
Limited Numerical Precision (ICML 2015) for stochastic rounding; Courbariaux et al. 2014 for block floating point.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import OutOfRange
from protocols.core.message import FLOAT32_MAX, Array, check_finite
from protocols.core.randomness import Randomness

FEATURE_BITS = 16
GRADIENT_FEATURE_BITS = 10
WEIGHT_BITS = 32
FACTOR_BITS = 16
STEP_BITS = 22
BLOCK_BITS = 18
"""Signed width of a block floating point mantissa."""

Integers = NDArray[np.int64]


def encode(where: str, values: Array, fraction_bits: int, limit: float) -> Integers:
    """Round to the nearest multiple of 2^-fraction_bits.

    Args:
        where: the tensor's name, for errors.
        values: any float array.
        fraction_bits: scale of the result.
        limit: largest magnitude allowed.

    Raises:
        OutOfRange: a value is NaN, infinite or beyond the limit.
    """
    check_finite(where, values, limit)
    return rounded(values.astype(np.float64), fraction_bits)


def rounded(values: NDArray[np.float64], fraction_bits: int) -> Integers:
    """As `encode`, of values that are in range: their nearest multiples of 2^-fraction_bits."""
    scaled = values * 2.0**fraction_bits
    return np.rint(scaled, out=scaled).astype(np.int64)


def encode_stochastic(where: str, values: Array, fraction_bits: int, limit: float, randomness: Randomness) -> Integers:
    """Round up or down at random so that the expectation is the value itself. Errors as `encode`."""
    check_finite(where, values, limit)
    scaled = values.astype(np.float64) * 2.0**fraction_bits
    return np.floor(scaled + randomness.uniform(values.shape)).astype(np.int64)


def encode_block(where: str, values: Array) -> tuple[Integers, int]:
    """18-bit mantissas and one exponent for the whole tensor: value = mantissa * 2^(exponent - 17).

    Returns:
        (mantissas, exponent) with |mantissa| <= 2^17; MIN_EXPONENT for a tensor of zeros.

    Raises:
        OutOfRange: a value is NaN or infinite.
    """
    largest = check_finite(where, values)
    exponent = math.frexp(largest)[1] if largest else MIN_EXPONENT
    exponent = max(exponent, MIN_EXPONENT)
    return rounded(values.astype(np.float64), BLOCK_BITS - 1 - exponent), exponent


MIN_EXPONENT = -200
MAX_EXPONENT = 128
"""What float32 gradients can need; what a peer may announce."""


def decode(where: str, integers: Integers, fraction_bits: int, limit: float) -> NDArray[np.float32]:
    """Back to float32, range-checked: a larger magnitude means that the computation left the ring.

    Raises:
        OutOfRange: a value is beyond the limit, or beyond what float32 holds.
    """
    values = integers.astype(np.float64)
    values *= 2.0**-fraction_bits
    limit = min(limit, FLOAT32_MAX)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > limit:
        raise OutOfRange(
            f"{where} came out as {largest:g}, the limit is {limit:g}: the weights or features have grown too large. "
            "Lower the learning rates or normalise the features"
        )
    return values.astype(np.float32)
