"""The collaborator's side of an encrypted layer; the diagram is in protocols/schemes/encrypted/host.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder
from protocols.core.mapper import Beside, at_once
from protocols.core.message import Array
from protocols.core.randomness import OsRandomness, expand
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, EncryptedOperand, as_ring
from protocols.layer.equality import Comparison, wrong_projection
from protocols.layer.initial import Keys, collaborator_initial_share
from protocols.layer.interface import CollaboratorLayer, LayerSpec, check_rows
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures, decode_gradient
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Integers, Ring, negative, subtract
from protocols.layer.start import LayerStart
from protocols.layer.weight_share import WeightShare
from protocols.schemes.encrypted.host import check_combination
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    FeatureGradient,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.encrypted.products import CollaboratorProducts, check_products
from protocols.schemes.encrypted.share_test import Move, ShareTest
from protocols.schemes.shares.form_test import FormTest
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.products import Parts
from protocols.schemes.shares.relation_test import Relation, RelationTest
from protocols.schemes.shares.share_marks import ShareMarks, split_state
from protocols.schemes.shares.test_messages import FormQuery, RelationQuery


@dataclass(frozen=True, repr=False)
class _Batch:
    """A training batch, and the [U] that projected it."""

    features: QuantisedFeatures
    host_share: EncryptedOperand


class EncryptedCollaborator(CollaboratorLayer):
    """The collaborator's side: holds V and the key that da is encrypted to. Arguments and errors as `EncryptedHost`."""

    _products: CollaboratorProducts
    """Once keys are exchanged."""

    def __init__(
        self, spec: LayerSpec, backend: Backend, parameters: LayerParameters, beside: Beside = at_once
    ) -> None:
        self._spec, self._parameters, self._beside = spec, parameters, beside
        self._share = WeightShare(spec, parameters, "collaborator")
        check_products(spec, backend, self._share)
        self._masks = expand(OsRandomness().seed())
        self._life = Lifecycle(spec.feature_key)
        first_share = partial(collaborator_initial_share, self._share)
        self._start = LayerStart(backend, self._share, self._life, first_share, commits=True)
        self._pending: PendingBatch[_Batch] = PendingBatch(spec.feature_key)
        self._reading: Callable[[], EncryptedOperand] | None = None  # [U]
        self._making: Callable[[], tuple[Ring, Parts]] | None = None  # V behind the next step, and [V]_C of it
        self._test = ShareTest(self._share, parameters.test_shares_every, self._masks)
        self._form = FormTest(Sender.COLLABORATOR, self._share, parameters.test_shares_every, self._masks)
        self._relation_test = RelationTest(Sender.COLLABORATOR, self._share, self._masks)
        is_tested = parameters.test_shares_every > 0
        self._marks = ShareMarks(
            Sender.COLLABORATOR, self._share, self._masks, marks=is_tested, is_marked=is_tested and spec.trainable
        )
        self._moved_by: Integers | None = None  # a of the last step, until the host has tested what it made of V

    def setup(self) -> Steps[None]:
        """See the interface."""
        yield from self._open((yield from self._start.setup()))
        factor = self._start.take_factor()
        if self._parameters.test_shares_every and factor is not None:
            yield from self._test_first_shares(factor)
        self._life.end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the interface."""
        marks, rest = split_state(state)
        keys = yield from self._start.resume(rest, partial(self._marks.restore, marks))
        yield from self._open(keys)
        yield from self._marks.ask(self._products, self._host_share)
        yield from self._marks.answer(self._products)
        self._life.end_batch()

    def before_checkpoint(self) -> Steps[None]:
        """See the interface."""
        self._life.check_between_batches()
        yield from self._marks.exchange(self._products, self._host_share)

    def _open(self, keys: Keys) -> Steps[None]:
        self._products = CollaboratorProducts(keys, self._share.shapes, self._spec.rows, self._spec.trainable)
        yield from self._send_share()
        yield from self._receive_share()

    def _test_first_shares(self, factor: Integers) -> Steps[None]:
        """Test that [U] is, and show that [V] is, what the set-up gave. `factor`: B."""
        if self._host_share is None:
            raise CallOutOfOrder("the host's share has not come")
        image, known = as_ring(factor.T), negative(np.ascontiguousarray(self._share.values.T))
        relation, result = Relation(self._host_share, None, image, known, 0), None
        test = self._relation_test
        mark = yield from test.ask(self._products, test.question(self._products, relation))
        if self._spec.trainable:
            query = received((yield Receive(RelationQuery)), RelationQuery)
            result = yield from test.answer(self._products, factor, query, 0)
        self._marks.keep(mark, result)

    def _send_share(self) -> Steps[None]:
        if not self._spec.trainable:
            return
        making, self._making = self._making, None
        values, parts = self._encrypted(self._share.values) if making is None else making()
        if not np.array_equal(values, self._share.values):  # it was made for another step
            values, parts = self._encrypted(self._share.values)
        yield Send(CollaboratorShare(self._share.version, parts))

    def _encrypted(self, values: Ring) -> tuple[Ring, Parts]:
        """A share, and [V]_C of it."""
        return values, self._products.encrypt_share(values)

    def _next_share(self) -> Ring:
        """V behind the step from the version in force, which does not depend on what the host sends."""
        return subtract(self._share.values, self._share.step_mask())

    def _receive_share(self) -> Steps[None]:
        share = received((yield Receive(HostShare)), HostShare)
        self._share.check_version("HostShare", share.version)
        self._reading = self._beside(partial(self._products.load_share, share.parts))

    @property
    def _host_share(self) -> EncryptedOperand | None:
        """[U^T]_H, read. Raises `InvalidCiphertext`."""
        return None if self._reading is None else self._reading()

    def begin_round(self, number: int) -> None:
        """See the interface."""
        self._share.begin_round(number)

    def prepare(self) -> bool:
        """See the interface. False until the layer is set up."""
        return self._life.is_set_up and self._products.prepare()

    def state(self) -> dict[str, Array]:
        """See the interface, `LayerStart.state` and `ShareMarks.state`."""
        return {**self._start.state(), **self._marks.state()}

    def weights(self) -> dict[str, Array]:
        """See the interface, `LayerStart.weights` and `ShareMarks.newest`."""
        return {**self._start.weights(), **self._marks.newest()}

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._life.begin_batch()
        yield from self._share.commit()
        if self._reading is None:
            raise CallOutOfOrder(f"the last batch of {self._spec.feature_key} must be settled before the next")
        key = self._spec.feature_key
        check_rows(f"features of {key}", features, len(features), self._spec.width_in)
        quantised = QuantisedFeatures.of(key, features, self._parameters, self._spec.summands)
        own = self._share.project(quantised.forward)
        if self._spec.witness.is_keeping:
            self._spec.witness.note("features", features=features)
        host_share = self._reading()
        # Computed while the host answers a test, if there is one; sent behind all tests.
        projection = cache(partial(self._products.projection, quantised.forward, host_share, own))
        yield from self._test.run(self._products, host_share, meanwhile=projection)
        yield from self._form.run(self._products.projection, host_share, len(features), meanwhile=projection)
        yield Send(Projection(self._share.version, projection()))
        self._pending.drop()
        if training:
            self._pending.keep(len(features), _Batch(quantised, host_share))
            # Encrypted while the host works on z. V is read here: behind the step, a thread would find another one.
            self._making = self._beside(partial(self._encrypted, self._next_share()))
        if self._share.checks.count():
            yield from self._answer_check(quantised.forward, own)
        if not training:
            self._life.end_batch()

    def _answer_check(self, features: Integers, own: Ring) -> Steps[None]:
        query = received((yield Receive(CheckQuery)), CheckQuery)
        check_combination(query.combination, self._share.shapes.o)
        self._share.check_version("CheckQuery", query.version)
        mask = self._masks.ring((len(features), 1), RING_BITS)
        parts = self._products.check(features, query.parts, mask)
        value = subtract(matmul(own, query.combination[:, None]), mask)
        comparison = Comparison(Sender.COLLABORATOR, self._share.place("check"), value)
        yield Send(CheckReply(self._share.version, parts, comparison.element))
        yield from comparison.verify(wrong_projection(self._share.label))

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        batch = self._pending.take()
        step = yield from self._receive_step(len(batch.features.gradient))
        if step is None:
            self._life.end_batch()
            return None
        yield Send(self._step(batch.features.gradient, step, batch.host_share))
        gradient_version = self._share.version
        self._share.next_version()
        self._reading = None
        yield from self._send_share()
        gradient = received((yield Receive(FeatureGradient)), FeatureGradient)
        self._share.check_version("FeatureGradient", gradient.version, gradient_version)
        ring = self._products.decrypt_gradient(gradient.parts, len(batch.features.gradient))
        return decode_gradient(self._spec, ring, gradient.exponent, self._parameters)

    def _receive_step(self, rows: int) -> Steps[StepGradient | None]:
        """None if there is none. It may come behind a test of our share, once after each step, and one of our
        ciphertexts' form."""
        moved_by, form = self._moved_by, self._form.queries
        reply = yield Receive(StepGradient, StepSkipped, *form, *(() if moved_by is None else (RelationQuery,)))
        if isinstance(reply, RelationQuery) and moved_by is not None:
            self._moved_by = None
            yield from self._relation_test.answer(self._products, moved_by, reply, len(moved_by))
            reply = yield Receive(StepGradient, StepSkipped, *form)
        if isinstance(reply, FormQuery):
            yield from self._form.answer(self._products.decrypt_gradient, reply, rows)
            reply = yield Receive(StepGradient, StepSkipped)
        return None if isinstance(reply, StepSkipped) else received(reply, StepGradient)

    def _step(self, features: Integers, step: StepGradient, host_share: EncryptedOperand) -> WeightGradient:
        """[(lr dz)^T a - R]_H; V moves by R."""
        share = self._share
        share.check_version("StepGradient", step.version)
        mask = share.step_mask()
        parts = self._products.weight_gradient(features, step.parts, mask)
        share.subtract(mask)
        self._moved_by = features
        self._test.stepped(Move(host_share, step.parts, features, mask))
        return WeightGradient(share.version, parts)

    def settle(self) -> Steps[None]:
        """Take the host's refreshed share, which it made while our bottom model was stepped."""
        if self._life.is_set_up and self._reading is None:
            yield from self._receive_share()
            self._life.end_batch()
