"""The ciphertexts of one encrypted layer, under the keys of one session: what is sent, and what comes out of replies.

    host                                                collaborator
    encrypt_share     [U^T]_H                  ---->    load_share
    decrypt_projection                         <----    projection          [a U^T + own]_H
    encrypt_combination  [U^T r]_H             ---->    check               [a U^T r + mask]_H
    encrypt_step      [lr dz]_H                ---->    weight_gradient     [(lr dz)^T a - mask]_H
    decrypt_test                               <----    combine_share       [x U^T + mask]_H
                                               <----    combine_step        [x lr dz + mask]_H
    feature_gradient  [dz V + own]_C           ---->    decrypt_gradient
                                               <----    encrypt_share       [V]_C

and what protocols/schemes/shares/products.py has for the tests of shares. `parts` are ciphertexts as messages carry
them. Bad ones of the peer raise `InvalidCiphertext`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.core.distance import Distance
from protocols.core.sender import Sender
from protocols.he.interface import Backend, CiphertextBundle, EncryptedOperand, MatrixShape, as_ring
from protocols.layer.initial import Keys
from protocols.layer.interface import LayerSpec
from protocols.layer.run_distance import RunDistance
from protocols.layer.shapes import Integers, LayerShapes, Ring, add, negative
from protocols.layer.weight_share import HOST, ROLES, WeightShare
from protocols.schemes.shares.products import BATCHES_A_MARK, Parts, ShareProducts

STOCK = 2
"""Products' worth of precomputed randomness that is kept ready for each kind of product."""


def check_products(spec: LayerSpec, backend: Backend, share: WeightShare) -> None:
    """Raise `InvalidInput` unless the encryption carries every product of a batch, and the declared run of them."""
    share.shapes.check_budget(backend, spec.rows)
    for role in ROLES:
        share.check_run(role, run_distance(role, spec, backend, share))


def run_distance(role: str, spec: LayerSpec, backend: Backend, share: WeightShare) -> RunDistance:
    """What a role shows in a run of the layer that this share is of."""
    shapes, rows = share.shapes, spec.rows
    if role == HOST:
        return _host_distance(spec, backend, share)
    check = backend.distance(shapes.check(rows))
    first, moved = (backend.distance(shapes.tested_share(Sender.COLLABORATOR, each)) for each in (0, rows))
    once = check + first
    forward = backend.distance(shapes.forward(rows))
    once += forward  # the test of the form
    batch = forward * (1 + share.test_rate) + check * share.checks.rate
    batch += (moved * 2 + backend.distance(shapes.step_test(rows))) * share.test_rate
    if spec.trainable:
        once += backend.distance(shapes.test_answer(Sender.HOST, 0))
        batch += backend.distance(shapes.weight_gradient(rows)) + _marks(first, share)
        batch += backend.distance(shapes.test_answer(Sender.HOST, rows)) * share.test_rate
    return RunDistance(once, batch)


def _host_distance(spec: LayerSpec, backend: Backend, share: WeightShare) -> RunDistance:
    shapes, rows = share.shapes, spec.rows
    once = backend.distance(shapes.initial) + backend.distance(shapes.test_answer(Sender.COLLABORATOR, 0))
    if not spec.trainable:
        return RunDistance(once, Distance())
    loaded = shapes.feature_gradient(rows)
    first, moved = (backend.distance(shapes.tested_share(Sender.HOST, each), loaded) for each in (0, rows))
    gradient = backend.distance(shapes.feature_gradient(rows))
    batch = gradient * (1 + share.test_rate) + moved * (2 * share.test_rate) + _marks(first, share)
    return RunDistance(once + first + gradient, batch)


def _marks(first: Distance, share: WeightShare) -> Distance:
    """What the marks before checkpoints show, on the average of a batch; `first`: one mark."""
    return first * (1 / BATCHES_A_MARK if share.test_rate else 0.0)


class PrecomputedRandomness:
    """Keeps `STOCK` units of one kind of a ciphertext's randomness ready, and little more.

    `use` belongs to the thread that consumes, `top_up` to the one that prepares. Kinds may share a scheme's stock, and
    a batch of other rows takes other than a unit, so what is left is what the scheme says, not what was counted; the
    count only says when to ask.
    """

    def __init__(self, make: Callable[[MatrixShape], int], shape: MatrixShape) -> None:
        self._make, self._shape = make, shape
        self._enough_until = self._used = 0

    def use(self) -> None:
        """One unit is about to be consumed; if none was ready it is made on the spot by who needs it."""
        self._used += 1

    def top_up(self) -> bool:
        """Make one unit, unless enough are ready; whether to come back for more."""
        used = self._used
        if self._enough_until - used >= STOCK:
            return False
        ready = self._make(self._shape)
        self._enough_until = used + ready
        return 0 < ready < STOCK


