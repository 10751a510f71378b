"""The collaborator's side of scheme "masked"; the diagram is in protocols/schemes/masked/host.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, MalformedMessage, MessageOutOfOrder, PoolExhausted
from protocols.core.message import Array
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import Backend
from protocols.layer.equality import Comparison, wrong_projection
from protocols.layer.initial import Keys, collaborator_initial_share
from protocols.layer.interface import CollaboratorLayer, LayerSpec, check_rows
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures, decode_gradient
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Integers, Ring, subtract
from protocols.layer.start import LayerStart
from protocols.layer.weight_share import WeightShare
from protocols.schemes.masked.messages import MaskedCheck, MaskedCheckReply, MaskedGradient, MaskedShare, MaskedStep
from protocols.schemes.masked.pieces import (
    check_about,
    check_products,
    check_shape,
    checked_share,
    pieces_of,
    triples_needed,
)
from protocols.schemes.masked.pool import CollaboratorTriples
from protocols.schemes.masked.products import CollaboratorProducts
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.masked.share_tests import ShareTests
from protocols.schemes.masked.triples import PROJECTION, TRAIN, Triple, kind_of
from protocols.schemes.shares.share_marks import split_state


@dataclass(frozen=True, repr=False)
class _Batch:
    """A training batch: a at the gradient's scale, and the triples that hid it."""

    features: Integers
    triples: list[Triple]


