"""Computes every message of an opened round again, and compares it with what its sender sent.

    said by H    InitialShare        V + U = A B                          A, U from its seed
                 HostShare           its share, as committed to and moved
                 StepGradient        lr dz, rounded                       dz as opened, rounding from its seed
                 FeatureGradient     dz V + dz U + e'                     U and e' as committed to
    said by C    InitialFactor       B                                    from its seed
                 CollaboratorShare   its share, as committed to and moved
                 Projection          a U^T + a V^T + e                    a as opened; V, e as committed to
                 WeightGradient      (lr dz)^T a - R                      R from its seed
    both         SecretsCommitment   the share that the messages before lead to

Everything that the other side has sent enters as the messages that it signed decrypt. So what one side is convicted of
follows from its own opening and from the other's signed messages; whether those are honest does not matter to it, as
long as they are well-formed ciphertexts (`protocols.he.interface.OpenedKey`): if not, nothing is said of the answer.

Where the host gets the sum of all projections only, nothing is said of `Projection`: pads are not opened.

Sums with noise may be off by one step of the fixed point (2^-48 of z), as another machine's logarithm and cosine may
round otherwise; factors of the initial weights by one step of 2^-16 in A or B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext, ProtocolError
from protocols.core.fixed_point import FACTOR_BITS, STEP_BITS
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.he.interface import RING_BITS, CiphertextBundle, MatrixShape, OpenedKey, as_ring, as_signed
from protocols.judge.evidence import Facts, Said
from protocols.judge.verdict import Outcome, Verdict
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import InitialFactor, InitialShare, SecretsCommitment
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures, QuantisedGradient
from protocols.layer.reference import orthogonal_factor
from protocols.layer.ring_product import matmul
from protocols.layer.secrets import LayerSecrets, state_bytes, state_digest
from protocols.layer.shapes import Integers, Ring, add, subtract
from protocols.layer.smoothing import SmoothingNoise, VersionedNoise
from protocols.layer.weight_share import WeightShare
from protocols.schemes.encrypted.messages import FeatureGradient, Projection, StepGradient, WeightGradient
from protocols.schemes.shares.messages import CollaboratorShare, HostShare

H, C = Sender.HOST, Sender.COLLABORATOR

STEP = 1
"""By how many steps a sum with noise may be off."""


class Missing(Exception):
    """A verdict needs something that is not there."""


class Wrong(Exception):
    """The sender has sent something else than the protocol asks for."""


@dataclass
class Side:
    """One party, as far as it has opened.

    Attributes:
        name: its feature key.
        facts, key: None if it has not opened.
        share: its share at the moment, with the noise in force; None before the round, or if it has not opened.
        sent: its share as its last ciphertext of it decrypts, and the version that it is of; None if that is unknown.
    """

    name: str
    facts: Facts | None = None
    key: OpenedKey | None = None
    share: WeightShare | None = None
    sent: tuple[int, Ring] | None = field(default=None, repr=False)

    def opened(self) -> Facts:
        """What it opened."""
        if self.facts is None:
            raise Missing(f"{self.name} has not opened the round")
        return self.facts

    def opened_key(self) -> OpenedKey:
        """Its key."""
        if self.key is None:
            raise Missing(f"{self.name} has not opened its key")
        return self.key

    def share_of(self, version: int) -> WeightShare:
        """Its share, if it is at this version."""
        self.opened()
        if self.share is None or self.share.version != version:
            raise Missing("messages before this one are missing")
        return self.share

    def sent_share(self, version: int) -> Ring:
        """What the last message with its share holds, which must be of this version."""
        if self.sent is None or self.sent[0] != version:
            raise Missing(f"what {self.name} sent as its share is not known, or is malformed")
        return self.sent[1]


@dataclass(repr=False)
class _Batch:
    """What is known of the batch under way; `version`: of the weights that it is projected by."""

    version: int = -1
    features: QuantisedFeatures | None = None
    gradient: QuantisedGradient | None = None
    step: Integers | None = None


class Recomputation:
    """One round of one layer.

    Args:
        spec, parameters: of the layer.
        sides: both.
        number: the round.
        rows_of: how many rows a message's batch has; 0 if that is not known.

    Attributes:
        verdicts: so far.
    """

    def __init__(
        self,
        spec: LayerSpec,
        parameters: LayerParameters,
        sides: dict[Sender, Side],
        number: int,
        rows_of: Callable[[Said], int],
    ) -> None:
        self._spec, self._parameters, self._sides, self._round = spec, parameters, sides, number
        self._rows_of = rows_of
        self._shapes = WeightShare(spec, parameters, H.role).shapes
        self._batch = _Batch()
        self._factor: Integers | None = None
        self._seen, self._steps = count(), dict.fromkeys(Sender, 0)
        self.verdicts: list[Verdict] = []
        self._checks: dict[type[Message], Callable[[Said], None]] = {
            SecretsCommitment: self._commitment,
            InitialFactor: self._initial_factor,
            InitialShare: self._initial_share,
            HostShare: self._host_share,
            CollaboratorShare: self._collaborator_share,
            Projection: self._projection,
            StepGradient: self._step,
            FeatureGradient: self._feature_gradient,
            WeightGradient: self._weight_gradient,
        }

    def take(self, said: Said) -> None:
        """The next message; those of a batch as in the diagram of protocols/schemes/encrypted/host.py."""
        check = self._checks.get(type(said.message))
        if check is None:
            return
        self._steps[said.sender] += isinstance(said.message, StepGradient | WeightGradient)
        outcome, convicted, reason = Outcome.CONSISTENT, "", ""
        try:
            check(said)
        except Missing as missing:
            outcome, reason = Outcome.UNDECIDED, str(missing)
        except (Wrong, InvalidCiphertext) as wrong:
            outcome, convicted, reason = Outcome.CONVICTS, self._sides[said.sender].name, str(wrong)
        except ProtocolError as error:
            outcome, reason = Outcome.UNDECIDED, str(error)
        name, role = type(said.message).__name__, said.sender.role
        self.verdicts.append(Verdict(name, role, str(said.place), outcome, convicted, reason))

    # Set-up ----------------------------------------------------------------------------------------------------------

    def _commitment(self, said: Said) -> None:
        """Those that were opened are known to open. Here: do they follow from what came before?"""
        side, number = self._sides[said.sender], said.place.round
        facts = side.opened()
        if number > self._round:
            self._next_commitment(said, side, facts)
        elif number == self._round and number:
            self._begin(said.sender, side, facts)

    def _begin(self, sender: Sender, side: Side, facts: Facts) -> None:
        number = self._round
        state, before = facts.states[number], side.share
        secrets = LayerSecrets(self._spec, sender.role, facts.seeds[number], number)
        share = WeightShare(self._spec, self._parameters, sender.role, secrets)
        share.values = state.share.reshape(self._shapes.o, self._shapes.d).astype(np.uint64)
        share.version = state.version
        later = SmoothingNoise(secrets.choice(f"{sender.role}, noise"))
        share.noise = VersionedNoise(SmoothingNoise.with_key(state.noise_key), later)
        side.share = share
        if before is not None and before.version == share.version and not np.array_equal(before.values, share.values):
            raise Wrong("its share is not the one that the set-up gave")

    def _next_commitment(self, said: Said, side: Side, facts: Facts) -> None:
        message, share = said.message, side.share
        if not isinstance(message, SecretsCommitment) or not facts.next_salt or share is None:
            raise Missing("what hides the next round's share was not opened")
        begun = facts.states.get(self._round)
        if begun is None or share.version != begun.version + self._steps[said.sender]:
            raise Missing("steps of this round are missing, or malformed")
        state = state_bytes(share.version, share.noise.key, share.values)
        if state_digest(facts.next_salt, state) != message.state:
            raise Wrong("the next round does not begin with the share that this one ends with")

    def begin_set_up(self) -> None:
        """The shares that the set-up begins with, in a conversation that goes on from a checkpoint."""
        for sender, side in self._sides.items():
            state = None if side.facts is None else side.facts.states.get(0)
            if state is not None:
                side.share = WeightShare(self._spec, self._parameters, sender.role)
                side.share.values = state.share.reshape(self._shapes.o, self._shapes.d)
                side.share.version = state.version

    def _set_up(self, sender: Sender) -> LayerSecrets:
        return LayerSecrets(self._spec, sender.role, self._sides[sender].opened().seeds[0])

    def _initial_factor(self, said: Said) -> None:
        secrets = self._set_up(C)
        shapes, inner = self._shapes, min(self._shapes.o, self._shapes.d)
        self._factor = as_signed(self._operand(C, said, shapes.initial))
        wanted = _fixed(orthogonal_factor(secrets.choice(C.role), inner, shapes.d))
        if np.abs(self._factor - wanted).max() > STEP:
            raise Wrong("the factor of the first weights is not the one that its seed gives")

    def _initial_share(self, said: Said) -> None:
        shapes, inner = self._shapes, min(self._shapes.o, self._shapes.d)
        factor = self._factor
        if factor is None:
            raise Missing("the collaborator's factor is not known, or is malformed")
        if np.abs(factor).max() > 2 << FACTOR_BITS:  # then a step in A is no small matter
            raise Missing("the collaborator's factor is larger than an orthogonal one can be")
        values = self._reply(C, said, shapes.initial)
        self._sides[C].share = self._first_share(C, values)
        secrets = self._set_up(H)
        left = _fixed(orthogonal_factor(secrets.choice(H.role), shapes.o, inner))
        own = secrets.secret("share").ring((shapes.o, shapes.d), RING_BITS)
        self._sides[H].share = self._first_share(H, own)
        off = as_signed(subtract(add(values, own), matmul(left, as_ring(factor))))
        if (np.abs(off) > STEP * np.abs(factor).sum(axis=0)).any():
            raise Wrong("the first weights are not the product of both sides' factors")

    def _first_share(self, sender: Sender, values: Ring) -> WeightShare | None:
        if self._sides[sender].facts is None:
            return None
        share = WeightShare(self._spec, self._parameters, sender.role)
        share.values = values
        return share

    # Shares ----------------------------------------------------------------------------------------------------------

    def _host_share(self, said: Said) -> None:
        side, shape = self._sides[H], self._shapes.forward(1)
        side.sent = None
        self._is_as_committed(said, side, np.ascontiguousarray(self._operand(H, said, shape).T))

    def _collaborator_share(self, said: Said) -> None:
        side, shape = self._sides[C], self._shapes.feature_gradient(1)
        side.sent = None
        self._is_as_committed(said, side, self._operand(C, said, shape))

    def _is_as_committed(self, said: Said, side: Side, values: Ring) -> None:
        version = _version(said)
        side.sent = (version, values)
        if not np.array_equal(values, side.share_of(version).values):
            raise Wrong("it does not hold the share that was committed to, moved by the steps since")

    # A batch ---------------------------------------------------------------------------------------------------------

    def _projection(self, said: Said) -> None:
        collaborator, version = self._sides[C], _version(said)
        self._batch = batch = _Batch(version)
        features = batch.features = None if collaborator.facts is None else self._opened_features(collaborator)
        rows = self._rows_of(said) if features is None else len(features.forward)
        if not rows:
            raise Missing("how many rows the batch has is not known")
        operand = self._sides[H].sent_share(version)
        ring = self._reply(H, said, self._shapes.forward(rows))
        share = collaborator.share_of(version)
        if features is None:
            raise Missing(f"{collaborator.name} has not opened the features of this batch")
        if self._spec.summands > 1:
            raise Missing("it is under the pad of a sum, which no opening shows")
        wanted = add(matmul(features.forward, np.ascontiguousarray(operand.T)), share.project(features.forward))
        if _distance(ring, wanted) > STEP:
            raise Wrong("it is not a W^T + e for the features, the share and the noise that it has opened")

    def _opened_features(self, side: Side) -> QuantisedFeatures:
        at, opened = next(self._seen), side.opened().features
        if at >= len(opened) or opened[at].shape[1] != self._shapes.d:
            raise Missing(f"{side.name} has not opened the features of this batch")
        try:
            key, summands = self._spec.feature_key, self._spec.summands
            return QuantisedFeatures.of(key, opened[at], self._parameters, summands)
        except ProtocolError as error:
            raise Missing(f"{side.name} has opened features that cannot be sent: {error}") from error

    def _batch_of(self, said: Said) -> _Batch:
        """The batch under way, if this message is of it; else one of which nothing is known."""
        if self._batch.version != _version(said):
            self._batch = _Batch(_version(said))
        return self._batch

    def _step(self, said: Said) -> None:
        batch, host = self._batch_of(said), self._sides[H]
        gradient = batch.gradient = self._opened_gradient(host, _version(said))
        step = as_signed(self._operand(H, said, self._shapes.weight_gradient(len(gradient.step))))
        if np.abs(step).max() > self._parameters.step_limit * 2.0**STEP_BITS + 1:
            raise Wrong("a step is larger than both had agreed on")
        batch.step = step
        if not np.array_equal(step, gradient.step):
            raise Wrong("it is not lr dz, rounded as its seed says, for the gradient that it has opened")

    def _opened_gradient(self, side: Side, version: int) -> QuantisedGradient:
        opened = side.opened().gradients.get(version)
        if opened is None or opened[0].shape[1] != self._shapes.o:
            raise Missing(f"{side.name} has not opened the gradient of this batch")
        rounding = side.share_of(version).rounding()
        try:
            return QuantisedGradient.of(self._spec, *opened, self._parameters, rounding)
        except ProtocolError as error:
            raise Missing(f"{side.name} has opened a gradient that cannot be sent: {error}") from error

    def _feature_gradient(self, said: Said) -> None:
        message, version = said.message, _version(said)
        share = self._sides[H].share_of(version)
        gradient, operand = self._batch_of(said).gradient, self._sides[C].sent_share(version)
        if gradient is None or not isinstance(message, FeatureGradient):
            raise Missing("the step of this batch is missing")
        ring = self._reply(C, said, self._shapes.feature_gradient(len(gradient.mantissas)))
        wanted = add(matmul(gradient.mantissas, operand), share.pull_back(gradient.mantissas, gradient.exponent))
        if message.exponent != gradient.exponent or _distance(ring, wanted) > STEP:
            raise Wrong("it is not dz W + e' for the gradient, the share and the noise that it has opened")

    def _weight_gradient(self, said: Said) -> None:
        version, batch = _version(said), self._batch_of(said)
        mask, moved = None, None
        collaborator, host = self._sides[C], self._sides[H]
        try:
            if collaborator.facts is not None:
                mask = collaborator.share_of(version).step_mask()
            if batch.step is None:
                raise Missing("the host's step is not known, or is malformed")
            moved = self._reply(H, said, self._shapes.weight_gradient(len(batch.step))).T
            collaborator.share_of(version)
            if batch.features is None or mask is None or len(batch.features.gradient) != len(batch.step):
                raise Missing(f"{collaborator.name} has not opened the features of this batch")
            product = matmul(np.ascontiguousarray(batch.step.T), as_ring(batch.features.gradient))
            if not np.array_equal(moved, subtract(product, mask)):
                raise Wrong("it is not (lr dz)^T a - R for the features and the seed that it has opened")
        finally:
            _move(collaborator.share, version, mask)
            _move(host.share, version, moved)

    # Ciphertexts -----------------------------------------------------------------------------------------------------

    def _operand(self, owner: Sender, said: Said, shape: MatrixShape) -> Ring:
        return self._sides[owner].opened_key().operand(_bundle(said), shape)

    def _reply(self, owner: Sender, said: Said, shape: MatrixShape) -> Ring:
        return self._sides[owner].opened_key().reply(_bundle(said), shape)


def _move(share: WeightShare | None, version: int, by: Ring | None) -> None:
    """The next version of a share, if what it moves by is known; else it stays behind, and no verdict comes of it."""
    if share is not None and share.version == version and by is not None:
        share.subtract(by)
        share.next_version()


def _bundle(said: Said) -> CiphertextBundle:
    parts: tuple[bytes, ...] = said.message.parts  # type: ignore[attr-defined]
    return CiphertextBundle(parts)


def _version(said: Said) -> int:
    version: int = said.message.version  # type: ignore[attr-defined]
    return version


def _fixed(factor: NDArray[np.float64]) -> Integers:
    values: Integers = np.rint(factor * 2.0**FACTOR_BITS).astype(np.int64)
    return values


def _distance(one: Ring, other: Ring) -> int:
    return int(np.abs(as_signed(subtract(one, other))).max())
