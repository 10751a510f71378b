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

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, VerificationFailed
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import (
    RING_BITS,
    Backend,
    PublicSide,
    SecretSide,
    as_ring,
)
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, Ring, add, matmul, subtract
from protocols.layer.weight_share import HostEnd
from protocols.schemes.encrypted.keys import EncryptedSide, check_reply
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.encrypted.precomputed import Precomputed


class EncryptedHost(EncryptedSide, HostEnd):
    """The host's end: holds U and the key that z is encrypted to.

    Args:
        spec: the layer.
        backend: the encryption scheme.
        parameters: the bounds that both sides agreed on.

    Raises:
        InvalidInput: the layer does not fit the ring or the encryption's noise budget.
    """

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._shapes.check_budget(backend, spec.rows)
        self._peer_share: CollaboratorShare | None = None

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self._secret, self._public = secret, public
        shapes, rows = self._shapes, self._spec.rows
        self._steps = Precomputed(self._secret.prepare, shapes.weight_gradient(rows))
        self._shares = Precomputed(self._secret.prepare, shapes.forward(rows))
        self._gradients = Precomputed(self._public.prepare, shapes.feature_gradient(rows))
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
