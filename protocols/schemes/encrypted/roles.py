"""The projection layer under additively homomorphic encryption: schemes "bfv" and "paillier".

    collaborator (a, V; key C)                                host (U, dz; key H)            W = U + V in Z_{2^59}
    once    ProjectionKey                <------------------> ProjectionKey
            InitialFactor [B]_C          -------------------> U uniform
            V = A B - U                  <------------------- InitialShare [A B - U]_C
            CollaboratorShare [V]_C      -------------------> (if trainable)
                                         <------------------- HostShare [U^T]_H
    batch   Projection [a U^T + a V^T + e]_H ---------------> z + e
    train                                <------------------- StepGradient [lr dz]_H
                                         <------------------- FeatureGradient [dz V + dz U + e']_C   (if trainable)
            WeightGradient [(lr dz)^T a - R]_H -------------> U -= (lr dz)^T a - R
            V -= R
            CollaboratorShare [V]_C      -------------------> (if trainable)
                                         <------------------- HostShare [U^T]_H
    resume  ProjectionKey                <------------------> ProjectionKey            fresh; U and V as they were
            CollaboratorShare [V]_C      -------------------> (if trainable)
                                         <------------------- HostShare [U^T]_H

Two round trips a batch. Each product has one small plaintext factor (a or dz) and one operand that may fill the ring.
Both sides work at once: the collaborator on the weight gradient while the host makes the feature gradient, and on its
bottom model while the host refreshes its share. Evaluation is `Projection` alone.

One batch in `check_every`, the first included, the host asks for a random linear combination of z under a fresh mask
(CheckQuery, CheckReply) and compares with z = a U^T + own, own the collaborator's part: an error of the encryption
library, or a product with an old [U], is not silent. A row of z that is wrong by a multiple of 2^j passes with
probability 2^(j - 59); errors that large leave the range. What the check cannot see are wrong products of messages 3
and 4: those change W or da, and z still fits the shares.

**Leaks** the host: z + e. The collaborator: da + e' and the exponent of dz if its bottom model is trained; else
nothing. W starts orthogonal, so for o >= d the first z show norms and inner products of features, if not the features.
Noise repeats while the weights' version does; a host that steps with lr dz = 0 makes new versions of the same W, and
sees a row of a frozen bottom model under fresh noise each time.

**Reference** the ideal functionality: protocols/layer/reference.py. Packing and flooding: protocols/he/. Check:
Freivalds, Probabilistic Machines Can Use Less Running Time (1977).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, MalformedMessage, VerificationFailed
from protocols.core.message import check_array
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import (
    RING_BITS,
    Backend,
    CiphertextBundle,
    EncryptedOperand,
    MatrixShape,
    PublicSide,
    SecretSide,
    as_ring,
)
from protocols.layer.interface import ProjectionSpec, StepSkipped
from protocols.layer.parameters import ProjectionParameters
from protocols.layer.shapes import Integers, Ring, add, matmul, subtract
from protocols.layer.weight_share import CollaboratorEnd, HostEnd, LayerEnd
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CiphertextMessage,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    StepGradient,
    WeightGradient,
)

STOCK = 2
"""Products' worth of precomputed randomness that is kept ready for each kind of product."""


class Ahead:
    """Keeps `STOCK` units of one kind of precomputed randomness ready, and little more.

    `use` belongs to the thread that consumes, `top_up` to the one that prepares. Kinds may share a scheme's stock, and
    a batch of other rows takes other than a unit, so what is left is what the scheme says, not what was counted; the
    count only says when to ask.
    """

    def __init__(self, make: Callable[[MatrixShape], int], shape: MatrixShape) -> None:
        self._make, self._shape = make, shape
        self._enough_until = self._used = 0

    def use(self) -> None:
        """One unit is about to be consumed; if none was ready it is made on the spot by who needs it."""
        self._used += 1

    def top_up(self) -> bool:
        """Make one unit, unless enough are ready; whether to come back for more."""
        used = self._used
        if self._enough_until - used >= STOCK:
            return False
        ready = self._make(self._shape)
        self._enough_until = used + ready
        return 0 < ready < STOCK


class _Keys(LayerEnd):
    """A key pair, the peer's public key, and the randomness that is prepared under them."""

    _secret: SecretSide
    _public: PublicSide
    _ahead: tuple[Ahead, ...] = ()

    def _parts(self, message: CiphertextMessage | FeatureGradient, version: int | None = None) -> CiphertextBundle:
        self._check_version(type(message).__name__, message.version, version)
        return CiphertextBundle(message.parts)

    def prepare(self) -> bool:
        """See the roles. False until the layer is set up."""
        return any([ahead.top_up() for ahead in self._ahead])


