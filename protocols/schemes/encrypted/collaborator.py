"""The collaborator's side of an encrypted layer; the diagram is in protocols/schemes/encrypted/host.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import (
    RING_BITS,
    Backend,
    EncryptedOperand,
    PublicSide,
    SecretSide,
)
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, Ring, matmul, subtract
from protocols.layer.weight_share import CollaboratorEnd
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


class EncryptedCollaborator(EncryptedSide, CollaboratorEnd):
    """The collaborator's end: holds V and the key that da is encrypted to. Arguments and errors as `EncryptedHost`."""

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._shapes.check_budget(backend, spec.rows)
        self._operand: EncryptedOperand
        self._awaits_share = False

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self._secret, self._public = secret, public
        yield from self._send_share()
        yield from self._receive_share()
        shapes, rows = self._shapes, self._spec.rows
        self._projections = Precomputed(self._public.prepare, shapes.forward(rows))
        self._weight_gradients = Precomputed(self._public.prepare, shapes.weight_gradient(rows))
        self._shares = Precomputed(self._secret.prepare, shapes.feature_gradient(rows))
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
