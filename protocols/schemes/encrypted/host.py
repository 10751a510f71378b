"""The projection layer under additively homomorphic encryption: schemes "bfv" and "paillier".

    collaborator (a, V; key C)                                host (U, dz; key H)            W = U + V in Z_{2^59}
    once    SecretsCommitment            <------------------> SecretsCommitment
            ProjectionKey                <------------------> ProjectionKey
            InitialFactor [B]_C          -------------------> U uniform
            V = A B - U                  <------------------- InitialShare [A B - U]_C
            CollaboratorShare [V]_C      -------------------> (if trainable)
                                         <------------------- HostShare [U^T]_H
            each tests the other's share <------------------> relation_test.py
    round   SecretsCommitment            <------------------> SecretsCommitment
    batch   Projection [a U^T + a V^T + e]_H ---------------> z + e
    train                                <------------------- StepGradient [lr dz]_H
                                         <------------------- FeatureGradient [dz V + dz U + e']_C   (if trainable)
            WeightGradient [(lr dz)^T a - R]_H -------------> U -= (lr dz)^T a - R
            V -= R
            CollaboratorShare [V]_C      -------------------> (if trainable)
                                         <------------------- HostShare [U^T]_H
    resume  SecretsCommitment            <------------------> SecretsCommitment
            ProjectionKey                <------------------> ProjectionKey            fresh; U and V as they were
            CollaboratorShare [V]_C      -------------------> (if trainable)
                                         <------------------- HostShare [U^T]_H
            each asks for its mark of the other's share <---> share_marks.py

    batch   ShareQuery, EqualityProof, EqualityConfirmation before Projection, if a new [U] is tested: share_test.py
            RelationQuery and what follows it before StepGradient, if a new [V] is tested: relation_test.py
            FormQuery likewise, before Projection, and if trainable before StepGradient: form_test.py
            ShareMark, from both, before a checkpoint: share_marks.py

Two round trips a batch. Each product has one small plaintext factor (a or dz) and one operand that may fill the ring.
Both sides work at once: the collaborator on its next [V] while the host works on z, on the weight gradient while the
host makes the feature gradient, and on its bottom model, for the next batch too, while the host refreshes its share.
Who tests computes what it sends next while the other answers, and sends it once the test is passed.
Evaluation is `Projection` alone.

One batch in `check_every`, the first included, the host checks a random linear combination of z, and shows that it does
not ask for anything else. Both compute c, s being fresh and uniform and own the collaborator's part of z:

    check                                <------------------- CheckQuery r, [U^T r]_H
            c = own r - s, X             -------------------> c = z r - decrypt([a U^T r + s]_H)
            CheckReply [a U^T r + s]_H, X
                                         <------------------- EqualityProof            (protocols/layer/equality.py)
            EqualityConfirmation         ------------------->

For the host: an error of the encryption library, or a product with an old [U], is not silent. A row of z that is wrong
by a multiple of 2^j passes with probability 2^(j - 59); errors that large leave the range. It finds errors, not a
collaborator that lies: z is a [U]'s product plus a part of its own, and if it adds what it likes to that part, it
answers by the same part. Such a z is that of other features, which nobody can tell from false ones. Nor does the check
see wrong products of messages 3 and 4: those change W or da, and z still fits the shares; or a share that is not what
it should be. Each side tests the other's itself: the first ones of a task, and of the new ones one in
`test_shares_every` (protocols/schemes/shares/relation_test.py and share_test.py).

For the collaborator: the operand q of the query may be anything that a malicious host likes. With W' = U' + V where U'
is what it sent as [U], the host's c is that of the collaborator exactly if a (U'^T r - q) = g mod 2^59, where g is what
the host takes for it. It knows g = 0 if it asks for z r again. For any other q it must have guessed these B numbers
before, one guess a check, and a wrong one ends the task. What it decrypts is uniform. So a check tells it nothing but
whether its guess is right: it is a theorem for malformed messages too, but for ciphertexts outside of the format's
promises (noise beyond a fresh encryption's, see protocols/he/), of which nothing is proven.

**Leaks** the host: z + e. The collaborator: da + e' and the exponent of dz if its bottom model is trained; else
nothing. What the z of a whole run say together: protocols/layer/reference.py. Noise repeats while the weights' version
does; a host that steps with lr dz = 0 makes new versions of the same W, and sees a row of a bottom model that is
trained, but stands still, under fresh noise each time. Of a frozen one it is shown each row once: it has one version.

**Reference** the ideal functionality: protocols/layer/reference.py. Packing and flooding: protocols/he/. Check:
Freivalds, Probabilistic Machines Can Use Less Running Time (1977).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, InvalidCiphertext, MalformedMessage
from protocols.core.mapper import Beside, at_once
from protocols.core.message import Array, check_array
from protocols.core.randomness import OsRandomness, expand
from protocols.core.sender import Sender
from protocols.core.steps import Meanwhile, Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, EncryptedOperand, as_ring
from protocols.layer.equality import Comparison, wrong_projection
from protocols.layer.initial import Keys, host_initial_share
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedGradient, decode_projection, decode_sum
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Integers, Ring, negative, subtract
from protocols.layer.start import LayerStart
from protocols.layer.weight_share import WeightShare
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    FeatureGradient,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.encrypted.products import HostProducts, check_products
from protocols.schemes.encrypted.share_test import PLACE
from protocols.schemes.shares.form_test import FormTest
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.relation_test import Relation, RelationTest, is_drawn, wrong_share
from protocols.schemes.shares.share_marks import ShareMarks, split_state
from protocols.schemes.shares.test_messages import FormQuery, RelationQuery, ShareQuery


class EncryptedHost(HostLayer):
    """The host's side: holds U and the key that z is encrypted to.

    Args:
        spec: the layer.
        backend: the encryption scheme.
        parameters: the bounds that both sides agreed on.
        deferred: where [V] waits to be read. The next gradient needs it, and `prepare` reads it before: not when it
            comes, as both sides' processors are at work on their own models then.

    Raises:
        InvalidInput: the layer does not fit the ring or the encryption's noise budget.
    """

    _products: HostProducts
    """Once keys are exchanged."""

    def __init__(
        self, spec: LayerSpec, backend: Backend, parameters: LayerParameters, deferred: Beside = at_once
    ) -> None:
        self._spec, self._parameters, self._deferred = spec, parameters, deferred
        self._share = WeightShare(spec, parameters, "host")
        check_products(spec, backend, self._share)
        self._masks = expand(OsRandomness().seed())
        self._life = Lifecycle(spec.feature_key)
        first_share = partial(host_initial_share, self._share, self._share.secrets.secret("share"))
        self._start = LayerStart(backend, self._share, self._life, first_share, commits=True)
        self._pending: PendingBatch[None] = PendingBatch(spec.feature_key)
        self._reading: Callable[[], EncryptedOperand] | None = None  # [V]
        self._stepped: int | None = None  # rows of the last step, while its share has projected nothing
        self._test = RelationTest(Sender.HOST, self._share, self._masks)
        self._form = FormTest(Sender.HOST, self._share, parameters.test_shares_every, self._masks)
        self._moved: partial[Relation] | None = None  # of the collaborator's next share, if it is to be tested
        is_tested = parameters.test_shares_every > 0
        self._marks = ShareMarks(Sender.HOST, self._share, self._masks, is_tested and spec.trainable, is_tested)

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
        yield from self._marks.answer(self._products)
        yield from self._marks.ask(self._products, self._peer_share)
        self._life.end_batch()

    def before_checkpoint(self) -> Steps[None]:
        """See the interface."""
        self._life.check_between_batches()
        yield from self._marks.exchange(self._products, self._peer_share)

    def _open(self, keys: Keys) -> Steps[None]:
        self._products = HostProducts(keys, self._share.shapes, self._spec.rows, self._spec.trainable)
        yield from self._exchange_shares()

    def _test_first_shares(self, factor: Integers) -> Steps[None]:
        """Show that [U] is, and test that [V] is, what the set-up gave. `factor`: A."""
        query = received((yield Receive(RelationQuery)), RelationQuery)
        result, mark = (yield from self._test.answer(self._products, factor.T, query, 0)), None
        if self._peer_share is not None:
            relation = Relation(self._peer_share, None, as_ring(factor), negative(self._share.values), 0)
            mark = yield from self._test.ask(self._products, self._test.question(self._products, relation))
        self._marks.keep(mark, result)

    @property
    def _peer_share(self) -> EncryptedOperand | None:
        """[V]_C, read. Raises `InvalidCiphertext`."""
        return None if self._reading is None else self._reading()

    def _exchange_shares(self) -> Steps[None]:
        """[V] for our next gradient, [U] for the next projection."""
        yield Send(HostShare(self._share.version, self._products.encrypt_share(self._share.values)))
        if self._spec.trainable:
            peer = received((yield Receive(CollaboratorShare)), CollaboratorShare)
            self._share.check_version("CollaboratorShare", peer.version)
            self._reading = self._deferred(partial(self._products.load_share, peer.parts))

    def begin_round(self, number: int) -> None:
        """See the interface."""
        self._share.begin_round(number)

    def prepare(self) -> bool:
        """See the interface. False until the layer is set up."""
        if not self._life.is_set_up:
            return False
        with suppress(InvalidCiphertext):  # raised again where it is needed
            _ = self._peer_share
        return self._products.prepare()

    def state(self) -> dict[str, Array]:
        """See the interface, `LayerStart.state` and `ShareMarks.state`."""
        return {**self._start.state(), **self._marks.state()}

    def weights(self) -> dict[str, Array]:
        """See the interface, `LayerStart.weights` and `ShareMarks.newest`."""
        return {**self._start.weights(), **self._marks.newest()}

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        ring = yield from self._receive(rows)
        z = decode_projection(self._spec, ring, self._parameters)
        yield from self._conclude(ring, training)
        return z

    def forward_padded(self, rows: int, training: bool) -> Steps[Ring]:
        """See the interface. The check is of this: the product, and what the collaborator adds, its pad in it."""
        ring = yield from self._receive(rows)
        yield from self._conclude(ring, training)
        return ring

    def decode_sum(self, ring: Ring) -> NDArray[np.float32]:
        """See the interface."""
        return decode_sum(self._spec, ring, self._parameters)

    def _receive(self, rows: int) -> Steps[Ring]:
        """z + e in the ring, and under a pad if there is a sum."""
        self._life.begin_batch()
        self._pending.drop()
        yield from self._share.commit()
        reply = yield from self._receive_projection(rows)
        self._share.check_version("Projection", reply.version)
        return self._products.decrypt_projection(reply.parts, rows)

    def _conclude(self, ring: Ring, training: bool) -> Steps[None]:
        """Check it, if this batch is one to check."""
        if self._share.checks.count():
            yield from self._check(ring)
        if training:
            self._pending.keep(len(ring), None)
        else:
            self._life.end_batch()

    def _receive_projection(self, rows: int) -> Steps[Projection]:
        """It may come behind a test of our share, once after each step, and one of our ciphertexts' form."""
        stepped, self._stepped = self._stepped, None
        form = self._form.queries
        message = yield Receive(Projection, *form, *(() if stepped is None else (ShareQuery,)))
        if isinstance(message, ShareQuery) and stepped is not None:
            yield from self._vouch(message, stepped)
            message = yield Receive(Projection, *form)
        if isinstance(message, FormQuery):
            yield from self._form.answer(self._products.decrypt_projection, message, rows)
            message = yield Receive(Projection)
        return received(message, Projection)

    def _vouch(self, query: ShareQuery, rows: int) -> Steps[None]:
        """Show that our share is the one before, moved by the last step, of so many rows."""
        share = self._share
        share.check_version("ShareQuery", query.version)
        if query.rows != rows:
            raise MalformedMessage(f"ShareQuery is about a step of {query.rows} rows, the last one had {rows}")
        value = self._products.decrypt_test(query.old, query.step, query.new, rows)
        yield from Comparison(Sender.HOST, share.place(PLACE), value).prove(
            query.element, wrong_share(share.label, Sender.HOST, rows)
        )

    def _check(self, projection: Ring) -> Steps[None]:
        """z r = a (U^T r) + (a V^T + e) r for a random r."""
        rows, share = len(projection), self._share
        combination = self._masks.ring((share.shapes.o, 1), RING_BITS)
        column = matmul(np.ascontiguousarray(share.values.T), combination)
        query = self._products.encrypt_combination(column, rows)
        yield Send(CheckQuery(share.version, query, combination[:, 0].copy()))
        reply = received((yield Receive(CheckReply)), CheckReply)
        share.check_version("CheckReply", reply.version)
        theirs = subtract(matmul(projection, combination), self._products.decrypt_check(reply.parts, rows))
        comparison = Comparison(Sender.HOST, share.place("check"), theirs)
        yield from comparison.prove(reply.element, wrong_projection(share.label))

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        self._pending.check(len(dz))
        share, peer = self._share, self._peer_share
        if peer is None:
            raise CallOutOfOrder(f"the bottom model of {share.label} is not trained")
        gradient = QuantisedGradient.of(self._spec, dz, learning_rate, self._parameters, share.rounding())
        self._pending.take()
        if self._spec.witness.is_keeping:
            rate, version = np.array([learning_rate], np.float64), np.array([share.version], np.int64)
            self._spec.witness.note("gradient", dz=dz, learning_rate=rate, version=version)
        # Computed while the collaborator answers a test, if there is one; sent behind all tests.
        step = cache(partial(self._products.encrypt_step, gradient.step))
        feature_gradient = cache(partial(self._feature_gradient, gradient, peer))
        yield from self._run_tests(peer, len(dz), meanwhile=lambda: (step(), feature_gradient()))
        yield Send(StepGradient(share.version, step()))
        yield Send(feature_gradient())
        reply = received((yield Receive(WeightGradient)), WeightGradient)
        share.check_version("WeightGradient", reply.version)
        moved = self._products.decrypt_weight_gradient(reply.parts, len(dz))
        share.subtract(moved)
        share.next_version()
        self._stepped = len(dz)
        yield from self._exchange_shares()
        if is_drawn(self._masks, self._parameters.test_shares_every):
            # Nothing is read for it now: the time would show the coin.
            image = as_ring(-gradient.step.T)
            self._moved = partial(Relation, before=peer, image=image, known=moved, rows=len(dz))
        self._life.end_batch()

    def _run_tests(self, peer: EncryptedOperand, rows: int, meanwhile: Meanwhile) -> Steps[None]:
        """Test [V], if a step has made it and the coin said so, and its form if that is due, before anything is sent
        that depends on dz."""
        moved, self._moved = self._moved, None
        if moved is not None:
            yield from self._test.ask(self._products, self._test.question(self._products, moved(now=peer)), meanwhile)
        yield from self._form.run(self._products.feature_gradient, peer, rows, meanwhile)

    def _feature_gradient(self, gradient: QuantisedGradient, peer: EncryptedOperand) -> FeatureGradient:
        """[dz V + dz U + e']_C."""
        share = self._share
        own = share.pull_back(gradient.mantissas, gradient.exponent)
        parts = self._products.feature_gradient(gradient.mantissas, peer, own)
        return FeatureGradient(share.version, gradient.exponent, parts)

    def skip(self) -> Steps[None]:
        """See the interface."""
        self._pending.drop()
        yield Send(StepSkipped())
        self._life.skip_batch()


def check_combination(combination: Ring, length: int) -> None:
    """Raise `MalformedMessage` unless these are `length` ring elements."""
    check_array("a check's combination", combination, np.uint64, 1)
    if len(combination) != length or int(combination.max()) >> RING_BITS:
        raise MalformedMessage(f"a check must carry {length} ring elements")