class MaskedCollaborator(CollaboratorLayer):
    """The collaborator's side: holds V. Arguments, attributes and errors as `MaskedHost`."""

    triples: CollaboratorTriples

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        self._spec, self._backend, self._parameters = spec, backend, parameters
        self._share = WeightShare(spec, parameters, "collaborator", shapes=MaskedShapes)
        check_products(spec, backend, self._share, parameters)
        self._tests = ShareTests(Sender.COLLABORATOR, spec, self._share, parameters)
        self._products = CollaboratorProducts(self._share, spec.rows)
        self._life = Lifecycle(spec.feature_key)
        first_share = partial(collaborator_initial_share, self._share)
        self._start = LayerStart(backend, self._share, self._life, first_share)
        self._pending: PendingBatch[_Batch] = PendingBatch(spec.feature_key)
        self._unsettled: _Batch | None = None  # its step is not yet in V
        self._ahead: tuple[Triple, Ring] | None = None  # our triple and mu, sent ahead, for the next training batch

    def setup(self) -> Steps[None]:
        """See the interface."""
        self._open((yield from self._start.setup()))
        yield from self._tests.setup(self._start.take_factor())
        self._life.end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the interface."""
        marks, rest = split_state(state)
        self._open((yield from self._start.resume(rest, partial(self._tests.restore, marks))))
        yield from self._tests.resume()
        self._life.end_batch()

    def before_checkpoint(self) -> Steps[None]:
        """See the interface."""
        self._life.check_between_batches()
        yield from self._tests.before_checkpoint()

    def _open(self, keys: Keys) -> None:
        self._tests.open(keys)
        self.triples = CollaboratorTriples(self._spec, self._backend, *keys, self._tests.keeps_operands)

    @property
    def offline(self) -> CollaboratorTriples:
        """See the interface."""
        return self.triples

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """As `MaskedHost.needs`."""
        is_one_ahead = training and self._ahead is not None
        return kind_of(training), triples_needed(self._spec, self._share, rows, is_one_ahead)

    def state(self) -> dict[str, Array]:
        """See the interface, `LayerStart.state` and `ShareMarks.state`."""
        return {**self._start.state(), **self._tests.state()}

    def weights(self) -> dict[str, Array]:
        """See the interface, `LayerStart.weights` and `ShareMarks.newest`."""
        return {**self._start.weights(), **self._tests.newest()}

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._life.begin_batch()
        if self._unsettled is not None:
            raise CallOutOfOrder(f"the last batch of {self._spec.feature_key} must be settled before the next")
        self._pending.drop()
        key = self._spec.feature_key
        check_rows(f"features of {key}", features, len(features), self._spec.width_in)
        quantised = QuantisedFeatures.of(key, features, self._parameters, self._spec.summands)
        own = self._share.project(quantised.forward)
        kind, pieces = kind_of(training), pieces_of(len(features), self._spec.rows)
        used, opened = [], []
        for _ in pieces:
            opened.append((yield from self._open_piece(training)))
        # Computed while the host answers a test, if there is one; sent behind all tests.
        projections = [
            cache(partial(self._products.projection, quantised.forward[piece], own[piece], *each))
            for piece, each in zip(pieces, opened, strict=True)
        ]
        for triple, share in opened:
            operand = triple[PROJECTION].operand
            yield from self._tests.opened(share, operand, lambda: [each() for each in projections])
        for piece, (triple, _), projection in zip(pieces, opened, projections, strict=True):
            yield Send(projection())
            if training:
                used.append(triple)
                yield Send(self._products.gradient_features(quantised.gradient[piece], triple))
        if training:
            self._pending.keep(len(features), _Batch(quantised.gradient, used))
        if self._share.checks.count():
            yield from self._answer_check(kind, quantised.forward[pieces[0]], own[pieces[0]])
        if not training:
            self._life.end_batch()

    def _open_piece(self, training: bool) -> Steps[tuple[Triple, Ring]]:
        """Our triple of a piece, and mu for it, now or ahead."""
        if training and self._ahead is not None:
            opened, self._ahead = self._ahead, None
            return opened
        return (yield from self._receive_share(kind_of(training)))

    def _receive_share(self, kind: str) -> Steps[tuple[Triple, Ring]]:
        """Our next triple, and mu for it."""
        return self._opened(kind, received((yield Receive(MaskedShare)), MaskedShare))

    def _opened(self, kind: str, message: MaskedShare) -> tuple[Triple, Ring]:
        triple = self._take_for_host(kind)
        return triple, checked_share(message, triple, self._share)

    def _take_for_host(self, kind: str) -> Triple:
        """Our half of the triple that the host's message is about."""
        try:
            return self.triples.take(kind)
        except PoolExhausted:
            raise MessageOutOfOrder(f"the host uses a {kind} triple that was not made") from None

    def _answer_check(self, kind: str, features: Integers, own: Ring) -> Steps[None]:
        query = received((yield Receive(MaskedCheck)), MaskedCheck)
        triple = self._take_for_host(kind)
        check_about(query, triple, self._share)
        check_shape("MaskedCheck.combination", query.combination, (self._share.shapes.o,))
        check_shape("MaskedCheck.share", query.share, (self._share.shapes.d,))
        combined = matmul(own, query.combination[:, None])
        reply = self._products.projection(features, combined, triple, query.share[None, :])
        comparison = Comparison(Sender.COLLABORATOR, self._share.place("check"), reply.projection)
        yield Send(MaskedCheckReply(triple.index, self._share.version, reply.features, comparison.element))
        yield from comparison.verify(wrong_projection(self._share.label))

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        batch = self._pending.take()
        first = yield from self._tests.receive(MaskedGradient, StepSkipped)
        if isinstance(first, StepSkipped):
            self._life.end_batch()
            return None
        gradients = [received(first, MaskedGradient)]
        for _ in batch.triples[1:]:
            gradients.append(received((yield Receive(MaskedGradient)), MaskedGradient))
        pieces = pieces_of(len(batch.features), self._spec.rows)
        rings = [self._products.feature_gradient(*each) for each in zip(gradients, pieces, batch.triples, strict=True)]
        if len({gradient.exponent for gradient in gradients}) > 1:
            raise MalformedMessage("the MaskedGradients of one batch must have one exponent")
        da = decode_gradient(self._spec, np.concatenate(rings), gradients[0].exponent, self._parameters)
        self._unsettled = batch
        return da

    def settle(self) -> Steps[None]:
        """V -= gamma^T a + T_C, while the host goes on; and mu for the next batch, if the host has sent it ahead."""
        batch, self._unsettled = self._unsettled, None
        if batch is None:
            return
        before = self._share.values
        for piece, triple in zip(pieces_of(len(batch.features), self._spec.rows), batch.triples, strict=True):
            step = received((yield Receive(MaskedStep)), MaskedStep)
            self._products.move(step, batch.features[piece], triple)
            if step.ahead and triple is not batch.triples[-1]:
                raise MalformedMessage("mu of the next batch comes with the last MaskedStep of a batch, not another")
        self._tests.stepped(batch.features, subtract(before, self._share.values))
        self._share.next_version()
        if step.ahead:
            self._ahead = self._opened(TRAIN, step.opening())
        self._life.end_batch()