class HostProducts(ShareProducts):
    """The host's ciphertexts. Arguments as the base, and `is_trainable`: whether the collaborator gets da."""

    _sender = Sender.HOST

    def __init__(self, keys: Keys, shapes: LayerShapes, rows: int, is_trainable: bool) -> None:
        super().__init__(keys, shapes, rows)
        self._for_steps = PrecomputedRandomness(self._secret.prepare, shapes.weight_gradient(rows))
        self._for_shares = PrecomputedRandomness(self._secret.prepare, shapes.forward(rows))
        self._for_gradients = PrecomputedRandomness(self._public.prepare, shapes.feature_gradient(rows))
        self._prepared = (self._for_steps, self._for_shares, *([self._for_gradients] if is_trainable else []))

    def prepare(self) -> bool:
        """Make a little randomness ahead of time; False when there is enough."""
        return any([randomness.top_up() for randomness in self._prepared])

    def encrypt_share(self, share: Ring) -> Parts:
        """[U^T]_H of U [o, d]."""
        self._for_shares.use()
        return self._secret.encrypt(np.ascontiguousarray(share.T), self._shapes.forward(self._rows)).parts

    def decrypt_projection(self, parts: Parts, rows: int) -> Ring:
        """z + e, [rows, o]."""
        return self._secret.decrypt(CiphertextBundle(parts), self._shapes.forward(rows))

    def encrypt_combination(self, column: Ring, rows: int) -> Parts:
        """[U^T r]_H of U^T r [d, 1], to be multiplied by so many rows."""
        return self._secret.encrypt(column, self._shapes.check(rows)).parts

    def decrypt_check(self, parts: Parts, rows: int) -> Ring:
        """a U^T r + mask, [rows, 1]."""
        return self._secret.decrypt(CiphertextBundle(parts), self._shapes.check(rows))

    def decrypt_test(self, old: Parts, step: Parts, new: Parts, rows: int) -> Ring:
        """The sum of a test's three products, [TEST_ROWS, o]; `rows` of the step."""
        shares = [self.decrypt_combined(parts, rows) for parts in (old, new)]
        moved = self._secret.decrypt(CiphertextBundle(step), self._shapes.step_test(rows))
        return add(add(*shares), moved)

    def encrypt_step(self, step: Integers) -> Parts:
        """[lr dz]_H of lr dz [B, o]."""
        self._for_steps.use()
        return self._secret.encrypt(as_ring(step), self._shapes.weight_gradient(len(step))).parts

    def decrypt_weight_gradient(self, parts: Parts, rows: int) -> Ring:
        """(lr dz)^T a - mask, [o, d], of a batch of so many rows."""
        return self._secret.decrypt(CiphertextBundle(parts), self._shapes.weight_gradient(rows)).T

    def load_share(self, parts: Parts) -> EncryptedOperand:
        """[V]_C, for the gradients and tests until the next."""
        return self._public.load_operand(CiphertextBundle(parts), self._shapes.feature_gradient(self._rows))

    def feature_gradient(self, mantissas: Integers, peer_share: EncryptedOperand, own: Ring) -> Parts:
        """[dz V + own]_C of dz [B, o] and [V]_C; own [B, d]."""
        shape = self._shapes.feature_gradient(len(mantissas))
        self._for_gradients.use()
        return self._public.multiply_add(mantissas, peer_share, own, shape).parts


class CollaboratorProducts(ShareProducts):
    """The collaborator's ciphertexts. Arguments as `HostProducts`."""

    _sender = Sender.COLLABORATOR

    def __init__(self, keys: Keys, shapes: LayerShapes, rows: int, is_trainable: bool) -> None:
        super().__init__(keys, shapes, rows)
        self._for_projections = PrecomputedRandomness(self._public.prepare, shapes.forward(rows))
        self._for_weight_gradients = PrecomputedRandomness(self._public.prepare, shapes.weight_gradient(rows))
        self._for_shares = PrecomputedRandomness(self._secret.prepare, shapes.feature_gradient(rows))
        own = [self._for_shares] if is_trainable else []
        self._prepared = (self._for_projections, self._for_weight_gradients, *own)

    def prepare(self) -> bool:
        """Make a little randomness ahead of time; False when there is enough."""
        return any([randomness.top_up() for randomness in self._prepared])

    def encrypt_share(self, share: Ring) -> Parts:
        """[V]_C of V [o, d]."""
        self._for_shares.use()
        return self._secret.encrypt(share, self._shapes.feature_gradient(self._rows)).parts

    def load_share(self, parts: Parts) -> EncryptedOperand:
        """[U^T]_H, for all projections until the next."""
        return self._public.load_operand(CiphertextBundle(parts), self._shapes.forward(self._rows))

    def projection(self, features: Integers, host_share: EncryptedOperand, own: Ring) -> Parts:
        """[a U^T + own]_H of a [B, d]; own [B, o]."""
        self._for_projections.use()
        return self._public.multiply_add(features, host_share, own, self._shapes.forward(len(features))).parts

    def check(self, features: Integers, combination: Parts, mask: Ring) -> Parts:
        """[a U^T r + mask]_H of a [B, d] and [U^T r]_H; mask [B, 1]."""
        shape = self._shapes.check(len(features))
        operand = self._public.load_operand(CiphertextBundle(combination), shape)
        return self._public.multiply_add(features, operand, mask, shape).parts

    def combine_step(self, combination: Integers, step: Parts, mask: Ring, rows: int) -> Parts:
        """[x lr dz + mask]_H of x [TEST_ROWS, rows] and [lr dz]_H."""
        shape = self._shapes.step_test(rows)
        operand = self._public.load_operand(CiphertextBundle(step), shape)
        return self._public.multiply_add(combination, operand, mask, shape).parts

    def weight_gradient(self, features: Integers, step: Parts, mask: Ring) -> Parts:
        """[(lr dz)^T a - mask]_H of a [B, d] and [lr dz]_H, computed as [a^T (lr dz) - mask^T]_H; mask [o, d]."""
        shape = self._shapes.weight_gradient(len(features))
        operand = self._public.load_operand(CiphertextBundle(step), shape)
        addend = np.ascontiguousarray(negative(mask).T)
        self._for_weight_gradients.use()
        return self._public.multiply_add(np.ascontiguousarray(features.T), operand, addend, shape).parts

    def decrypt_gradient(self, parts: Parts, rows: int) -> Ring:
        """da + e', [rows, d]."""
        return self._secret.decrypt(CiphertextBundle(parts), self._shapes.feature_gradient(rows))
