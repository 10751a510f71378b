"""Each party's tests of the share that the other opens: scheme "masked".

The host opens U for each product by it: mu = U - M, of which the collaborator has [M^T]_H from making the triple. So to
the collaborator an opening says that the share is M + mu; to the host likewise N + nu, from [N]_C and nu = V - N.

    tester                                            owner
    set-up        [U^T]_H, [V]_C  <--------------->   HostShare, CollaboratorShare
                  of first shares <--------------->   RelationQuery ...    U + V = A B        (relation_test.py)
    an opening that is tested, before anything that is made from it is sent:
                  FormQuery ...   <--------------->   its mask is a matrix                    (form_test.py)
                  SameShareQuery  ---------------->   the opening before was of this version
       or         RelationQuery   <--------------->   there was a step between the two
    checkpoint    HostShare, CollaboratorShare, each tested against the last opening; ShareMark   (share_marks.py)
    resumed       HostShare, CollaboratorShare; MarkQuery ...

    SameShareQuery [m1 - c P]_O, [c P' + m2]_O,
      X of m1 + m2                ---------------->   v = both decrypted, added up
                                  <----------------   EqualityProof of v
    EqualityConfirmation          ---------------->

The collaborator tests mu before it sends z, the host nu before it sends what depends on dz; both compute that while the
other answers (why that changes nothing: protocols/schemes/shares/relation_test.py). Tested are the first
opening of a conversation, and each other one with probability 1 / `test_shares_every`, by a coin that the owner cannot
foresee. What an opening is compared with is the opening before the step, or if there was none since then the last one
that was tested; for the first one the encrypted share, for one behind a checkpoint that share. Of a batch in several
pieces each is an opening, and so is each batch of a test or a prediction.

A step is lr dz = gamma + G at the host and a' = alpha' + A' at the collaborator. With r_H = G^T alpha' + T_H and
r_C = gamma^T a' + T_C, which they subtract from U and V, r_H + r_C = (lr dz)^T a'. So in the words of relation_test.py:

    tester         P                 G               F          K
    collaborator   U'^T - U^T        -a'^T           lr dz      r_C^T
    host           V' - V            -(lr dz)^T      a'         r_H

**All products by one ciphertext have one shape**: that in which it is used, A M^T or D N. A test's c is multiplied in
it, filled up with zeros under masks, in pieces if it has more rows. So whatever a malicious owner has put into
ciphertexts and keys, its results are one linear map of the factor: row i gets E_ij times row j. The test of the form
says that E_ij = 0 for i != j and that all E_ii are one S, and a test of the share is about that S.

**Theorem** (malicious owner, whose ciphertexts and keys are integers with honest noise; assumptions of relation_test.py
and form_test.py). A lie is an opening with other E than a matrix has, or whose S is not that of the opening it is
compared with; if there was a step between, that moved by r of the tester and by (lr dz)^T a' with some F* in place of
F. One lie is tested with probability 1 / `test_shares_every`. In one version k lies stay unseen with probability
(1 - 1 / `test_shares_every`)^k: so it is in all of a prediction, and with a frozen bottom model. **Over a step only the
opening in which a lie begins is compared with a true one**: another W that stays is one lie, and unseen with
probability 1 - 1 / `test_shares_every` however long it stays; each further change, also back, is one more. A tested one
passes with probability at most

    2^-40                   another S than before, of the first share or of one version
    2^-16                   another S behind a step; or by guessing a linear function of the tester's half of it
    as form_test.py says    other E than a matrix has; b = 58 there, and triples of 16 rows and more

For one version: v is masked by m1 and m2, and is their sum plus c (P' - P), which the owner must guess. c has 40 rows
of entries -1, 0, 0, 1, and no value of c (P' - P) is likelier than 2^-40 if that is not 0. The first share is tested by
40 rows, and the first opening against it by 40. An encrypted share's form is not tested, so each row of a test may be
about an E_ii of its own: where that is not S it fails one of these two tests with probability one half, row by row. The
same holds for the opening before, if that was not tested: c's rows must all meet what the tested S is compared with.

So in every step but for lies that were not tested W moves by (lr dz)^T a* for some a*, and by F*^T a for some F*. That
needs no true triples: a wrong G^T A', or a [G]_H that is no matrix, moves one side's share by what the other's test
does not allow.

For the owner (malicious tester): it sends no number; each test is one guess at what it holds, and a wrong one ends the
task. For the tester: c, m, s and coins are fresh; masks of triples are used once, and m hides what c says of them.

**What this does not cover** Fractions: an owner that adds them to what it encrypts reads c, and A or D, from what
decryption rounds away, passes every test, and reads features or dz; so does a tester with (lr dz) or a', by its own
[(c G)^T] (tests/attacks/test_fractions.py, which also has what a test would be). Which a* it was, and the size of
lr dz. Wrong products A M^T and D N: they are other features and another da. What a check opens (host.py has its own
theorem, for any). Lies of the top two bits in what is no matrix. An owner that hangs up when it is asked has not failed
here: sessions of predictions count that as a failure, training has a bound of resumptions. Nobody judges this scheme: a
failed test says that the other cheats, or that a computer erred, and ends the task.

**Leaks** that an opening was tested, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import numpy as np

from protocols.core.errors import CallOutOfOrder
from protocols.core.message import Array, Message
from protocols.core.randomness import OsRandomness, Randomness, expand
from protocols.core.sender import Sender
from protocols.core.steps import Answer, Meanwhile, Receive, Send, Steps, nothing, received
from protocols.he.interface import RING_BITS, EncryptedOperand, as_ring
from protocols.layer.equality import Comparison
from protocols.layer.initial import Keys
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import FIRST_TEST_ROWS, TEST_ROWS, Integers, Ring, add, negative
from protocols.layer.weight_share import WeightShare
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.masked.share_products import MaskedShareProducts, PeerShare
from protocols.schemes.shares.form_test import FormTest
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.products import Parts
from protocols.schemes.shares.relation_test import (
    Mark,
    Question,
    Relation,
    RelationTest,
    is_drawn,
    ternary,
    wrong_share,
)
from protocols.schemes.shares.share_marks import ShareMarks
from protocols.schemes.shares.test_messages import FormQuery, RelationQuery, SameShareQuery

AskedT = TypeVar("AskedT")
AnsweredT = TypeVar("AnsweredT")
_SHARES: dict[Sender, type[HostShare] | type[CollaboratorShare]] = {
    Sender.HOST: HostShare,
    Sender.COLLABORATOR: CollaboratorShare,
}


@dataclass(frozen=True, repr=False)
class _Step:
    """A side's half of a step: lr dz or a' [rows, .], and what it has subtracted from its share, as P is."""

    factor: Integers
    moved: Ring


@dataclass(frozen=True, repr=False)
class _SameQuestion:
    """A query about two openings of one version, and our part of what is compared."""

    query: SameShareQuery
    comparison: Comparison


class ShareTests:
    """One side's tests of the peer's openings, and its answers to the peer's.

    Args:
        sender: which side.
        spec: the layer.
        share: this side's.
        parameters: how often it tests; 0: never, and then nothing of this is sent.
    """

    _products: MaskedShareProducts
    """Once keys are exchanged."""

    def __init__(self, sender: Sender, spec: LayerSpec, share: WeightShare, parameters: LayerParameters) -> None:
        self._sender, self._spec, self._share = sender, spec, share
        self._every = parameters.test_shares_every
        self._shapes = MaskedShapes(spec.width_in, spec.width_out, parameters)
        self._randomness: Randomness = expand(OsRandomness().seed())
        self._relation = RelationTest(sender, share, self._randomness)
        self._form = FormTest(sender, share, self._every, self._randomness)
        asks = self._every > 0 and (sender is Sender.COLLABORATOR or spec.trainable)
        answers = self._every > 0 and (sender is Sender.HOST or spec.trainable)
        self._marks = ShareMarks(sender, share, self._randomness, asks, answers)
        self._asks, self._answers = asks, answers
        self._last: PeerShare | None = None  # what the peer has opened last
        self._is_first = True  # the next opening
        self._step: _Step | None = None  # between the last opening and the next
        self._moved_by: Integers | None = None  # our factor of the last step
        self._same = 0  # tests of one version, of either side

    def __repr__(self) -> str:
        return f"<ShareTests at {self._share!r}>"

    @property
    def keeps_operands(self) -> bool:
        """Whether masks are kept encrypted until they are used."""
        return self._every > 0

    # Without an opening: set-up, resumption and checkpoints ----------------------------------------------------------

    def open(self, keys: Keys) -> None:
        """The keys of this session."""
        self._products = MaskedShareProducts(self._sender, keys, self._shapes, self._spec.rows)

    def setup(self, factor: Integers | None) -> Steps[None]:
        """Test that the peer's share is what the set-up gave, and show that ours is. `factor`: A or B."""
        if not self._every:
            return
        if factor is None:
            raise CallOutOfOrder("the factors of the first weights have been used")
        yield from self._exchange()
        mark, result = yield from self._in_turns(self._ask_first(factor), self._answer_first(factor))
        self._marks.keep(mark, result)

    def restore(self, marks: Mapping[str, Array]) -> None:
        """What a checkpoint has of the marks (`split_state`). Raises `InvalidInput`."""
        self._marks.restore(marks)

    def resume(self) -> Steps[None]:
        """Test that the peer has come back with the share that was marked, and show that we have."""
        if not self._every:
            return
        yield from self._exchange()
        read = None if self._last is None else self._products.read(self._last)
        yield from self._in_turns(self._marks.ask(self._products, read), self._marks.answer(self._products))

    def before_checkpoint(self) -> Steps[None]:
        """Mark the shares in force, each once it is tested against the last opening."""
        if not self._every or not self._marks.is_due:
            return
        last, step = self._last, self._step
        yield from self._exchange()
        read = None if self._last is None else self._products.read(self._last)
        yield from self._in_turns(self._relate(last, step, read), self._answer_once())
        yield from self._marks.exchange(self._products, read)

    def state(self) -> dict[str, Array]:
        """As `ShareMarks.state`."""
        return self._marks.state()

    def newest(self) -> dict[str, Array]:
        """As `ShareMarks.newest`."""
        return self._marks.newest()

    def _exchange(self) -> Steps[None]:
        """Both shares, encrypted; the collaborator's only if its bottom model is trained."""
        version = self._share.version
        if self._answers:
            yield Send(_SHARES[self._sender](version, self._products.encrypt_share(self._share.values)))
        if self._asks:
            kind = _SHARES[self._sender.other]
            message = received((yield Receive(kind)), kind)
            self._share.check_version(kind.__name__, message.version)
            self._last, self._step = PeerShare(message.parts), None

    def _in_turns(self, ask: Steps[AskedT], answer: Steps[AnsweredT]) -> Steps[tuple[AskedT | None, AnsweredT | None]]:
        """The collaborator asks first."""
        asked: AskedT | None = None
        answered: AnsweredT | None = None
        if self._asks and self._sender is Sender.COLLABORATOR:
            asked = yield from ask
        if self._answers:
            answered = yield from answer
        if self._asks and self._sender is Sender.HOST:
            asked = yield from ask
        return asked, answered

    def _ask_first(self, factor: Integers) -> Steps[Mark]:
        oriented = factor.T if self._sender is Sender.COLLABORATOR else factor
        known = negative(self._oriented(self._share.values))
        relation = Relation(self._products.read(self._peer_share(self._last)), None, as_ring(oriented), known, 0)
        return (yield from self._relation.ask(self._products, self._relation.question(self._products, relation)))

    def _answer_first(self, factor: Integers) -> Steps[Ring]:
        query = received((yield Receive(RelationQuery)), RelationQuery)
        oriented = factor.T if self._sender is Sender.HOST else factor
        return (yield from self._relation.answer(self._products, oriented, query, 0))

    # As the tester ---------------------------------------------------------------------------------------------------

    def stepped(self, factor: Integers, moved: Ring) -> None:
        """W has moved.

        Args:
            factor: lr dz, or a at the gradient's scale: [rows, o] or [rows, d].
            moved: what was subtracted from our share, [o, d].
        """
        self._step = _Step(factor, self._oriented(moved))
        self._moved_by = factor

    def opened(self, opening: Ring, operand: Parts, meanwhile: Meanwhile) -> Steps[None]:
        """The peer has opened its share under a mask: test it, if it is due, before anything made of it is sent.

        Args:
            opening: mu or nu, [o, d].
            operand: the mask, encrypted (`Half.operand`).
            meanwhile: what to compute while the peer answers, if there is a test; to be sent behind it.

        Raises:
            VerificationFailed: it is another share, or the mask is more than a matrix.
        """
        if not self._asks:
            return
        now = PeerShare(operand, self._oriented(opening))
        is_tested = self._is_first or is_drawn(self._randomness, self._every)
        if is_tested:
            yield from self._test(now, meanwhile)
        if is_tested or self._step is not None:  # of one version, all are compared with the one that was tested
            self._last, self._step = now, None
        self._is_first = False

    def _test(self, now: PeerShare, meanwhile: Meanwhile) -> Steps[None]:
        """First the form. The question about the share is made while the peer answers that."""
        read = self._products.read(now)
        question = cache(partial(self._question, self._last, self._step, read))
        if self._spec.rows > 1:
            yield from self._form.test(self._products.test_form, read, self._spec.rows, meanwhile=question)
        yield from self._ask(question(), meanwhile)

    def _relate(self, last: PeerShare | None, step: _Step | None, now: EncryptedOperand | None) -> Steps[None]:
        """Test that this share is the last one, moved by the step, if there was one."""
        yield from self._ask(self._question(last, step, now), nothing)

    def _question(
        self, last: PeerShare | None, step: _Step | None, now: EncryptedOperand | None
    ) -> Question | _SameQuestion:
        before = self._products.read(self._peer_share(last))
        if now is None:
            raise CallOutOfOrder("there is no share of the peer")
        if step is None:
            return self._same_question(before, now)
        relation = Relation(now, before, as_ring(-step.factor.T), step.moved, len(step.factor))
        return self._relation.question(self._products, relation)

    def _ask(self, question: Question | _SameQuestion, meanwhile: Meanwhile) -> Steps[None]:
        if isinstance(question, Question):
            yield from self._relation.ask(self._products, question, meanwhile)
            return
        yield Send(question.query)
        meanwhile()
        yield from question.comparison.verify(self._wrong(self._sender.other))

    def _same_question(self, before: EncryptedOperand, now: EncryptedOperand) -> _SameQuestion:
        k, n = self._shapes.of_owner(self._sender.other, 1).k, self._shapes.of_owner(self._sender.other, 1).n
        combination = ternary(self._randomness, FIRST_TEST_ROWS, k)
        masks = [self._randomness.ring((FIRST_TEST_ROWS, n), RING_BITS) for _ in range(2)]
        comparison = Comparison(self._sender, self._place(self._sender), add(*masks))
        query = SameShareQuery(
            self._share.version,
            self._products.combine_share(-combination, before, masks[0], 0),
            self._products.combine_share(combination, now, masks[1], 0),
            comparison.element,
        )
        return _SameQuestion(query, comparison)

    # As the owner ----------------------------------------------------------------------------------------------------

    def receive(self, *types: type[Message]) -> Steps[Answer]:
        """The peer's next message of these types; tests of our openings may come before it."""
        while True:
            message = yield Receive(*types, *self._questions)
            if not isinstance(message, self._questions):
                return message
            yield from self._answer(message)

    @property
    def _questions(self) -> tuple[type[Message], ...]:
        if not self._answers:
            return ()
        return (FormQuery, SameShareQuery, *(() if self._moved_by is None else (RelationQuery,)))

    def _answer_once(self) -> Steps[None]:
        yield from self._answer((yield Receive(*self._questions[1:])))

    def _answer(self, message: Answer) -> Steps[None]:
        """Show what a question asks for. Raises `VerificationFailed`."""
        if isinstance(message, FormQuery):
            yield from self._form.answer(self._products.decrypt_form, message, self._spec.rows)
        elif isinstance(message, RelationQuery) and self._moved_by is not None:
            yield from self._relation.answer(self._products, self._moved_by, message, len(self._moved_by))
        else:
            query = received(message, SameShareQuery)
            self._share.check_version("SameShareQuery", query.version)
            parts = (query.before, query.now)
            value = add(*(self._products.decrypt_combined(each, 0) for each in parts))
            comparison = Comparison(self._sender, self._place(self._sender.other), value)
            yield from comparison.prove(query.element, self._wrong(self._sender))

    # Both ------------------------------------------------------------------------------------------------------------

    def _oriented(self, ring: Ring) -> Ring:
        """A matrix [o, d] as the peer's P is."""
        return np.ascontiguousarray(ring.T) if self._sender is Sender.COLLABORATOR else ring

    @staticmethod
    def _peer_share(last: PeerShare | None) -> PeerShare:
        if last is None:
            raise CallOutOfOrder("the peer has not said what its share is")
        return last

    def _place(self, tester: Sender) -> bytes:
        self._same += 1
        return self._share.place(f"same share of the {tester.other.role}|{self._same}")

    def _wrong(self, owner: Sender) -> str:
        return wrong_share(self._share.label, owner, TEST_ROWS)
