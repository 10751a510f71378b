"""The projection layer under one-time masks: scheme "masked".

    collaborator (a, V; masks A, A', N)                       host (U, dz; masks M, D, G)      W = U + V in Z_{2^59}
    once    as in protocols/layer/initial.py; triples from protocols/schemes/masked/pool.py, ahead of time
    batch                        <--------------------------  MaskedShare mu = U - M        (unless sent ahead)
            MaskedFeatures alpha = a - A,
              s = A mu^T + P_C + a V^T + e  ----------------> z + e = s + alpha U^T + P_H
    train   MaskedGradientFeatures alpha' = a - A' ---------> (kept for the step)
            MaskedShare nu = V - N  ------------------------> (kept for da; if trainable)
                                 <--------------------------  MaskedGradient delta = dz - D,
            da + e' = h + delta V + Q_C                         h = D nu + Q_H + dz U + e'  (if trainable)
                                 <--------------------------  MaskedStep gamma = lr dz - G
            V -= gamma^T a + T_C                              U -= G^T alpha' + T_H
                                 <--------------------------  MaskedShare mu of the next batch (if a triple is ready)
    resume  ProjectionKey        <------------------------->  ProjectionKey       fresh, and so are all triples; U and V
                                                              as they were; a mu that was sent ahead is dropped

with A M^T = P_C + P_H, G^T A' = T_C + T_H and D N = Q_C + Q_H. One flight each way, and integer products in the clear.
A batch of more than `rows` rows takes a triple for every `rows` of them, with a message each; a shorter one uses the
first rows of one. The two quantisations of a, and of dz, are two values each and have a mask each.

One batch in `check_every`, the first included, the host asks for a random combination of z under the masks of one more
triple (MaskedCheck, MaskedFeatures) and compares: a wrong product A M^T, or a wrong U in it, is not silent. A row of z
that is wrong by a multiple of 2^j passes with probability 2^(j - 59); errors that large leave the range. What the check
cannot see are wrong products G^T A' and D N: those change W or da, and z still fits the shares.

**Leaks** the host: z + e. The collaborator: da + e' and the exponent of dz if its bottom model is trained; else
nothing. Every other tensor on the wire is uniform and independent of the rest, or follows from these. What z and da say
over time is as in protocols/schemes/encrypted/host.py.

**Reference** the ideal functionality: protocols/layer/reference.py. Beaver, Efficient Multiparty Protocols Using
Circuit Randomization (CRYPTO 1991); Mohassel, Zhang, SecureML (IEEE S&P 2017). Check: Freivalds (1977).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import VerificationFailed
from protocols.core.message import Array
from protocols.core.randomness import OsRandomness, expand
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, as_ring
from protocols.layer.initial import Keys, host_initial_share
from protocols.layer.interface import HostLayer, LayerSpec
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedGradient, decode_projection
from protocols.layer.shapes import Ring, add, matmul, subtract
from protocols.layer.start import LayerStart
from protocols.layer.weight_share import WeightShare
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.offline import HostTriplePhase
from protocols.schemes.masked.pieces import check_about, check_products, check_shape, padded, pieces_of, triples_needed
from protocols.schemes.masked.pool import HostTriples
from protocols.schemes.masked.triples import FEATURE_GRADIENT, PROJECTION, TRAIN, WEIGHT_GRADIENT, Triple, kind_of


@dataclass(frozen=True, repr=False)
class _Piece:
    """A piece of a training batch that waits for its gradient: alpha', and nu if the bottom model is trainable."""

    rows: slice
    triple: Triple
    features: Ring
    share: Ring | None


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
        self._share = WeightShare(spec, parameters, "host")
        check_products(spec, backend, self._share)
        self._masks = expand(OsRandomness().seed())
        self._life = Lifecycle(spec.feature_key)
        first_share = partial(host_initial_share, self._share, self._masks)
        self._start = LayerStart(backend, self._share, self._life, first_share)
        self._pending: PendingBatch[list[_Piece]] = PendingBatch(spec.feature_key)
        self._ahead: Triple | None = None  # its mu was sent ahead, for the next training batch

    def setup(self) -> Steps[None]:
        """See the interface."""
        self._open((yield from self._start.setup()))

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the interface."""
        self._open((yield from self._start.resume(state)))

    def _open(self, keys: Keys) -> None:
        self.triples = HostTriples(self._spec, self._backend, *keys)
        self._life.end_batch()

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
        """See the interface, and `LayerStart.state`."""
        return self._start.state()

    def weights(self) -> dict[str, Array]:
        """See the interface, and `LayerStart.weights`."""
        return self._start.weights()

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """See the interface. Raises `PoolExhausted`, before anything is sent or used, where triples are missing."""
        self._life.begin_batch()
        self._pending.drop()
        kind, pieces = kind_of(training), pieces_of(rows, self._spec.rows)
        self.triples.require(*self.needs(training, rows))
        triples = []
        for _ in pieces:
            triples.append((yield from self._open_piece(training)))
        results, waiting = [], []
        for piece, triple in zip(pieces, triples, strict=True):
            results.append((yield from self._receive_projection(piece.stop - piece.start, triple)))
            if training:
                waiting.append((yield from self._receive_training(piece, triple)))
        ring = np.concatenate(results)
        z = decode_projection(self._spec, ring, self._parameters)
        if self._share.checks.count():
            yield from self._check(ring[pieces[0]], self.triples.take(kind))
        if training:
            self._pending.keep(rows, waiting)
        else:
            self._life.end_batch()
        return z

    def _open_piece(self, training: bool) -> Steps[Triple]:
        """The triple of a piece, mu for it being sent, or sent ahead."""
        if training and self._ahead is not None:
            triple, self._ahead = self._ahead, None
            return triple
        triple = self.triples.take(kind_of(training))
        yield from self._send_share(triple)
        return triple

    def _send_share(self, triple: Triple) -> Steps[None]:
        masked = subtract(self._share.values, triple[PROJECTION].mask)
        yield Send(MaskedShare(triple.index, self._share.version, masked))

    def _receive_projection(self, rows: int, triple: Triple) -> Steps[Ring]:
        """z + e = s + alpha U^T + P_H."""
        shapes = self._share.shapes
        message = received((yield Receive(MaskedFeatures)), MaskedFeatures)
        check_about(message, triple, self._share)
        check_shape("MaskedFeatures.features", message.features, (rows, shapes.d))
        check_shape("MaskedFeatures.projection", message.projection, (rows, shapes.o))
        own = matmul(message.features, np.ascontiguousarray(self._share.values.T))
        return add(add(message.projection, own), triple[PROJECTION].share[:rows])

    def _receive_training(self, piece: slice, triple: Triple) -> Steps[_Piece]:
        """alpha' and nu."""
        features = received((yield Receive(MaskedGradientFeatures)), MaskedGradientFeatures)
        check_about(features, triple, self._share)
        check_shape("MaskedGradientFeatures.features", features.features, (self._spec.rows, self._share.shapes.d))
        nu = None
        if self._spec.trainable:
            share = received((yield Receive(MaskedShare)), MaskedShare)
            check_about(share, triple, self._share)
            check_shape("MaskedShare.share", share.share, self._share.values.shape)
            nu = share.share
        return _Piece(piece, triple, features.features, nu)

    def _check(self, projection: Ring, triple: Triple) -> Steps[None]:
        """z r = a (U^T r) + (a V^T + e) r for a random r, under the masks A and M[0] of one more triple."""
        half, rows, shapes = triple[PROJECTION], len(projection), self._share.shapes
        combination = self._masks.ring((shapes.o, 1), RING_BITS)
        column = matmul(np.ascontiguousarray(self._share.values.T), combination)
        masked = subtract(column[:, 0], half.mask[0])
        yield Send(MaskedCheck(triple.index, self._share.version, combination[:, 0].copy(), masked))
        reply = received((yield Receive(MaskedFeatures)), MaskedFeatures)
        check_about(reply, triple, self._share)
        check_shape("MaskedFeatures.features", reply.features, (rows, shapes.d))
        check_shape("MaskedFeatures.projection", reply.projection, (rows, 1))
        ours = add(add(reply.projection, matmul(reply.features, column)), half.share[:rows, :1])
        if not hmac.compare_digest(ours.tobytes(), matmul(projection, combination).tobytes()):
            raise VerificationFailed(
                f"the projection of {self._spec.feature_key} is not a W^T: the shares of the weights, or a triple, are "
                "broken. Nothing can be trusted from here on"
            )

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        self._pending.check(len(dz))
        gradient = QuantisedGradient.of(self._spec, dz, learning_rate, self._parameters, self._share.randomness)
        pieces = self._pending.take()
        for piece in pieces:
            if piece.share is not None:
                yield Send(self._feature_gradient(gradient, piece, piece.share))
        self._ahead = self.triples.take(TRAIN) if self.triples.stock(TRAIN) else None
        for piece in pieces:
            share_follows = piece is pieces[-1] and self._ahead is not None
            yield Send(self._step(gradient, piece, share_follows))
            half = piece.triple[WEIGHT_GRADIENT]
            self._share.subtract(add(matmul(np.ascontiguousarray(half.mask.T), piece.features), half.share))
        self._share.next_version()
        if self._ahead is not None:
            yield from self._send_share(self._ahead)
        self._life.end_batch()

    def _feature_gradient(self, gradient: QuantisedGradient, piece: _Piece, share: Ring) -> MaskedGradient:
        """delta = dz - D and h = D nu + Q_H + dz U + e'."""
        half, mantissas = piece.triple[FEATURE_GRADIENT], gradient.mantissas[piece.rows]
        rows, exponent = len(mantissas), gradient.exponent
        mask = half.mask[:rows]
        product = add(add(matmul(mask, share), half.share[:rows]), self._share.pull_back(mantissas, exponent))
        masked = subtract(as_ring(mantissas), mask)
        return MaskedGradient(piece.triple.index, self._share.version, exponent, masked, product)

    def _step(self, gradient: QuantisedGradient, piece: _Piece, share_follows: bool) -> MaskedStep:
        """gamma = lr dz - G."""
        masked = subtract(padded(gradient.step[piece.rows], self._spec.rows), piece.triple[WEIGHT_GRADIENT].mask)
        return MaskedStep(piece.triple.index, self._share.version, share_follows, masked)

    def skip(self) -> Steps[None]:
        """See the interface."""
        self._pending.drop()
        yield Send(StepSkipped())
        self._life.skip_batch()
