"""One party's test of the share that the other holds: does it stand in the relation that each knows one half of?

    tester (G, K; c, m; holds [P]_O)                        owner of P (F; s)                  c P = (c G) F + c K
    RelationQuery [c P + m]_O, [(c G)^T]_T ------------->   w = c P + m
    y = (c G) F + s                        <-------------   RelationReply [(F^T (c G)^T + s^T)]_T, X of w + s
    EqualityProof of y + c K + m           ------------->
                                           <-------------   EqualityConfirmation

    tester         when                    P          G                 F        K
    collaborator   once, after set-up      U^T        B^T               A^T      -V^T          W = A B
    host           once, after set-up      V          A                 B        -U            (if trainable)
    host           some steps, secretly    V' - V     -(lr dz)^T        a        (lr dz)^T a - R, what it decrypted

Scheme "masked" has it behind steps of both sides (protocols/schemes/masked/share_tests.py). In the others the host
tests a new [V] before it sends anything that it makes from it, one in `test_shares_every`. The collaborator's test of a
new [U] binds more, and is another: protocols/schemes/encrypted/share_test.py. c, m and s are fresh, and c has t rows of
entries -1, 0, 0, 1: 40 for the first share, 16 behind a step. P is what the ciphertexts say that the tester holds
already.

**Theorem** (malicious owner, whose ciphertexts and keys are integers with honest noise; random oracle and assumption of
protocols/layer/equality.py; ciphertexts let it compute affine functions of what is in them, and say nothing else).
Unless P = G F* + K mod 2^59 for some F*, a test passes with probability at most 2^-t, for every lie, also one that is a
multiple of 2^58. For w is masked by m, so the owner passes
only if c (P - K) - L(c G) is a constant for the linear L that it has answered by, both fixed without knowing c. Let e
be a column of P - K that is not in the image of G. For that column these are t linear forms F in the entries of c, and
L adds to the form of row i only multiples of columns of G. So a vector r with r^T F = 0 has r_i e in the image for
every i, and no entry of r is odd. By Smith's normal form F c = const is then a condition modulo 2 or more on each of t
forms that are independent modulo 2; and the entries of c are odd by independent fair coins.

F* is chosen blindly, as the owner does not know G. Of the first shares, U + V = A B, or it has guessed a linear
function of the other's factor that is not 0. Of a step, W' = W - (lr dz)^T a*. Let message 4 be (lr dz)^T a - R; then
V' = V - R + (lr dz)^T (a - a*), which is V - R, or it has guessed such a function of the host's step.

A step's lie is tested with probability 1 / `test_shares_every`; but for 2^-16, k lies in k batches stay unseen with
probability (1 - 1 / `test_shares_every`)^k, and one that is taken back is two. An owner sees first that it has failed,
and may fall silent instead of confirming: then its peer goes no further, and all that it gets is an interruption.

**Computed before, sent after** While the owner works on its answer, the tester computes what it will send next, by the
ciphertext that is tested. It sends that once the test is passed, and drops it if not. So nothing that the owner is sent
before it has passed depends on the tested ciphertext but for the query, and the theorem does not ask when a number was
computed. An owner that fails sees when its peer gives up, which takes the time of one product longer (SECURITY.md says
what timing may show). The same holds for form_test.py, for share_test.py and for the tests of scheme "masked".

For the owner (malicious tester, likewise honest in what it encrypts): y is uniform, whatever it asked for, and w is
never sent. It passes only if it has guessed what w + s is, one guess a test, and a wrong one ends the task.

**What this does not cover** Fractions in a ciphertext show its owner what it is multiplied by, c or F, and no test sees
them (tests/attacks/test_fractions.py). Another share that stays: only where it begins is it compared with a true one,
so it is one lie. Of an interrupted run, the share of the last step: its coin goes with the conversation. Shares behind
a resumption: share_marks.py. Which a* it was, and the size of lr dz. What a ciphertext or key holds besides a matrix:
form_test.py. Answers that are wrong where the share is right: those end the task, and say nothing about who. A judge
finds what a round's shares were.

**Leaks** that a share was tested, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.core.errors import MalformedMessage
from protocols.core.randomness import Randomness
from protocols.core.sender import Sender
from protocols.core.steps import Meanwhile, ReceiveInTest, Send, Steps, nothing, received
from protocols.he.interface import RING_BITS, EncryptedOperand
from protocols.layer.equality import Comparison
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Integers, Ring, add, rows_of_test
from protocols.layer.weight_share import WeightShare
from protocols.schemes.shares.products import ShareProducts
from protocols.schemes.shares.test_messages import RelationQuery, RelationReply


@dataclass(frozen=True, repr=False)
class Relation:
    """The tester's half of it.

    Attributes:
        now: [P], or the new share of P.
        before: the share that is taken from it; None: none.
        image: G [k, q].
        known: K [k, n].
        rows: of the step; 0 for the first share.
    """

    now: EncryptedOperand
    before: EncryptedOperand | None
    image: Ring
    known: Ring
    rows: int


@dataclass(frozen=True, repr=False)
class Mark:
    """What a tester keeps of [c P + m]_O: c [t, k] and m [t, n]. Secret."""

    combination: Integers
    mask: Ring


@dataclass(frozen=True, repr=False)
class Question:
    """A query, and what its tester keeps of it.

    Attributes:
        query: to be sent.
        value: c K and all masks, added up.
        mark: what the new share was combined by.
    """

    query: RelationQuery
    value: Ring
    mark: Mark


class RelationTest:
    """Tests the other side's share, and answers its tests of ours.

    Args:
        sender: which side this is.
        share: its share.
        randomness: of c, m and s.
    """

    def __init__(self, sender: Sender, share: WeightShare, randomness: Randomness) -> None:
        self._sender, self._share, self._randomness = sender, share, randomness
        self._tests = 0  # of either side

    def __repr__(self) -> str:
        return f"<RelationTest at {self._share!r}>"

    def question(self, products: ShareProducts, relation: Relation) -> Question:
        """What to `ask`, once: a query about the peer's share."""
        rows, (width, columns) = relation.rows, relation.known.shape
        combination = ternary(self._randomness, rows_of_test(rows), width)
        value, before = matmul(combination, relation.known), tuple[bytes, ...]()
        if relation.before is not None:
            mask = self._mask(rows, columns)
            before, value = products.combine_share(-combination, relation.before, mask, rows), add(value, mask)
        mask = self._mask(rows, columns)
        now, value = products.combine_share(combination, relation.now, mask, rows), add(value, mask)
        image = products.encrypt_image(matmul(combination, relation.image), rows)
        query = RelationQuery(self._share.version, rows, before, now, image)
        return Question(query, value, Mark(combination, mask))

    def ask(self, products: ShareProducts, question: Question, meanwhile: Meanwhile = nothing) -> Steps[Mark]:
        """Test the peer's share. Returns what the new one was combined by.

        Args:
            products: those that the question was made by.
            question: of `question`.
            meanwhile: what to compute while the peer answers, to be sent behind the test.

        Raises:
            VerificationFailed: the shares do not stand in the relation.
        """
        rows = question.query.rows
        yield Send(question.query)
        meanwhile()
        reply = received((yield ReceiveInTest(RelationReply)), RelationReply)
        self._check(reply, rows)
        value = add(question.value, products.decrypt_answer(reply.parts, rows))
        comparison = Comparison(self._sender, self._place(self._sender), value)
        yield from comparison.prove(reply.element, self._wrong(self._sender, rows))
        return question.mark

    def answer(self, products: ShareProducts, factor: Integers, query: RelationQuery, rows: int) -> Steps[Ring]:
        """Show that our share is as it should be. Returns c P + m of the new one. Raises `VerificationFailed`.

        Args:
            factor: F [q, n].
            query: the peer's.
            rows: of the last step, 0 for the first share.
        """
        self._check(query, rows)
        value = self._mask(rows, factor.shape[1])
        parts = products.answer(factor, query.image, value, rows)
        now = products.decrypt_combined(query.now, rows)
        value = add(value, now)
        if query.before:
            value = add(value, products.decrypt_combined(query.before, rows))
        comparison = Comparison(self._sender, self._place(self._sender.other), value)
        yield Send(RelationReply(self._share.version, parts, rows, comparison.element))
        yield from comparison.verify(self._wrong(self._sender.other, rows))
        return now

    def _mask(self, rows: int, columns: int) -> Ring:
        return self._randomness.ring((rows_of_test(rows), columns), RING_BITS)

    def _place(self, tester: Sender) -> bytes:
        self._tests += 1
        return self._share.place(f"share of the {tester.other.role}|{self._tests}")

    def _check(self, message: RelationQuery | RelationReply, rows: int) -> None:
        name = type(message).__name__
        self._share.check_version(name, message.version)
        if message.rows != rows:
            raise MalformedMessage(f"{name} is about a step of {message.rows} rows, the last one had {rows}")

    def _wrong(self, tester: Sender, rows: int) -> str:
        return wrong_share(self._share.label, tester.other, rows)


def ternary(randomness: Randomness, rows: int, width: int) -> Integers:
    """A secret combination [rows, width]: each entry -1, 0, 0 or 1."""
    bits = randomness.ring((rows, width), 2).view(np.int64)
    combination: Integers = (bits & 1) - (bits >> 1)
    return combination


def is_drawn(randomness: Randomness, every: int) -> bool:
    """A coin that nobody else can foresee: true once in `every` tosses; 0: never."""
    coin = int(randomness.ring((1,), RING_BITS)[0])
    return every > 0 and coin * every >> RING_BITS == 0


def wrong_share(feature_key: str, owner: Sender, rows: int) -> str:
    """What a failed test says at either party."""
    what = "the one before, moved by the last step" if rows else "its part of the first weights"
    return (
        f"the {owner.role}'s share of the weights for {feature_key} is not {what}: a party sends other numbers than it "
        "should. Nothing can be trusted from here on"
    )
