"""One party's share of the weights W = U + V in Z_{2^59}, and what belongs to it: version, check schedule, noise.

    host            holds U     dz U + e'      its part of da
    collaborator    holds V     a V^T + e      its part of z

A checkpoint keeps the share, its version, the count of batches and the key of the smoothing noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from protocols.core.distance import DistanceBudget
from protocols.core.errors import InvalidInput, MalformedMessage
from protocols.core.fixed_point import WEIGHT_BITS
from protocols.core.message import Array, check_array
from protocols.core.randomness import SEED_BYTES, Randomness
from protocols.core.steps import Steps
from protocols.he.interface import RING_BITS, SecretSide
from protocols.layer.interface import LayerSpec, check_names
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.run_distance import RunDistance
from protocols.layer.secrets import LayerSecrets, state_bytes
from protocols.layer.shapes import Integers, LayerShapes, Ring, add, noise_in_ring, subtract
from protocols.layer.smoothing import SmoothingNoise, VersionedNoise

ROLES = HOST, COLLABORATOR = "host", "collaborator"


class CheckSchedule:
    """Which batches are verified: the first, and one in so many.

    Args:
        every: one in so many; 0 for none.
        batches: how many there have been.
    """

    def __init__(self, every: int, batches: int = 0) -> None:
        self._every = every
        self.batches = batches

    @property
    def rate(self) -> float:
        """The share of batches that are verified."""
        return 1 / self._every if self._every else 0.0

    @property
    def is_due(self) -> bool:
        """Whether the next batch is one to verify."""
        return self._every > 0 and self.batches % self._every == 0

    def count(self) -> bool:
        """One more batch; whether it is one to verify."""
        due = self.is_due
        self.batches += 1
        return due


class WeightShare:
    """A share of W [o, d] that moves with every step.

    Args:
        spec: the layer.
        parameters: the bounds that both sides agreed on.
        role: `HOST` or `COLLABORATOR`.
        secrets: that were opened; default: fresh ones.
        shapes: of the scheme's products.

    Attributes:
        role: as above.
        shapes: of the layer's products.
        values: the share, once `start` or `restore` has run.
        version: how many steps W has made.
        checks: which batches are verified.
        test_rate: how often the host's share is tested after a step.
        secrets: what masks, noise and rounding come from.
        randomness: of this party's part of the first weights; from the seed of a repeatable run.
        noise: this party's smoothing noise.
    """

    values: Ring

    def __init__(
        self,
        spec: LayerSpec,
        parameters: LayerParameters,
        role: str,
        secrets: LayerSecrets | None = None,
        shapes: type[LayerShapes] = LayerShapes,
    ) -> None:
        self._spec, self.role = spec, role
        self.secrets = LayerSecrets(spec, role) if secrets is None else secrets
        self.shapes = shapes(spec.width_in, spec.width_out, parameters)
        self._sigma = parameters.smoothing_sigma(max(self.shapes.d, self.shapes.o)) * 2.0**WEIGHT_BITS
        self.version = 0
        self.checks = CheckSchedule(parameters.check_every)
        self.test_rate = 1 / parameters.test_shares_every if parameters.test_shares_every else 0.0
        self.randomness = self.secrets.choice(role)
        self.noise = VersionedNoise(self._fresh_noise())

    @property
    def budget(self) -> DistanceBudget:
        """What this side may still show the other of its secrets."""
        return self._spec.budget

    def __repr__(self) -> str:
        return f"<WeightShare of {self._spec.feature_key} at {self.role}, version {self.version}>"

    @property
    def label(self) -> str:
        """Whose features the layer is for."""
        return self._spec.feature_key

    def check_run(self, role: str, run: RunDistance) -> None:
        """Raise `InvalidInput` unless the run that was declared shows no more than it may of a role's secrets.

        Each side checks both roles, so that both have the numbers.
        """
        run.check(f"{self._spec.feature_key}'s layer at the {role}", self._spec.batches)

    def place(self, what: str) -> bytes:
        """Where a value is compared: the session, the layer, the version of W and the batch; the same at both sides."""
        spec = self._spec
        return spec.session + f"{what}|{self.version}|{self.checks.batches}|{spec.feature_key}".encode()

    def _fresh_noise(self) -> SmoothingNoise:
        return SmoothingNoise(self.secrets.choice(f"{self.role}, noise"))

    # Secrets ---------------------------------------------------------------------------------------------------------

    def commit(self) -> Steps[None]:
        """Commit to this round's secrets and to the share, and hear the peer's commitment, if that is still owed."""
        if not self.secrets.is_owed:
            return
        witness = self._spec.witness
        values: Ring | None = getattr(self, "values", None)  # there is none before the set-up
        yield from self.secrets.exchange(state_bytes(self.version, self.noise.key, values))
        if witness.is_keeping and values is not None:
            state = self.state()
            witness.note("state", **{name: state[name] for name in ("share", "version", "noise_key")})

    def note_key(self, key: SecretSide) -> None:
        """Tell the witness, if there is one, the key of this session."""
        if self._spec.witness.is_keeping:
            self._spec.witness.note("key", secret=np.frombuffer(key.exported(), np.uint8))

    def begin_round(self, number: int) -> None:
        """Fresh secrets. The noise of the version in force stays: it is of this W."""
        self.secrets.begin_round(number)
        if self._spec.seed is None:
            self.noise.renew(self._fresh_noise())

    def step_mask(self) -> Ring:
        """R of the step from the version in force."""
        return self.secrets.secret(f"mask {self.version}").ring((self.shapes.o, self.shapes.d), RING_BITS)

    def rounding(self) -> Randomness:
        """What rounds lr dz of the step from the version in force."""
        return self.randomness if self._spec.seed is not None else self.secrets.secret(f"rounding {self.version}")

    # Products --------------------------------------------------------------------------------------------------------

    def subtract(self, step: Ring) -> None:
        """Our part of a step of W. `next_version` once it is all there."""
        self.values = subtract(self.values, step)

    def next_version(self) -> None:
        """W has moved."""
        self.version += 1
        self.noise.next_version()

    def check_version(self, name: str, version: int, expected: int | None = None) -> None:
        """Raise `MalformedMessage` unless a message is about the version in force, or the one that is expected."""
        own = self.version if expected is None else expected
        if version != own:
            raise MalformedMessage(f"{name} is about version {version} of the weights, this is {own}")

    def project(self, features: Integers) -> Ring:
        """a times our share, with our noise, and with the batch's pad if there is a sum: [B, o] from [B, d]."""
        product = matmul(features, np.ascontiguousarray(self.values.T))
        own, pads = add(product, self._smoothing(0, features, self.shapes.o)), self._spec.pads
        return own if pads is None else add(own, pads.draw(*own.shape))

    def pull_back(self, mantissas: Integers, exponent: int) -> Ring:
        """dz times our share, with our noise: [B, d] from [B, o]."""
        return add(matmul(mantissas, self.values), self._smoothing(exponent, mantissas, self.shapes.d))

    def _smoothing(self, scale: int, rows: Integers, width: int) -> Ring:
        """Noise on the results for these rows, in steps of a result: the factor's step is 2^WEIGHT_BITS of those."""
        return noise_in_ring(self.noise.draw(self.version, scale, rows, width), self._sigma)

    def state(self) -> dict[str, Array]:
        """For a checkpoint. share [o, d] uint64, version and batches [1] int64, noise_key [32] uint8. Secret."""
        return {
            "share": self.values.copy(),
            "version": np.array([self.version], np.int64),
            "batches": np.array([self.checks.batches], np.int64),
            "noise_key": np.frombuffer(self.noise.key, np.uint8).copy(),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` gave.

        Raises:
            InvalidInput: it is not the state of such a share; nothing is changed then.
        """
        where = f"the checkpoint of {self._spec.feature_key}'s layer"
        check_names(where, state, ("share", "version", "batches", "noise_key"))
        share, key = state["share"], state["noise_key"]
        check_array(f"{where}: share", share, np.uint64, 2, (self.shapes.o, self.shapes.d))
        for name in ("version", "batches"):
            check_array(f"{where}: {name}", state[name], np.int64, 1, (1,))
        check_array(f"{where}: noise_key", key, np.uint8, 1, (SEED_BYTES,))
        version, batches = int(state["version"][0]), int(state["batches"][0])
        if int(share.max()) >> RING_BITS:
            raise InvalidInput(f"{where}: share must be in Z_2^{RING_BITS}")
        if min(version, batches) < 0:
            raise InvalidInput(f"{where}: version and batches must not be negative")
        self.values, self.version = np.array(share, order="C"), version
        self.checks.batches = batches
        self.randomness = self.secrets.choice(f"{self.role}, resumed at version {version}")
        self.noise = VersionedNoise(SmoothingNoise.with_key(key.tobytes()), later=SmoothingNoise(self.randomness))
