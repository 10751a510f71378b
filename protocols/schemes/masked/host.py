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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import VerificationFailed
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, PublicSide, SecretSide, as_ring
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Integers, Ring, add, matmul, subtract
from protocols.layer.weight_share import HostEnd
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.offline import HostTriplePhase
from protocols.schemes.masked.pieces import MaskedSide, check_shape
from protocols.schemes.masked.pool import HostTriples
from protocols.schemes.masked.triples import (
    FEATURE_GRADIENT,
    PROJECTION,
    TRAIN,
    WEIGHT_GRADIENT,
    Triple,
    kind_of,
)


@dataclass(frozen=True, repr=False)
class _HostPiece:
    """A piece of a training batch that waits for its gradient: alpha', and nu if the bottom model is trainable."""

    rows: slice
    triple: Triple
    features: Ring
    share: Ring | None


class MaskedHost(MaskedSide, HostEnd):
    """The host's end: holds U.

    Args:
        spec: the layer. `rows` is the size of a triple.
        backend: makes the triples; its parameter set is for factors that fill the ring.
        parameters: the bounds that both sides agreed on.

    Attributes:
        triples: the pool, once `setup` has run. The engine keeps it filled as `needs` says.

    Raises:
        InvalidInput: the layer does not fit the ring or the encryption's noise budget.
    """

    triples: HostTriples
    _next: Triple | None

    def __init__(self, spec: LayerSpec, backend: Backend, parameters: LayerParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._next = None
        self._waiting: list[_HostPiece] = []

    @property
    def offline(self) -> HostTriplePhase:
        """See the interface."""
        return HostTriplePhase(self.triples, self.needs)

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self.triples = HostTriples(self._spec, self._backend, secret, public)
        yield from ()

    def _send_share(self, triple: Triple) -> Steps[None]:
        yield Send(MaskedShare(triple.index, self._version, subtract(self._share, triple[PROJECTION].mask)))

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """See the roles. Raises `PoolExhausted`, before anything is sent or used, when there are not enough triples."""
        self._begin_batch()
        kind, pieces = kind_of(training), self._pieces(rows)
        self.triples.require(*self.needs(training, rows))
        self._awaited_rows, self._waiting = (rows if training else 0), []
        triples = []
        for _ in pieces:
            sent = self._next if training else None
            triples.append(self.triples.take(kind) if sent is None else sent)
            if sent is None:
                yield from self._send_share(triples[-1])
            else:
                self._next = None
        results = []
        for piece, triple in zip(pieces, triples, strict=True):
            results.append((yield from self._receive_projection(piece.stop - piece.start, triple)))
            if training:
                yield from self._receive_training(piece, triple)
        ring = np.concatenate(results)
        z = self._decode_projection(ring)
        if self._count_batch():
            yield from self._check(ring[pieces[0]], self.triples.take(kind))
        if not training:
            self._end_batch()
        return z

    def _receive_projection(self, rows: int, triple: Triple) -> Steps[Ring]:
        """z + e = s + alpha U^T + P_H."""
        message = received((yield Receive(MaskedFeatures)), MaskedFeatures)
        self._check_about(message, triple)
        check_shape("MaskedFeatures.features", message.features, (rows, self._shapes.d))
        check_shape("MaskedFeatures.projection", message.projection, (rows, self._shapes.o))
        own = matmul(message.features, np.ascontiguousarray(self._share.T))
        return add(add(message.projection, own), triple[PROJECTION].share[:rows])

    def _receive_training(self, piece: slice, triple: Triple) -> Steps[None]:
        """alpha' and nu."""
        features = received((yield Receive(MaskedGradientFeatures)), MaskedGradientFeatures)
        self._check_about(features, triple)
        check_shape("MaskedGradientFeatures.features", features.features, (self._spec.rows, self._shapes.d))
        nu = None
        if self._spec.trainable:
            share = received((yield Receive(MaskedShare)), MaskedShare)
            self._check_about(share, triple)
            check_shape("MaskedShare.share", share.share, self._share.shape)
            nu = share.share
        self._waiting.append(_HostPiece(piece, triple, features.features, nu))

    def _check(self, projection: Ring, triple: Triple) -> Steps[None]:
        """z r = a (U^T r) + (a V^T + e) r for a random r, under the masks A and M[0] of one more triple."""
        half, rows = triple[PROJECTION], len(projection)
        combination = self._masks.ring((self._shapes.o, 1), RING_BITS)
        column = matmul(np.ascontiguousarray(self._share.T), combination)
        masked = subtract(column[:, 0], half.mask[0])
        yield Send(MaskedCheck(triple.index, self._version, combination[:, 0].copy(), masked))
        reply = received((yield Receive(MaskedFeatures)), MaskedFeatures)
        self._check_about(reply, triple)
        check_shape("MaskedFeatures.features", reply.features, (rows, self._shapes.d))
        check_shape("MaskedFeatures.projection", reply.projection, (rows, 1))
        ours = add(add(reply.projection, matmul(reply.features, column)), half.share[:rows, :1])
        if not hmac.compare_digest(ours.tobytes(), matmul(projection, combination).tobytes()):
            raise VerificationFailed(
                f"the projection of {self._spec.feature_key} is not a W^T: the shares of the weights, or a triple, are "
                "broken. Nothing can be trusted from here on"
            )

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        mantissas, exponent, step = self._quantise_gradient(dz, learning_rate)
        pieces, self._waiting = self._waiting, []
        for piece in pieces:
            if piece.share is not None:
                yield Send(self._feature_gradient(mantissas[piece.rows], exponent, piece.triple, piece.share))
        self._next = self.triples.take(TRAIN) if self.triples.stock(TRAIN) else None
        for piece in pieces:
            half, last = piece.triple[WEIGHT_GRADIENT], piece is pieces[-1]
            masked = subtract(self._padded(step[piece.rows]), half.mask)
            yield Send(MaskedStep(piece.triple.index, self._version, last and self._next is not None, masked))
            moved = add(matmul(np.ascontiguousarray(half.mask.T), piece.features), half.share)
            self._share = subtract(self._share, moved)
        self._next_version()
        if self._next is not None:
            yield from self._send_share(self._next)
        self._end_batch()

    def _feature_gradient(self, mantissas: Integers, exponent: int, triple: Triple, share: Ring) -> MaskedGradient:
        """delta = dz - D and h = D nu + Q_H + dz U + e'."""
        half, rows = triple[FEATURE_GRADIENT], len(mantissas)
        mask = half.mask[:rows]
        product = add(add(matmul(mask, share), half.share[:rows]), self._own_gradient(mantissas, exponent))
        return MaskedGradient(triple.index, self._version, exponent, subtract(as_ring(mantissas), mask), product)

    def skip(self) -> Steps[None]:
        self._waiting = []
        yield from super().skip()
