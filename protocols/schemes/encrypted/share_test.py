"""The collaborator's test of the host's share: is a new [U] the one before, less what message 4 told the host?

    collaborator (a, R and [lr dz] of the step; x, m)                        host (U, key H)
    x secret, m1 + m2 + m3 = t, all fresh
    ShareQuery [x U^T + m1]_H of the old U,
      [x R^T - (x a^T) lr dz + m2]_H, [m3 - x U^T]_H of the new U,
      X of t                                           ------------------->  v = the three decrypted, added up
                                                       <-------------------  EqualityProof of v
    EqualityConfirmation                               ------------------->

After each step the collaborator tosses a coin that the host cannot foresee, and one new [U] in `test_shares_every` is
tested, before the first projection by it is sent; it is computed while the host answers (why that changes nothing:
protocols/schemes/shares/relation_test.py). Everything is computed from ciphertexts that the collaborator holds already;
but nothing before the [U] in force has come, as the time that it takes would show the host how the coin fell.

**Theorem** (malicious host, whose ciphertexts and keys are integers with honest noise; random oracle and assumption of
protocols/layer/equality.py). Let D be what the plaintext of the new [U] differs by from that of the old one less the
plaintext of message 4. Then v = t - x D^T. All that the host decrypts is uniform given v, and it passes exactly if it
guesses x D^T. x has `TEST_ROWS` rows of entries -1, 0, 0, 1: if D is not 0, no value of x D^T has more than half of the
probability in a row, as -1, 0 or 1 times an element of the ring that is not 0 takes none more often. So a tested lie
passes with probability below 2^-15 (2^-16, times 13/12 for drawing x again), and else ends the task; its host is told
nothing but that. One lie is tested with probability 1 / `test_shares_every`; k lies in k different batches stay unseen
with probability (1 - 1 / `test_shares_every`)^k. Another share that stays is one lie, and one that is taken back
afterwards is two. With m uniform, a malicious collaborator gets one guess at v likewise, and no decryption of what it
chose.

**What this does not cover** Fractions in [U] or [lr dz], which show x, or features, and which no test sees
(tests/attacks/test_fractions.py). The first [U] of a task, and [V]: protocols/schemes/shares/relation_test.py. The
first [U] of a resumed task and the last one before an interruption: nothing stands before, or behind it. A step of any
size, as lr dz is the host's own to choose: W moves by it, and z shows it. What a ciphertext holds besides a matrix, and
keys that are none: see there.

**Leaks** when it was tossed, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.core.randomness import Randomness
from protocols.core.sender import Sender
from protocols.core.steps import Meanwhile, Send, Steps
from protocols.he.interface import RING_BITS, EncryptedOperand
from protocols.layer.equality import Comparison
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import TEST_ROWS, Integers, Ring, add
from protocols.layer.weight_share import WeightShare
from protocols.schemes.encrypted.products import CollaboratorProducts
from protocols.schemes.shares.products import Parts
from protocols.schemes.shares.relation_test import is_drawn, ternary, wrong_share
from protocols.schemes.shares.test_messages import ShareQuery

PLACE = "share"
"""Of the comparison."""


@dataclass(frozen=True, repr=False)
class Move:
    """What the collaborator keeps of a step whose new [U] it will test.

    Attributes:
        before: [U] that was in force.
        step: [lr dz].
        features: a at the gradient's scale, [B, d].
        mask: R, [o, d].
    """

    before: EncryptedOperand
    step: Parts
    features: Integers
    mask: Ring


class ShareTest:
    """Tosses the coin, and tests.

    Args:
        share: the collaborator's.
        every: one in so many new [U] is tested; 0: none.
        randomness: of coins, x and m.
    """

    def __init__(self, share: WeightShare, every: int, randomness: Randomness) -> None:
        self._share, self._every, self._randomness = share, every, randomness
        self._move: Move | None = None

    def __repr__(self) -> str:
        return f"<ShareTest of {self._share!r}>"

    def stepped(self, move: Move) -> None:
        """W makes this step; if the coin says so, what it made of [U] is tested."""
        self._move = move if is_drawn(self._randomness, self._every) else None

    def run(self, products: CollaboratorProducts, now: EncryptedOperand, meanwhile: Meanwhile) -> Steps[None]:
        """Test the [U] in force, if it is new and the coin said so. Raises `VerificationFailed`.

        `meanwhile`: what to compute while the host answers, if there is a test; to be sent behind it.
        """
        move, self._move = self._move, None
        if move is None:
            return
        shapes, rows = self._share.shapes, len(move.features)
        combination, image = self._combination(move.features)
        masks = [self._randomness.ring((TEST_ROWS, shapes.o), RING_BITS) for _ in range(3)]
        moved = add(matmul(combination, np.ascontiguousarray(move.mask.T)), masks[1])
        total = add(add(masks[0], masks[1]), masks[2])
        comparison = Comparison(Sender.COLLABORATOR, self._share.place(PLACE), total)
        yield Send(
            ShareQuery(
                self._share.version,
                rows,
                products.combine_share(combination, move.before, masks[0], rows),
                products.combine_step(-image, move.step, moved, rows),
                products.combine_share(-combination, now, masks[2], rows),
                comparison.element,
            )
        )
        meanwhile()
        yield from comparison.verify(wrong_share(self._share.label, Sender.HOST, rows))

    def _combination(self, features: Integers) -> tuple[Integers, Integers]:
        """x [TEST_ROWS, d], and x a^T, within the bounds of its product.

        They hold for all but rows that are as long as they may be and all alike, and then twelve times in thirteen, so
        drawing again makes no x more likely than 13/12 of what it was.
        """
        shape = self._share.shapes.step_test(len(features))
        while True:
            combination = ternary(self._randomness, TEST_ROWS, self._share.shapes.d)
            image = combination @ np.ascontiguousarray(features.T)
            if _fits(image, shape.largest, shape.row_sum or 0, shape.square_sum or 0):
                return combination, image


def _fits(image: Integers, largest: int, row_sum: int, square_sum: int) -> bool:
    sizes = np.abs(image).astype(np.float64)
    squares = float((sizes**2).sum())
    return float(sizes.max()) <= largest and float(sizes.sum(axis=1).max()) <= row_sum and squares <= square_sum
