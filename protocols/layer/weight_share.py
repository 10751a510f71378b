"""What one end of a secret-shared layer does whatever hides its messages: quantise, add its noise, decode, count.

    host            dz -> mantissas, exponent, lr dz           dz U + e'         ring -> z
    collaborator    a  -> forward and gradient features        a V^T + e         ring -> da

    setup     keys, then the initial shares (protocols/layer/initial.py), then what the scheme opens with
    resume    keys, then what the scheme opens with, about the version and the shares of the checkpoint

Shared by the sides of `protocols.schemes.encrypted` and `protocols.schemes.masked`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, InvalidInput, MalformedMessage
from protocols.core.fixed_point import (
    BLOCK_BITS,
    FEATURE_BITS,
    STEP_BITS,
    WEIGHT_BITS,
    decode,
    encode_block,
    encode_stochastic,
)
from protocols.core.message import Array, check_array
from protocols.core.randomness import SEED_BYTES, OsRandomness, expand
from protocols.core.steps import Steps
from protocols.he.interface import RING_BITS, Backend, PublicSide, SecretSide, as_signed
from protocols.layer.initial import collaborator_initial_share, exchange_keys, host_initial_share
from protocols.layer.interface import (
    CollaboratorLayer,
    HostLayer,
    LayerRole,
    LayerSpec,
    Stage,
    check_names,
    check_rows,
    layer_randomness,
)
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, LayerShapes, QuantisedFeatures, Ring, add, matmul, noise_in_ring
from protocols.layer.smoothing import SmoothingNoise


class LayerEnd(LayerRole):
    """A share of the weights and their version, masks, smoothing noise, and the count of batches.

    Args:
        spec: the layer.
        backend: the encryption scheme.
        parameters: the bounds that both sides agreed on.
    """

    _role: str
    _share: Ring
    _later_noise: SmoothingNoise | None = None
    """After a resume, for the versions that follow the checkpoint's."""

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        self._spec, self._backend, self._parameters = spec, backend, parameters
        self._shapes = LayerShapes(spec, parameters)
        self._masks = expand(OsRandomness().seed())
        self._randomness = layer_randomness(spec, self._role)
        self._noise = SmoothingNoise(layer_randomness(spec, f"{self._role}, noise"))
        self._version = 0
        self._batches = 0

    def setup(self) -> Steps[None]:
        """See the roles."""
        self._begin_setup()
        keys = yield from exchange_keys(self._backend, self._spec.feature_key)
        self._share = yield from self._initial_share(*keys)
        yield from self._open(*keys)
        self._end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the roles."""
        self._begin_setup()
        self._restore(state)
        keys = yield from exchange_keys(self._backend, self._spec.feature_key)
        yield from self._open(*keys)
        self._end_batch()

    @abstractmethod
    def _initial_share(self, secret: SecretSide, public: PublicSide) -> Steps[Ring]:
        """Our share of the first weights."""

    @abstractmethod
    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        """What the scheme needs before the next batch, under these keys: ours and the peer's."""

    def state(self) -> dict[str, Array]:
        """See the roles. share [o, d] uint64, version and batches [1] int64, noise_key [32] uint8."""
        self._check_between_batches()
        return {
            "share": self._share.copy(),
            "version": np.array([self._version], np.int64),
            "batches": np.array([self._batches], np.int64),
            "noise_key": np.frombuffer(self._noise.key, np.uint8).copy(),
        }

    def _restore(self, state: Mapping[str, Array]) -> None:
        where = f"the checkpoint of {self._spec.feature_key}'s layer"
        check_names(where, state, ("share", "version", "batches", "noise_key"))
        share, key = state["share"], state["noise_key"]
        check_array(f"{where}: share", share, np.uint64, 2, (self._shapes.o, self._shapes.d))
        for name in ("version", "batches"):
            check_array(f"{where}: {name}", state[name], np.int64, 1, (1,))
        check_array(f"{where}: noise_key", key, np.uint8, 1, (SEED_BYTES,))
        version, batches = int(state["version"][0]), int(state["batches"][0])
        if int(share.max()) >> RING_BITS:
            raise InvalidInput(f"{where}: share must be in Z_2^{RING_BITS}")
        if min(version, batches) < 0:
            raise InvalidInput(f"{where}: version and batches must not be negative")
        self._share = np.array(share, order="C")
        self._version, self._batches = version, batches
        # At this version the same query gets the same answer, or resuming again and again would average the noise away.
        # What follows may not be what followed before: `_next_version`.
        self._noise = SmoothingNoise.with_key(key.tobytes())
        self._randomness = layer_randomness(self._spec, f"{self._role}, resumed at version {version}")
        self._later_noise = SmoothingNoise(self._randomness)

    def _next_version(self) -> None:
        """The weights have moved. The first move after a resume takes the fresh key of the smoothing noise.

        Before the interruption this version may have been another W, and one key for both would give their difference
        away: z - z' = a (W - W')^T without any noise.
        """
        self._version += 1
        if self._later_noise is not None:
            self._noise, self._later_noise = self._later_noise, None

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


class HostEnd(LayerEnd, HostLayer):
    """The host's end: holds U [o, d], gets z, knows dz."""

    _role = "host"
    _awaited_rows = 0

    def _initial_share(self, secret: SecretSide, public: PublicSide) -> Steps[Ring]:
        return (yield from host_initial_share(self._shapes, public, self._randomness, self._masks))

    def skip(self) -> Steps[None]:
        """See the roles."""
        self._awaited_rows = 0
        yield from super().skip()
        if self._stage is Stage.IN_BATCH:
            self._end_batch()

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


class CollaboratorEnd(LayerEnd, CollaboratorLayer):
    """The collaborator's end: holds V [o, d], knows a, gets da if its bottom model is trainable."""

    _role = "collaborator"
    _features: QuantisedFeatures | None = None

    def _initial_share(self, secret: SecretSide, public: PublicSide) -> Steps[Ring]:
        return (yield from collaborator_initial_share(self._shapes, secret, self._randomness))

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