class EncryptedHost(_Keys, HostEnd):
    """The host's end: holds U and the key that z is encrypted to.

    Args:
        spec: the layer.
        backend: the encryption scheme.
        parameters: the bounds that both sides agreed on.

    Raises:
        InvalidInput: the layer does not fit the ring or the encryption's noise budget.
    """

    def __init__(self, spec: ProjectionSpec, backend: Backend, parameters: ProjectionParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._shapes.check_budget(backend, spec.rows)
        self._peer_share: CollaboratorShare | None = None

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self._secret, self._public = secret, public
        shapes, rows = self._shapes, self._spec.rows
        self._steps = Ahead(self._secret.prepare, shapes.weight_gradient(rows))
        self._shares = Ahead(self._secret.prepare, shapes.forward(rows))
        self._gradients = Ahead(self._public.prepare, shapes.feature_gradient(rows))
        yield from self._exchange_shares()
        self._ahead = (self._steps, self._shares)
        if self._spec.trainable:
            self._ahead = (*self._ahead, self._gradients)

    def _exchange_shares(self) -> Steps[None]:
        """[V] for our next gradient, [U] for the next projection."""
        shape = self._shapes.forward(self._spec.rows)
        self._shares.use()
        encrypted = self._secret.encrypt(np.ascontiguousarray(self._share.T), shape)
        yield Send(HostShare(self._version, encrypted.parts))
        if self._spec.trainable:
            self._peer_share = received((yield Receive(CollaboratorShare)), CollaboratorShare)
            self._check_version("CollaboratorShare", self._peer_share.version)

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        self._begin_batch()
        self._awaited_rows = rows if training else 0
        reply = received((yield Receive(Projection)), Projection)
        ring = self._secret.decrypt(self._parts(reply), self._shapes.forward(rows))
        z = self._decode_projection(ring)
        if self._count_batch():
            yield from self._check(ring)
        if not training:
            self._end_batch()
        return z

    def _check(self, projection: Ring) -> Steps[None]:
        """z r = a (U^T r) + (a V^T + e) r for a random r."""
        shape = self._shapes.check(len(projection))
        combination = self._masks.ring((self._shapes.o, 1), RING_BITS)
        column = matmul(np.ascontiguousarray(self._share.T), combination)
        query = self._secret.encrypt(column, shape)
        yield Send(CheckQuery(self._version, query.parts, combination[:, 0].copy()))
        reply = received((yield Receive(CheckReply)), CheckReply)
        check_reply(reply.masked, len(projection))
        ours = self._secret.decrypt(self._parts(reply), shape)[:, 0]
        if not hmac.compare_digest(add(ours, reply.masked).tobytes(), matmul(projection, combination)[:, 0].tobytes()):
            raise VerificationFailed(
                f"the projection of {self._spec.feature_key} is not a W^T: the shares of the weights, or the "
                "encryption, are broken. Nothing can be trusted from here on"
            )

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        mantissas, exponent, step = self._quantise_gradient(dz, learning_rate)
        shape = self._shapes.weight_gradient(len(dz))
        self._steps.use()
        yield Send(StepGradient(self._version, self._secret.encrypt(as_ring(step), shape).parts))
        if self._spec.trainable:
            yield Send(self._feature_gradient(mantissas, exponent))
        reply = received((yield Receive(WeightGradient)), WeightGradient)
        self._share = subtract(self._share, self._secret.decrypt(self._parts(reply), shape).T)
        self._next_version()
        yield from self._exchange_shares()
        self._end_batch()

    def _feature_gradient(self, mantissas: Integers, exponent: int) -> FeatureGradient:
        """[dz V + dz U + e']_C."""
        peer = self._peer_share
        if peer is None:
            raise CallOutOfOrder("the collaborator's share has not come")
        shape = self._shapes.feature_gradient(len(mantissas))
        operand = self._public.load_operand(self._parts(peer), shape)
        self._gradients.use()
        product = self._public.multiply_add(mantissas, operand, self._own_gradient(mantissas, exponent), shape)
        return FeatureGradient(self._version, exponent, product.parts)


class EncryptedCollaborator(_Keys, CollaboratorEnd):
    """The collaborator's end: holds V and the key that da is encrypted to. Arguments and errors as `EncryptedHost`."""

    def __init__(self, spec: ProjectionSpec, backend: Backend, parameters: ProjectionParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._shapes.check_budget(backend, spec.rows)
        self._operand: EncryptedOperand
        self._awaits_share = False

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self._secret, self._public = secret, public
        yield from self._send_share()
        yield from self._receive_share()
        shapes, rows = self._shapes, self._spec.rows
        self._projections = Ahead(self._public.prepare, shapes.forward(rows))
        self._weight_gradients = Ahead(self._public.prepare, shapes.weight_gradient(rows))
        self._shares = Ahead(self._secret.prepare, shapes.feature_gradient(rows))
        self._ahead = (self._projections, self._weight_gradients)
        if self._spec.trainable:
            self._ahead = (*self._ahead, self._shares)

    def _send_share(self) -> Steps[None]:
        if self._spec.trainable:
            shape = self._shapes.feature_gradient(self._spec.rows)
            yield Send(CollaboratorShare(self._version, self._secret.encrypt(self._share, shape).parts))

    def _receive_share(self) -> Steps[None]:
        share = received((yield Receive(HostShare)), HostShare)
        self._operand = self._public.load_operand(self._parts(share), self._shapes.forward(self._spec.rows))

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._begin_batch()
        if self._awaits_share:
            raise CallOutOfOrder(f"the last batch of {self._spec.feature_key} must be settled before the next")
        quantised = self._quantise_features(features)
        own = self._own_projection(quantised.forward)
        self._projections.use()
        product = self._public.multiply_add(quantised.forward, self._operand, own, self._shapes.forward(len(features)))
        yield Send(Projection(self._version, product.parts))
        self._features = quantised if training else None
        if self._count_batch():
            yield from self._answer_check(quantised.forward, own)
        if not training:
            self._end_batch()

    def _answer_check(self, features: Integers, own: Ring) -> Steps[None]:
        query = received((yield Receive(CheckQuery)), CheckQuery)
        check_reply(query.combination, self._shapes.o)
        shape = self._shapes.check(len(features))
        operand = self._public.load_operand(self._parts(query), shape)
        mask = self._masks.ring((len(features), 1), RING_BITS)
        product = self._public.multiply_add(features, operand, mask, shape)
        masked = subtract(matmul(own, query.combination[:, None]), mask)
        yield Send(CheckReply(self._version, product.parts, masked[:, 0].copy()))

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        features = self._take_features()
        reply = yield Receive(StepGradient, StepSkipped)
        if isinstance(reply, StepSkipped):
            self._end_batch()
            return None
        step = received(reply, StepGradient)
        rows = len(features.forward)
        yield Send(self._weight_gradient(features.gradient, step, rows))
        gradient_version = self._version
        self._next_version()
        self._awaits_share = True
        if self._spec.trainable:
            self._shares.use()
        yield from self._send_share()
        if not self._spec.trainable:
            return None
        gradient = received((yield Receive(FeatureGradient)), FeatureGradient)
        ring = self._secret.decrypt(self._parts(gradient, gradient_version), self._shapes.feature_gradient(rows))
        return self._decode_gradient(ring, gradient.exponent)

    def _weight_gradient(self, features: Integers, step: StepGradient, rows: int) -> WeightGradient:
        """[(lr dz)^T a - R]_H, computed as [a^T (lr dz) - R^T]_H; V moves by R."""
        shape = self._shapes.weight_gradient(rows)
        operand = self._public.load_operand(self._parts(step), shape)
        mask = self._masks.ring((self._shapes.o, self._shapes.d), RING_BITS)
        addend = np.ascontiguousarray(subtract(np.zeros_like(mask), mask).T)
        self._weight_gradients.use()
        product = self._public.multiply_add(np.ascontiguousarray(features.T), operand, addend, shape)
        self._share = subtract(self._share, mask)
        return WeightGradient(self._version, product.parts)

    def settle(self) -> Steps[None]:
        """Take the host's refreshed share, which it made while our bottom model was stepped."""
        if self._awaits_share:
            self._awaits_share = False
            yield from self._receive_share()
            self._end_batch()


def check_reply(values: Ring, length: int) -> None:
    """Raise `MalformedMessage` unless these are `length` ring elements."""
    check_array("a check's values", values, np.uint64, 1)
    if len(values) != length or int(values.max()) >> RING_BITS:
        raise MalformedMessage(f"a check must carry {length} ring elements")
