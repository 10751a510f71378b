"""The projection layer under one-time masks: scheme "masked".

    collaborator (a, V; masks A, A', N)                       host (U, dz; masks M, D, G)      W = U + V in Z_{2^59}
    once    as in protocols/layer/initial.py; triples from protocols/schemes/masked/pool.py, ahead of time
    tests   of mu and nu, before anything that is made from them is sent: protocols/schemes/masked/share_tests.py
    batch                        <--------------------------  MaskedShare mu = U - M        (unless sent ahead)
            MaskedFeatures alpha = a - A,
              s = A mu^T + P_C + a V^T + e  ----------------> z + e = s + alpha U^T + P_H
    train   MaskedGradientFeatures alpha' = a - A',
              nu = V - N  ----------------------------------> (kept for the step, and for da)
                                 <--------------------------  MaskedGradient delta = dz - D,
            da + e' = h + delta V + Q_C                         h = D nu + Q_H + dz U + e'  (if trainable)
                                 <--------------------------  MaskedStep gamma = lr dz - G,
            V -= gamma^T a + T_C                                mu of the next batch (if a triple is ready)
                                                              U -= G^T alpha' + T_H
    resume  ProjectionKey        <------------------------->  ProjectionKey       fresh, and so are all triples; U and V
                                                              as they were; a mu that was sent ahead is dropped

with A M^T = P_C + P_H, G^T A' = T_C + T_H and D N = Q_C + Q_H. One flight each way, and integer products in the clear.
A batch of more than `rows` rows takes a triple for every `rows` of them, with a message each; a shorter one uses the
first rows of one. The two quantisations of a, and of dz, are two values each and have a mask each.

One batch in `check_every`, the first included, the host checks a random combination of z under the masks of one more
triple, and shows that it does not ask for anything else:

    check                        <--------------------------  MaskedCheck r, mu = U^T r - M[0]
            c = A mu^T + P_C + own r
            MaskedCheckReply alpha = a - A, X of c ---------> c = z r - alpha U^T r - P_H
                                 <--------------------------  EqualityProof          (protocols/layer/equality.py)
            EqualityConfirmation --------------------------->

For the host: a wrong product A M^T, or a wrong U in it, is not silent. A row of z that is wrong by a multiple of 2^j
passes with probability 2^(j - 59); errors that large leave the range. What the check cannot see are wrong products
G^T A' and D N: those change W, which tests of shares find, or da; z still fits the shares.

For the collaborator: alpha is uniform, and the host's c is its own only if the host has guessed a (U'^T r - q), q what
it put into this mu and U' what it put into the mu of z: nothing, if it asks for z r again. The theorem, for one guess a
check, is that of protocols/schemes/encrypted/host.py; it holds whatever the host did to the triples, but for fractions
in what it encrypted (share_tests.py).

That the U in mu, and the V in nu, is the one before, moved by the last step, its receiver tests itself, one in
`test_shares_every` (share_tests.py).

**Leaks** the host: z + e. The collaborator: da + e' and the exponent of dz if its bottom model is trained; else
nothing. Every other tensor on the wire is uniform and independent of the rest, or follows from these. What z and da say
over time is as in protocols/schemes/encrypted/host.py.

**Reference** the ideal functionality: protocols/layer/reference.py. Beaver, Efficient Multiparty Protocols Using
Circuit Randomization (CRYPTO 1991); Mohassel, Zhang, SecureML (IEEE S&P 2017). Check: Freivalds (1977).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.message import Array
from protocols.core.randomness import OsRandomness, expand
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend
from protocols.layer.equality import Comparison, wrong_projection
from protocols.layer.initial import Keys, host_initial_share
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedGradient, decode_projection, decode_sum
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Ring, add, subtract
from protocols.layer.start import LayerStart
from protocols.layer.weight_share import WeightShare
from protocols.schemes.masked.messages import MaskedCheck, MaskedCheckReply, MaskedFeatures, MaskedGradientFeatures
from protocols.schemes.masked.offline import HostTriplePhase
from protocols.schemes.masked.pieces import (
    check_about,
    check_products,
    check_shape,
    pieces_of,
    triples_needed,
)
from protocols.schemes.masked.pool import HostTriples
from protocols.schemes.masked.products import HostProducts, WaitingPiece
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.masked.share_tests import ShareTests
from protocols.schemes.masked.triples import FEATURE_GRADIENT, PROJECTION, TRAIN, Triple, kind_of
from protocols.schemes.shares.share_marks import split_state


class MaskedHost(HostLayer):
    """The host's side: holds U.

    Args:
        spec: the layer. `rows` is the size of a triple.
        backend: makes the triples; its parameter set is for factors that fill the ring.
        parameters: the bounds that both sides agreed on.

    Attributes:
        triples: in stock, once the layer is set up. Kept filled as `needs` says.

    Raises:
        InvalidInput: the layer does not fit the ring or the encryption's noise budget.
    """

    triples: HostTriples

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        self._spec, self._backend, self._parameters = spec, backend, parameters
        self._share = WeightShare(spec, parameters, "host", shapes=MaskedShapes)
        check_products(spec, backend, self._share, parameters)
        self._tests = ShareTests(Sender.HOST, spec, self._share, parameters)
        self._masks = expand(OsRandomness().seed())
        self._products = HostProducts(self._share, spec.rows)
        self._life = Lifecycle(spec.feature_key)
        first_share = partial(host_initial_share, self._share, self._masks)
        self._start = LayerStart(backend, self._share, self._life, first_share)
        self._pending: PendingBatch[list[WaitingPiece]] = PendingBatch(spec.feature_key)
        # Pieces whose alpha' and nu are still to be received, and what these are to be added to.
        self._owed: list[tuple[list[WaitingPiece], slice, Triple]] = []
        self._ahead: Triple | None = None  # its mu was sent ahead, for the next training batch

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
        self.triples = HostTriples(self._spec, self._backend, *keys, self._tests.keeps_operands)

    @property
    def offline(self) -> HostTriplePhase:
        """See the interface."""
        return HostTriplePhase(self.triples, self.needs)

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """What the next batch of so many rows takes from `triples`: a kind, and how many of it.

        A host that has one more in stock when the batch ends sends its share for the next batch ahead.
        """
        is_one_ahead = training and self._ahead is not None
        return kind_of(training), triples_needed(self._spec, self._share, rows, is_one_ahead)

    def state(self) -> dict[str, Array]:
        """See the interface, `LayerStart.state` and `ShareMarks.state`."""
        return {**self._start.state(), **self._tests.state()}

    def weights(self) -> dict[str, Array]:
        """See the interface, `LayerStart.weights` and `ShareMarks.newest`."""
        return {**self._start.weights(), **self._tests.newest()}

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """See the interface. Raises `PoolExhausted`, before anything is sent or used, where triples are missing."""
        ring, waiting = yield from self._receive(rows, training)
        z = decode_projection(self._spec, ring, self._parameters)
        yield from self._conclude(ring, waiting, training)
        return z

    def forward_padded(self, rows: int, training: bool) -> Steps[Ring]:
        """See the interface, and `forward`."""
        ring, waiting = yield from self._receive(rows, training)
        yield from self._conclude(ring, waiting, training)
        return ring

    def decode_sum(self, ring: Ring) -> NDArray[np.float32]:
        """See the interface."""
        return decode_sum(self._spec, ring, self._parameters)

    def _receive(self, rows: int, training: bool) -> Steps[tuple[Ring, list[WaitingPiece]]]:
        """z + e in the ring, and under a pad if there is a sum; and what waits for the gradient."""
        self._life.begin_batch()
        yield from self.receive_rest()  # of a batch that was given up
        self._pending.drop()
        pieces = pieces_of(rows, self._spec.rows)
        self.triples.require(*self.needs(training, rows))
        triples = []
        for _ in pieces:
            triples.append((yield from self._open_piece(training)))
        results, waiting = [], list[WaitingPiece]()
        for piece, triple in zip(pieces, triples, strict=True):
            yield from self.receive_rest()
            message = received((yield from self._tests.receive(MaskedFeatures)), MaskedFeatures)
            results.append(self._products.projection(message, piece.stop - piece.start, triple))
            if training:
                self._owed.append((waiting, piece, triple))
        return np.concatenate(results), waiting

    def _conclude(self, ring: Ring, waiting: list[WaitingPiece], training: bool) -> Steps[None]:
        """Check its first piece, if this batch is one to check."""
        if training:
            self._pending.keep(len(ring), waiting)
        if self._share.checks.count():
            yield from self.receive_rest()
            piece = pieces_of(len(ring), self._spec.rows)[0]
            yield from self._check(ring[piece], self.triples.take(kind_of(training)))
        if not training:
            self._life.end_batch()

    def receive_rest(self) -> Steps[None]:
        """See the interface: alpha' and nu of a batch's last piece, which z does without."""
        owed, self._owed = self._owed, []
        for waiting, piece, triple in owed:
            message = received((yield Receive(MaskedGradientFeatures)), MaskedGradientFeatures)
            waiting.append(WaitingPiece(piece, triple, *self._products.gradient_features(message, triple)))

    def _open_piece(self, training: bool) -> Steps[Triple]:
        """The triple of a piece, mu for it being sent, or sent ahead."""
        if training and self._ahead is not None:
            triple, self._ahead = self._ahead, None
            return triple
        triple = self.triples.take(kind_of(training))
        yield Send(self._products.masked_share(triple))
        return triple

    def _check(self, projection: Ring, triple: Triple) -> Steps[None]:
        """z r = a (U^T r) + (a V^T + e) r for a random r, under the masks A and M[0] of one more triple."""
        half, rows, shapes = triple[PROJECTION], len(projection), self._share.shapes
        combination = self._masks.ring((shapes.o, 1), RING_BITS)
        column = matmul(np.ascontiguousarray(self._share.values.T), combination)
        masked = subtract(column[:, 0], half.mask[0])
        yield Send(MaskedCheck(triple.index, self._share.version, combination[:, 0].copy(), masked))
        reply = received((yield Receive(MaskedCheckReply)), MaskedCheckReply)
        check_about(reply, triple, self._share)
        check_shape("MaskedCheckReply.features", reply.features, (rows, shapes.d))
        ours = add(matmul(reply.features, column), half.share[:rows, :1])
        theirs = subtract(matmul(projection, combination), ours)
        comparison = Comparison(Sender.HOST, self._share.place("check"), theirs)
        yield from comparison.prove(reply.element, wrong_projection(self._share.label))

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        self._pending.check(len(dz))
        yield from self.receive_rest()
        gradient = QuantisedGradient.of(self._spec, dz, learning_rate, self._parameters, self._share.randomness)
        pieces = self._pending.take()
        # Computed while the collaborator answers a test, if there is one; sent behind all tests.
        feature_gradients = [cache(partial(self._products.feature_gradient, gradient, piece)) for piece in pieces]
        for piece in pieces:
            operand = piece.triple[FEATURE_GRADIENT].operand
            yield from self._tests.opened(piece.share, operand, lambda: [each() for each in feature_gradients])
        for each in feature_gradients:
            yield Send(each())
        self._ahead = self.triples.take(TRAIN) if self.triples.stock(TRAIN) else None
        before = self._share.values
        steps = [self._products.step(gradient, piece) for piece in pieces]
        for piece in pieces:
            self._products.move(piece)
        self._tests.stepped(gradient.step, subtract(before, self._share.values))
        self._share.next_version()
        if self._ahead is not None:
            steps[-1] = steps[-1].with_share(self._products.masked_share(self._ahead))
        for step in steps:
            yield Send(step)
        self._life.end_batch()

    def skip(self) -> Steps[None]:
        """See the interface."""
        yield from self.receive_rest()
        self._pending.drop()
        yield Send(StepSkipped())
        self._life.skip_batch()
