"""What one end of a secret-shared layer does whatever hides its messages: quantise, add its noise, decode, count.

    host            dz -> mantissas, exponent, lr dz           dz U + e'         ring -> z
    collaborator    a  -> forward and gradient features        a V^T + e         ring -> da

Shared by `protocols.projection.encrypted` and `protocols.projection.masked`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.errors import CallOutOfOrder, MalformedMessage
from protocols.fixed_point import (
    BLOCK_BITS,
    FEATURE_BITS,
    STEP_BITS,
    WEIGHT_BITS,
    decode,
    encode_block,
    encode_stochastic,
)
from protocols.he.interface import as_signed
from protocols.message import Array, check_array
from protocols.projection.layer import Integers, LayerShapes, QuantisedFeatures, Ring, add, matmul, noise_in_ring
from protocols.projection.parameters import ProjectionParameters
from protocols.projection.roles import (
    CollaboratorProjection,
    HostProjection,
    ProjectionSpec,
    check_rows,
    layer_randomness,
)
from protocols.projection.smoothing import SmoothingNoise
from protocols.randomness import OsRandomness, expand
from protocols.steps import Steps


class LayerEnd:
    """A share of the weights and their version, masks, smoothing noise, and the count of batches.

    Args:
        spec: the layer.
        parameters: the bounds that both sides agreed on.
        role: "host" or "collaborator".
    """

    _share: Ring

    def __init__(self, spec: ProjectionSpec, parameters: ProjectionParameters, role: str) -> None:
        self._spec, self._parameters = spec, parameters
        self._shapes = LayerShapes(spec, parameters)
        self._masks = expand(OsRandomness().seed())
        self._randomness = layer_randomness(spec, role)
        self._noise = SmoothingNoise(layer_randomness(spec, f"{role}, noise"))
        self._version = 0
        self._batches = 0

    def weights(self) -> dict[str, Array]:
        """See the roles."""
        return {"share": self._share}

    def _check_version(self, name: str, version: int, expected: int | None = None) -> None:
        own = self._version if expected is None else expected
        if version != own:
            raise MalformedMessage(f"{name} is about version {version} of the weights, this is {own}")

    @property
    def _is_check_due(self) -> bool:
        every = self._parameters.check_every
        return every > 0 and self._batches % every == 0

    def _count_batch(self) -> bool:
        """One more batch; whether it is one to check."""
        due = self._is_check_due
        self._batches += 1
        return due

    def _smoothing(self, version: int, scale: int, rows: Integers, width: int) -> Ring:
        """Noise on the results for these rows, in steps of a result: the factor's step is 2^WEIGHT_BITS of those."""
        sigma = self._parameters.smoothing_sigma(max(self._shapes.d, self._shapes.o)) * 2.0**WEIGHT_BITS
        return noise_in_ring(self._noise.draw(version, scale, rows, width), sigma)


class HostEnd(LayerEnd, HostProjection):
    """The host's end: holds U [o, d], gets z, knows dz."""

    def __init__(self, spec: ProjectionSpec, parameters: ProjectionParameters) -> None:
        super().__init__(spec, parameters, "host")
        self._awaited_rows = 0

    def skip(self) -> Steps[None]:
        self._awaited_rows = 0
        yield from super().skip()

    def _decode_projection(self, ring: Ring) -> NDArray[np.float32]:
        """z + e from ring elements [B, o]. Raises `OutOfRange`."""
        where = f"projection of {self._spec.feature_key}"
        return decode(where, as_signed(ring), FEATURE_BITS + WEIGHT_BITS, self._parameters.projection_limit)

    def _quantise_gradient(self, dz: NDArray[np.float32], learning_rate: float) -> tuple[Integers, int, Integers]:
        """dz as (mantissas, exponent), and lr dz rounded at random. The awaited batch has its gradient then.

        Raises:
            CallOutOfOrder: no training batch of so many rows waits.
            OutOfRange: a value is NaN, infinite, or too large.
        """
        where, rows = f"gradient for {self._spec.feature_key}'s projection", len(dz)
        if rows != self._awaited_rows:
            raise CallOutOfOrder(f"no batch of {rows} rows of {self._spec.feature_key} is waiting for a gradient")
        check_array(where, dz, np.float32, 2, (rows, self._shapes.o))
        self._awaited_rows = 0
        mantissas, exponent = encode_block(where, dz)
        limit = self._parameters.step_limit
        scaled = learning_rate * dz.astype(np.float64)
        step = encode_stochastic(f"learning rate times the {where}", scaled, STEP_BITS, limit, self._randomness)
        return mantissas, exponent, step

    def _own_gradient(self, mantissas: Integers, exponent: int) -> Ring:
        """dz U + e', [B, d]."""
        noise = self._smoothing(self._version, exponent, mantissas, self._shapes.d)
        return add(matmul(mantissas, self._share), noise)


class CollaboratorEnd(LayerEnd, CollaboratorProjection):
    """The collaborator's end: holds V [o, d], knows a, gets da if its bottom model is trainable."""

    def __init__(self, spec: ProjectionSpec, parameters: ProjectionParameters) -> None:
        super().__init__(spec, parameters, "collaborator")
        self._features: QuantisedFeatures | None = None

    def _quantise_features(self, features: NDArray[np.float32]) -> QuantisedFeatures:
        """Both quantisations of a [B, d]. Raises `InvalidInput` or `OutOfRange`; nothing is sent then."""
        key = self._spec.feature_key
        check_rows(f"features of {key}", features, len(features), self._shapes.d)
        return QuantisedFeatures.of(key, features, self._parameters)

    def _own_projection(self, features: Integers) -> Ring:
        """a V^T + e, [B, o]."""
        noise = self._smoothing(self._version, 0, features, self._shapes.o)
        return add(matmul(features, np.ascontiguousarray(self._share.T)), noise)

    def _take_features(self) -> QuantisedFeatures:
        """The training batch that waits for its gradient; it waits no longer."""
        features, self._features = self._features, None
        if features is None:
            raise CallOutOfOrder(f"no training batch of {self._spec.feature_key} is waiting for a gradient")
        return features

    def _decode_gradient(self, ring: Ring, exponent: int) -> NDArray[np.float32]:
        """da + e' from ring elements [B, d]. Raises `OutOfRange`."""
        # |da| <= |dz| |W|, and |dz| <= 2^exponent sqrt(o), with room for the smoothing noise.
        limit = 1.001 * 2.0**exponent * np.sqrt(self._shapes.o) * self._parameters.weight_norm
        return decode("the feature gradient", as_signed(ring), WEIGHT_BITS + BLOCK_BITS - 1 - exponent, float(limit))
