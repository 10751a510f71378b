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
over time is as in protocols/schemes/encrypted/roles.py.

**Reference** the ideal functionality: protocols/layer/reference.py. Beaver, Efficient Multiparty Protocols Using
Circuit Randomization (CRYPTO 1991); Mohassel, Zhang, SecureML (IEEE S&P 2017). Check: Freivalds (1977).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import CallOutOfOrder, MalformedMessage, MessageOutOfOrder, PoolExhausted, VerificationFailed
from protocols.core.steps import Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, PublicSide, SecretSide, as_ring
from protocols.layer.interface import ProjectionSpec, StepSkipped
from protocols.layer.parameters import ProjectionParameters
from protocols.layer.shapes import Integers, Ring, add, matmul, subtract
from protocols.layer.weight_share import CollaboratorEnd, HostEnd, LayerEnd
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.pool import CollaboratorTriples, HostTriples
from protocols.schemes.masked.triples import (
    FEATURE_GRADIENT,
    PROJECTION,
    TEST,
    TRAIN,
    WEIGHT_GRADIENT,
    Triple,
    TripleShapes,
)

_About = MaskedShare | MaskedFeatures | MaskedGradientFeatures | MaskedGradient | MaskedStep | MaskedCheck


class _Masked(LayerEnd):
    """What both ends have: how a batch is cut, and what a message must be about."""

    triples: HostTriples | CollaboratorTriples
    _next: object | None = None
    """The triple whose mu was sent ahead, for the next training batch."""

    def __init__(self, spec: ProjectionSpec, backend: Backend, parameters: ProjectionParameters) -> None:
        super().__init__(spec, backend, parameters)
        # Every product must fit the backend before anything is sent.
        TripleShapes(spec, backend)
        backend.check(self._shapes.initial)

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """What the next batch of so many rows takes from `triples`: a kind, and how many of it.

        A host that has one more in stock when the batch ends sends its share for the next batch ahead.
        """
        ahead = training and self._next is not None
        return _kind(training), -(-rows // self._spec.rows) - ahead + self._is_check_due

    def _pieces(self, rows: int) -> list[slice]:
        """A batch's rows, cut into pieces of one triple each."""
        size = self._spec.rows
        return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]

    def _check_about(self, message: _About, triple: Triple) -> None:
        """Raise `MalformedMessage` unless the message uses this triple's masks and these weights."""
        name = type(message).__name__
        if message.index != triple.index:
            raise MalformedMessage(f"{name} uses the masks of triple {message.index}, this is triple {triple.index}")
        self._check_version(name, message.version)

    def _padded(self, rows: Integers) -> Ring:
        """Ring elements, filled up with rows of zeros to a whole triple."""
        out = np.zeros((self._spec.rows, rows.shape[1]), np.uint64)
        out[: len(rows)] = as_ring(rows)
        return out


def _kind(training: bool) -> str:
    return TRAIN if training else TEST


def _check_shape(name: str, matrix: Ring, shape: tuple[int, ...]) -> None:
    if matrix.shape != shape:
        raise MalformedMessage(f"{name} must be {list(shape)}, not {list(matrix.shape)}")


@dataclass(frozen=True, repr=False)
class _HostPiece:
    """A piece of a training batch that waits for its gradient: alpha', and nu if the bottom model is trainable."""

    rows: slice
    triple: Triple
    features: Ring
    share: Ring | None


class MaskedHost(_Masked, HostEnd):
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

    def __init__(self, spec: ProjectionSpec, backend: Backend, parameters: ProjectionParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._next = None
        self._waiting: list[_HostPiece] = []

    def _open(self, secret: SecretSide, public: PublicSide) -> Steps[None]:
        self.triples = HostTriples(self._spec, self._backend, secret, public)
        yield from ()

    def _send_share(self, triple: Triple) -> Steps[None]:
        yield Send(MaskedShare(triple.index, self._version, subtract(self._share, triple[PROJECTION].mask)))

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """See the roles. Raises `PoolExhausted`, before anything is sent or used, when there are not enough triples."""
        self._begin_batch()
        kind, pieces = _kind(training), self._pieces(rows)
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
        _check_shape("MaskedFeatures.features", message.features, (rows, self._shapes.d))
        _check_shape("MaskedFeatures.projection", message.projection, (rows, self._shapes.o))
        own = matmul(message.features, np.ascontiguousarray(self._share.T))
        return add(add(message.projection, own), triple[PROJECTION].share[:rows])

    def _receive_training(self, piece: slice, triple: Triple) -> Steps[None]:
        """alpha' and nu."""
        features = received((yield Receive(MaskedGradientFeatures)), MaskedGradientFeatures)
        self._check_about(features, triple)
        _check_shape("MaskedGradientFeatures.features", features.features, (self._spec.rows, self._shapes.d))
        nu = None
        if self._spec.trainable:
            share = received((yield Receive(MaskedShare)), MaskedShare)
            self._check_about(share, triple)
            _check_shape("MaskedShare.share", share.share, self._share.shape)
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
        _check_shape("MaskedFeatures.features", reply.features, (rows, self._shapes.d))
        _check_shape("MaskedFeatures.projection", reply.projection, (rows, 1))
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


@dataclass(repr=False)
class _Unsettled:
    """A training batch whose step is not yet in V: a at the gradient's scale, its triples, and gamma if it has come."""

    features: Integers
    triples: list[Triple]
    first_step: MaskedStep | None


class MaskedCollaborator(_Masked, CollaboratorEnd):
    """The collaborator's end: holds V. Arguments, attributes and errors as `MaskedHost`."""

    triples: CollaboratorTriples
    _next: tuple[Triple, Ring] | None

    def __init__(self, spec: ProjectionSpec, backend: Backend, parameters: ProjectionParameters) -> None:
        super().__init__(spec, backend, parameters)
        self._next = None
        self._used: list[Triple] = []
        self._unsettled: _Unsettled | None = None

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
        _check_shape("MaskedShare.share", message.share, self._share.shape)
        return triple, message.share

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._begin_batch()
        if self._unsettled is not None:
            raise CallOutOfOrder(f"the last batch of {self._spec.feature_key} must be settled before the next")
        quantised = self._quantise_features(features)
        own = self._own_projection(quantised.forward)
        kind, pieces = _kind(training), self._pieces(len(features))
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
        _check_shape("MaskedCheck.combination", query.combination, (self._shapes.o,))
        _check_shape("MaskedCheck.share", query.share, (self._shapes.d,))
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
        _check_shape("MaskedGradient.gradient", message.gradient, (rows, self._shapes.o))
        _check_shape("MaskedGradient.feature_gradient", message.feature_gradient, (rows, self._shapes.d))
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
            _check_shape("MaskedStep.step", step.step, (self._spec.rows, self._shapes.o))
            if step.share_follows and triple is not batch.triples[-1]:
                raise MalformedMessage("a MaskedShare follows the last MaskedStep of a batch, not another")
            product = matmul(np.ascontiguousarray(step.step.T), self._padded(batch.features[piece]))
            self._share = subtract(self._share, add(product, triple[WEIGHT_GRADIENT].share))
            follows = step.share_follows
        self._next_version()
        if follows:
            self._next = yield from self._receive_share(TRAIN)
        self._end_batch()
