"""The projection layer's numbers beyond the fixed-point scales: bounds that both sides agree on in the manifest."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from protocols.core.errors import InvalidInput
from protocols.core.fixed_point import BLOCK_BITS, FEATURE_BITS, WEIGHT_BITS
from protocols.he.interface import RING_BITS

SMOOTHING_EPSILON_BITS = 40
_NOISE = 1.001
"""Room for the smoothing noise."""


@dataclass(frozen=True)
class LayerParameters:
    """Bounds of one task's encrypted projection layers.

    Args:
        weight_norm: bound on the norms of W's rows and columns. Nobody knows W, so it is agreed on, not measured. It
            sets the smoothing noise, and with `feature_norm` the largest z.
        feature_norm: bound on the norm of one sample's features; larger ones raise before anything is sent.
        step_limit: bound on an entry of lr dz.
        check_every: verify one in so many batches with a random linear combination; 0 never.
        test_shares_every: each side tests the first share of the other, and one in so many new ones, at random; 0 none.
    """

    weight_norm: float = 8.0
    feature_norm: float = 64.0
    step_limit: float = 64.0
    check_every: int = 1000
    test_shares_every: int = 16

    def __post_init__(self) -> None:
        # Below a norm of 1 the smoothing noise would be larger than the room that `projection_limit` leaves for it.
        if not 0 < self.weight_norm <= 64 or not 1 <= self.feature_norm <= 1024 or not 0 < self.step_limit <= 1 << 20:
            raise InvalidInput("projection parameters out of range")
        if self.projection_limit * 2 ** (FEATURE_BITS + WEIGHT_BITS) >= 2 ** (RING_BITS - 1):
            raise InvalidInput(f"features of norm {self.feature_norm} and weights of {self.weight_norm} leave the ring")
        if self.check_every < 0 or not 0 <= self.test_shares_every < 1 << 30:
            raise InvalidInput("check_every and test_shares_every must not be negative, or as large as that")

    @property
    def projection_limit(self) -> float:
        """No |z| is larger while the bounds hold (Cauchy-Schwarz), with room for the smoothing noise."""
        return self.weight_norm * self.feature_norm * _NOISE

    def feature_limit(self, summands: int) -> float:
        """Bound on the norm of one sample's features where the host gets a sum: that of `summands` projections fits.

        Raises:
            InvalidInput: no features fit, there are too many summands.
        """
        if summands == 1:
            return self.feature_norm
        room = 2.0 ** (RING_BITS - 1 - FEATURE_BITS - WEIGHT_BITS)
        limit = min(self.feature_norm, math.floor(room / (summands * self.weight_norm * _NOISE)))
        if limit < 1:
            raise InvalidInput(f"the sum of {summands} projections leaves the ring: take fewer collaborators")
        return float(limit)

    def sum_limit(self, summands: int) -> float:
        """No sum of so many z is larger in magnitude while the bounds hold."""
        return summands * self.weight_norm * self.feature_limit(summands) * _NOISE

    @property
    def feature_bits(self) -> int:
        """Magnitude bits of a feature at the forward scale."""
        return math.ceil(math.log2(self.feature_norm)) + FEATURE_BITS + 1

    def check_gradient_width(self, width_out: int) -> None:
        """Raise unless dz W of this width stays inside the ring."""
        largest = 2.0 ** (BLOCK_BITS - 1) * math.sqrt(width_out) * self.weight_norm * 2.0**WEIGHT_BITS
        if largest >= 2.0 ** (RING_BITS - 1):
            raise InvalidInput(f"a projection of {width_out} outputs is too wide for the ring")

    def smoothing_sigma(self, dimension: int) -> float:
        """Standard deviation of the noise on z (or da), in units of one step of the small factor.

        The smoothing parameter of a lattice with a basis of vectors no longer than `weight_norm`, at eps = 2^-40:
        sqrt(ln(2 n (1 + 1/eps)) / pi) times the norm, as a standard deviation rather than as the smaller Gaussian
        parameter's, so with a factor sqrt(2 pi) to spare. For 20 dimensions 3.2 x the norm.

        **Reference** Micciancio, Regev, Worst-case to Average-case Reductions Based on Gaussian Measures (2007), lemma
        3.3.
        """
        log = math.log(2 * dimension) + SMOOTHING_EPSILON_BITS * math.log(2)
        return self.weight_norm * math.sqrt(log / math.pi)

    def canonical(self) -> str:
        """Text for the manifest; equal exactly if the parameters are."""
        return json.dumps(asdict(self), sort_keys=True)
