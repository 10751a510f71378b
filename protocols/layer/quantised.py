"""From float32 to fixed point and back, for one batch of a layer.

host            dz   -> mantissas, exponent, lr dz         ring -> z
collaborator    a    -> forward and gradient features      ring -> da
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import OutOfRange
from protocols.core.fixed_point import (
    BLOCK_BITS,
    FEATURE_BITS,
    GRADIENT_FEATURE_BITS,
    STEP_BITS,
    WEIGHT_BITS,
    decode,
    encode_block,
    encode_stochastic,
    rounded,
)
from protocols.core.message import check_array, check_finite
from protocols.core.randomness import Randomness
from protocols.he.interface import as_signed
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, Ring


@dataclass(frozen=True)
class QuantisedFeatures:
    """One batch of features at its two scales. Two quantisations of one tensor are two values (DESIGN of fixed_point).

    **Shapes** forward, gradient: [B, d] int64.
    """

    forward: Integers = field(repr=False)
    gradient: Integers = field(repr=False)

    @classmethod
    def of(
        cls, key: str, features: NDArray[np.float32], parameters: LayerParameters, summands: int = 1
    ) -> QuantisedFeatures:
        """Raises `OutOfRange`, before anything is sent, for a NaN, an infinity, or a sample whose norm is too large.

        `summands`: of how many collaborators' projections the host gets the sum.
        """
        where = f"features of {key}"
        limit = parameters.feature_limit(summands)
        check_finite(where, features, limit)
        exact = features.astype(np.float64)
        norms = np.sqrt(np.square(exact).sum(axis=1))
        if norms.max(initial=0.0) > limit:
            row = int(norms.argmax())
            raise OutOfRange(
                f"{where}: sample {row} of the batch has norm {float(norms[row]):g}, the limit is {limit:g}; nothing "
                "was sent. Normalise the features (BatchNorm1d or LayerNorm as the last layer will do)"
            )
        return cls(rounded(exact, FEATURE_BITS), rounded(exact, GRADIENT_FEATURE_BITS))


@dataclass(frozen=True)
class QuantisedGradient:
    """One batch of dz: mantissas under one exponent for the feature gradient, and lr dz rounded at random for the step.

    **Shapes** mantissas, step: [B, o] int64.
    """

    mantissas: Integers = field(repr=False)
    exponent: int
    step: Integers = field(repr=False)

    @classmethod
    def of(
        cls,
        spec: LayerSpec,
        dz: NDArray[np.float32],
        learning_rate: float,
        parameters: LayerParameters,
        randomness: Randomness,
    ) -> QuantisedGradient:
        """Both quantisations of dz [B, o]; `randomness` rounds.

        Raises:
            InvalidInput: not [B, o] float32.
            OutOfRange: a value is NaN, infinite, or too large.
        """
        where = f"gradient for {spec.feature_key}'s projection"
        check_array(where, dz, np.float32, 2, (len(dz), spec.width_out or 0))
        mantissas, exponent = encode_block(where, dz)
        scaled, limit = learning_rate * dz.astype(np.float64), parameters.step_limit
        step = encode_stochastic(f"learning rate times the {where}", scaled, STEP_BITS, limit, randomness)
        return cls(mantissas, exponent, step)


def decode_projection(spec: LayerSpec, ring: Ring, parameters: LayerParameters) -> NDArray[np.float32]:
    """z + e from ring elements [B, o]. Raises `OutOfRange`."""
    where = f"projection of {spec.feature_key}"
    return decode(where, as_signed(ring), FEATURE_BITS + WEIGHT_BITS, parameters.projection_limit)


def decode_sum(spec: LayerSpec, ring: Ring, parameters: LayerParameters) -> NDArray[np.float32]:
    """The sum of z + e over all collaborators, from ring elements [B, o]. Raises `OutOfRange`."""
    where, limit = f"the sum of {spec.summands} projections", parameters.sum_limit(spec.summands)
    return decode(where, as_signed(ring), FEATURE_BITS + WEIGHT_BITS, limit)


def decode_gradient(spec: LayerSpec, ring: Ring, exponent: int, parameters: LayerParameters) -> NDArray[np.float32]:
    """da + e' from ring elements [B, d]. Raises `OutOfRange`."""
    # |da| <= |dz| |W|, and |dz| <= 2^exponent sqrt(o), with room for the smoothing noise.
    limit = 1.001 * 2.0**exponent * np.sqrt(spec.width_out or 0) * parameters.weight_norm
    return decode("the feature gradient", as_signed(ring), WEIGHT_BITS + BLOCK_BITS - 1 - exponent, float(limit))
