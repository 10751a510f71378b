"""The collaborator's side of scheme "masked"; the diagram is in protocols/schemes/masked/host.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, MalformedMessage, MessageOutOfOrder, PoolExhausted
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import Backend, PublicSide, SecretSide, as_ring
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, Ring, add, matmul, subtract
from protocols.layer.weight_share import CollaboratorEnd
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.pieces import MaskedSide, check_shape
from protocols.schemes.masked.pool import CollaboratorTriples
from protocols.schemes.masked.triples import (
    FEATURE_GRADIENT,
    PROJECTION,
    TRAIN,
    WEIGHT_GRADIENT,
    Triple,
    kind_of,
)


@dataclass(repr=False)
class _Unsettled:
    """A training batch whose step is not yet in V: a at the gradient's scale, its triples, and gamma if it has come."""

    features: Integers
    triples: list[Triple]
    first_step: MaskedStep | None


class MaskedCollaborator(MaskedSide, CollaboratorEnd):
    """The collaborator's end: holds V. Arguments, attributes and errors as `MaskedHost`."""

    triples: CollaboratorTriples
    _next: tuple[Triple, Ring] | None

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._next = None
        self._used: list[Triple] = []
        self._unsettled: _Unsettled | None = None

    @property
    def offline(self) -> CollaboratorTriples:
        """See the interface."""
        return self.triples

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self.triples = CollaboratorTriples(self._spec, self._backend, secret, public)
        yield from ()

    def _take_for_host(self, kind: str) -> Triple:
        """Our half of the triple that the host's message is about."""
        try:
            return self.triples.take(kind)
        except PoolExhausted:
            raise MessageOutOfOrder(f"the host uses a {kind} triple that was not made") from None

    def _receive_share(self, kind: str) -> Steps[tuple[Triple, Ring]]:
        """Our next triple, and mu for it."""
        message = received((yield Receive(MaskedShare)), MaskedShare)
        triple = self._take_for_host(kind)
        self._check_about(message, triple)
        check_shape("MaskedShare.share", message.share, self._share.shape)
        return triple, message.share

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._begin_batch()
        if self._unsettled is not None:
            raise CallOutOfOrder(f"the last batch of {self._spec.feature_key} must be settled before the next")
        quantised = self._quantise_features(features)
        own = self._own_projection(quantised.forward)
        kind, pieces = kind_of(training), self._pieces(len(features))
        self._used = []
        for piece in pieces:
            if training and self._next is not None:
                (triple, share), self._next = self._next, None
            else:
                triple, share = yield from self._receive_share(kind)
            yield Send(self._projection(quantised.forward[piece], own[piece], triple, share))
            if training:
                self._used.append(triple)
                masked = subtract(self._padded(quantised.gradient[piece]), triple[WEIGHT_GRADIENT].mask)
                yield Send(MaskedGradientFeatures(triple.index, self._version, masked))
                if self._spec.trainable:
                    nu = subtract(self._share, triple[FEATURE_GRADIENT].mask)
                    yield Send(MaskedShare(triple.index, self._version, nu))
        self._features = quantised if training else None
        if self._count_batch():
            yield from self._answer_check(kind, quantised.forward[pieces[0]], own[pieces[0]])
        if not training:
            self._end_batch()

    def _projection(self, features: Integers, own: Ring, triple: Triple, share: Ring) -> MaskedFeatures:
        """alpha = a - A and s = A mu^T + P_C + a V^T + e. `share` may be fewer rows of mu, `own` as many columns."""
        half, (rows, width) = triple[PROJECTION], own.shape
        mask = half.mask[:rows]
        product = matmul(mask, np.ascontiguousarray(share.T))
        shared = add(add(product, half.share[:rows, :width]), own)
        return MaskedFeatures(triple.index, self._version, subtract(as_ring(features), mask), shared)

    def _answer_check(self, kind: str, features: Integers, own: Ring) -> Steps[None]:
        query = received((yield Receive(MaskedCheck)), MaskedCheck)
        triple = self._take_for_host(kind)
        self._check_about(query, triple)
        check_shape("MaskedCheck.combination", query.combination, (self._shapes.o,))
        check_shape("MaskedCheck.share", query.share, (self._shapes.d,))
        combined = matmul(own, query.combination[:, None])
        yield Send(self._projection(features, combined, triple, query.share[None, :]))

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        features, triples = self._take_features(), self._used
        self._used = []
        first = yield Receive(MaskedGradient if self._spec.trainable else MaskedStep, StepSkipped)
        if isinstance(first, StepSkipped):
            self._end_batch()
            return None
        if isinstance(first, MaskedStep):
            self._unsettled = _Unsettled(features.gradient, triples, first)
            return None
        gradients = [received(first, MaskedGradient)]
        for _ in triples[1:]:
            gradients.append(received((yield Receive(MaskedGradient)), MaskedGradient))
        pieces = self._pieces(len(features.forward))
        rings = [self._feature_gradient(*each) for each in zip(gradients, pieces, triples, strict=True)]
        if len({gradient.exponent for gradient in gradients}) > 1:
            raise MalformedMessage("the MaskedGradients of one batch must have one exponent")
        da = self._decode_gradient(np.concatenate(rings), gradients[0].exponent)
        self._unsettled = _Unsettled(features.gradient, triples, None)
        return da

    def _feature_gradient(self, message: MaskedGradient, piece: slice, triple: Triple) -> Ring:
        """da + e' = h + delta V + Q_C."""
        half, rows = triple[FEATURE_GRADIENT], piece.stop - piece.start
        self._check_about(message, triple)
        check_shape("MaskedGradient.gradient", message.gradient, (rows, self._shapes.o))
        check_shape("MaskedGradient.feature_gradient", message.feature_gradient, (rows, self._shapes.d))
        return add(add(message.feature_gradient, matmul(message.gradient, self._share)), half.share[:rows])

    def settle(self) -> Steps[None]:
        """V -= gamma^T a + T_C, while the host goes on; and mu for the next batch, if the host has sent it ahead."""
        batch, self._unsettled = self._unsettled, None
        if batch is None:
            return
        follows = False
        for piece, triple in zip(self._pieces(len(batch.features)), batch.triples, strict=True):
            step, batch.first_step = batch.first_step, None
            if step is None:
                step = received((yield Receive(MaskedStep)), MaskedStep)
            self._check_about(step, triple)
            check_shape("MaskedStep.step", step.step, (self._spec.rows, self._shapes.o))
            if step.share_follows and triple is not batch.triples[-1]:
                raise MalformedMessage("a MaskedShare follows the last MaskedStep of a batch, not another")
            product = matmul(np.ascontiguousarray(step.step.T), self._padded(batch.features[piece]))
            self._share = subtract(self._share, add(product, triple[WEIGHT_GRADIENT].share))
            follows = step.share_follows
        self._next_version()
        if follows:
            self._next = yield from self._receive_share(TRAIN)
        self._end_batch()
