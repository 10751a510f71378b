"""A malicious host asks the check of a batch for something else than z r: its query's operand q is its own choice.

Before, the collaborator answered with both halves of the result, [a q + s] and own r - s. A host that sends r = 0 adds
them up and has a q, exactly, without smoothing noise; with any other r it subtracts what it knows. The weak design here
is that answer, on the very same query. Now the second half never travels: the host must show that it knew it
(protocols/layer/equality.py). It knows it if it has guessed a (U^T r - q) of the whole batch, and q = U^T r is the one
question where that is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import VerificationFailed
from protocols.core.fixed_point import FEATURE_BITS, encode
from protocols.core.sender import Sender
from protocols.core.steps import Receive, Send, Steps
from protocols.he.interface import as_ring, as_signed
from protocols.layer.equality import Comparison
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.layer.shapes import Ring, add, subtract
from protocols.schemes.encrypted.messages import CheckQuery, CheckReply
from protocols.schemes.masked.messages import MaskedCheck, MaskedCheckReply
from protocols.schemes.masked.triples import PROJECTION
from tests.protocols.layer.helpers import Layer, normal
from tests.protocols.schemes.masked import helpers as masked

D, O, ROWS = 3, 2, 5  # noqa: E741
ALWAYS = LayerParameters(check_every=1)
A = normal(1, ROWS, D)
TRUTH = encode("a", A, FEATURE_BITS, 64.0)
"""The features as the ring has them."""

FIRST = np.array([[1], [0], [0]], np.uint64)
"""q that reads the first feature of every row."""


@dataclass
class Question:
    """What a host asks, from its own share U [o, d]: r [o, 1] and q [d, 1]."""

    combination: Ring
    operand: Ring


def questions(share: Ring) -> dict[str, Question]:
    """One honest question, and variants that are not."""
    r, column = np.array([[3], [5]], np.uint64), None
    column = matmul(np.ascontiguousarray(share.T), r)
    none = np.zeros_like(r)
    return {
        "honest": Question(r, column),
        "r = 0": Question(none, FIRST),
        "r = 0, all features at once": Question(none, np.array([[1], [1 << 20], [1 << 40]], np.uint64)),
        "another U": Question(r, add(column, FIRST)),
        "r = 0, U r of another r": Question(none, column),
        "another r": Question(add(r, np.uint64(1)), column),
    }


class EncryptedAttack:
    """Against schemes "bfv" and "paillier"."""

    def __init__(self, backend: str) -> None:
        self.layer = Layer(D, O, ROWS, backend=backend, parameters=ALWAYS)
        self.halves: list[Ring] = []  # a q + s, as the host decrypts it; and own r - s, as the weak design sends it

    def ask(self, question: Question, guess: Ring) -> None:
        """A batch in which the host asks this, and takes a (U^T r - q) to be `guess`."""
        host, collaborator = self.layer.host, self.layer.collaborator
        host._check = lambda projection: self._check(projection, question, guess)  # type: ignore[method-assign]
        honest = collaborator._products.check

        def watched(features: Any, parts: Any, mask: Ring) -> Any:
            own = collaborator._share.project(features)
            self.halves.append(subtract(matmul(own, question.combination), mask))
            return honest(features, parts, mask)

        collaborator._products.check = watched  # type: ignore[method-assign]
        pump(host.forward(ROWS, True), collaborator.forward(A, True))

    def _check(self, projection: Ring, question: Question, guess: Ring) -> Steps[None]:
        host = self.layer.host
        parts = host._products.encrypt_combination(question.operand, ROWS)
        yield Send(CheckQuery(0, parts, question.combination[:, 0].copy()))
        reply: Any = yield Receive(CheckReply)
        self.halves.append(host._products.decrypt_check(reply.parts, ROWS))
        value = subtract(subtract(matmul(projection, question.combination), self.halves[-1]), guess)
        yield from Comparison(Sender.HOST, host._share.place("check"), value).prove(reply.element, "")

    @property
    def share(self) -> Ring:
        return self.layer.host._share.values


class MaskedAttack:
    """Against scheme "masked"."""

    def __init__(self) -> None:
        self.layer = masked.Layer(masked.layer_spec(ROWS, D, O), parameters=ALWAYS)
        self.layer.stock_up(ROWS)
        self.halves: list[Ring] = []  # what of a q the host has of its own; and the share that the weak design sends

    def ask(self, question: Question, guess: Ring) -> None:
        host, collaborator = self.layer.host, self.layer.collaborator
        host._check = lambda *waiting: self._check(*waiting, question, guess)  # type: ignore[method-assign]
        honest = collaborator._products.projection

        def watched(features: Any, own: Ring, triple: Any, share: Ring) -> Any:
            message = honest(features, own, triple, share)
            if len(share) == 1:
                self.halves.append(message.projection)
            return message

        collaborator._products.projection = watched  # type: ignore[method-assign]
        pump(host.forward(ROWS, True), collaborator.forward(A, True))

    def _check(self, projection: Ring, triple: Any, question: Question, guess: Ring) -> Steps[None]:
        half, version = triple[PROJECTION], self.layer.host._share.version
        masked_operand = subtract(question.operand[:, 0], half.mask[0])
        yield Send(MaskedCheck(triple.index, version, question.combination[:, 0].copy(), masked_operand))
        reply: Any = yield Receive(MaskedCheckReply)
        self.halves.append(add(matmul(reply.features, question.operand), half.share[:ROWS, :1]))
        value = subtract(subtract(matmul(projection, question.combination), self.halves[-1]), guess)
        place = self.layer.host._share.place("check")
        yield from Comparison(Sender.HOST, place, value).prove(reply.element, "")

    @property
    def share(self) -> Ring:
        return self.layer.host._share.values


SCHEMES = {
    "bfv": lambda: EncryptedAttack("bfv"),
    "paillier": lambda: EncryptedAttack("paillier"),
    "masked": MaskedAttack,
}
VARIANTS = [name for name in questions(np.ones((O, D), np.uint64)) if name != "honest"]
NOTHING = np.zeros((ROWS, 1), np.uint64)


def image(attack: Any, question: Question) -> Ring:
    """a (U^T r - q), what the host would have had to know."""
    asked = matmul(np.ascontiguousarray(attack.share.T), question.combination)
    return matmul(as_ring(TRUTH), subtract(asked, question.operand))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_old_answer_to_r_0_is_the_features(scheme: str) -> None:
    """Both halves together, as they travelled before: the first feature of every row, to the last bit."""
    attack = SCHEMES[scheme]()
    with pytest.raises(VerificationFailed):
        attack.ask(questions(attack.share)["r = 0"], NOTHING)
    assert (as_signed(add(*attack.halves))[:, 0] == TRUTH[:, 0]).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_new_answer_ends_the_task(scheme: str, variant: str) -> None:
    attack = SCHEMES[scheme]()
    question = questions(attack.share)[variant]
    with pytest.raises(VerificationFailed, match="asked for something else"):
        attack.ask(question, NOTHING)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_the_host_has_of_an_answer_is_uniform(scheme: str) -> None:
    """The half that it can open, of one question to the same rows: no value comes back, no high bit is likelier."""
    high, first = [], None
    for _ in range(4 if scheme == "paillier" else 40):
        attack = SCHEMES[scheme]()
        with pytest.raises(VerificationFailed):
            attack.ask(questions(attack.share)["r = 0"], NOTHING)
        opened = attack.halves[1]
        assert first is None or (opened != first).all()
        first = opened
        high += [int(value) >> 58 for value in opened.ravel()]
    assert abs(np.mean(high) - 0.5) < 5 * 0.5 / np.sqrt(len(high))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_only_who_knows_the_answer_already_passes(scheme: str, variant: str) -> None:
    """One guess: the whole batch to the last bit passes, a single unit in one row does not."""
    attack = SCHEMES[scheme]()
    attack.ask(questions(attack.share)[variant], image(attack, questions(attack.share)[variant]))
    attack = SCHEMES[scheme]()
    question = questions(attack.share)[variant]
    nearly = image(attack, question)
    nearly[-1, 0] ^= np.uint64(1)
    with pytest.raises(VerificationFailed):
        attack.ask(question, nearly)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_honest_question_passes(scheme: str) -> None:
    attack = SCHEMES[scheme]()
    attack.ask(questions(attack.share)["honest"], NOTHING)
