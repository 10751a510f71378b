"""Tests of shares by relations: honest runs pass them, what breaks their form is refused, and they fit the budgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import C, H, pump
from protocols.core.errors import InvalidInput, MessageOutOfOrder, PeerViolation
from protocols.core.randomness import OsRandomness, expand
from protocols.core.sender import Sender
from protocols.he.interface import RING_MASK
from protocols.layer.messages import EqualityProof, InitialShare
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import FIRST_TEST_ROWS, TEST_ROWS, rows_of_test
from protocols.schemes.encrypted.messages import StepGradient
from protocols.schemes.encrypted.order import EncryptedRules
from protocols.schemes.encrypted.products import run_distance
from protocols.schemes.shares.relation_test import is_drawn, ternary
from protocols.schemes.shares.test_messages import RelationQuery, RelationReply
from tests.protocols.layer.helpers import Layer, backward_and_settle, kept, normal, tampering

ALWAYS = LayerParameters(check_every=3, test_shares_every=1)


def queries(layer: Layer) -> list[int]:
    """The rows of the steps that were tested, by whom: the host's below 0, and -1 and 0 for the first share."""
    sent = [(m.rows, H) for m in layer.view.from_host if isinstance(m, RelationQuery)]
    sent += [(m.rows, C) for m in layer.view.from_collaborator if isinstance(m, RelationQuery)]
    return [rows if sender is C else -1 - rows for rows, sender in sent]


@pytest.mark.parametrize(("d", "o"), [(5, 3), (3, 5)])
@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_honest_runs_pass(backend: str, d: int, o: int) -> None:
    """Batches of all sizes, skipped ones and tests; once after each step, when the next step is made."""
    layer = Layer(d, o, 6, backend=backend, parameters=ALWAYS)
    for number, (rows, what) in enumerate([(6, "step"), (3, "skip"), (1, "step"), (6, "test"), (9, "step")]):
        layer.forward(normal(number, rows, d), training=what != "test")
        if what == "skip":
            layer.skip()
        if what == "step":
            layer.backward(normal(number + 50, rows, o, scale=0.1), 0.5)
    assert queries(layer) == [-1, -7, -2, 0]


@pytest.mark.parametrize(("d", "o"), [(5, 3), (3, 5)])
def test_only_the_hosts_first_share_is_tested_where_nothing_is_trained(d: int, o: int) -> None:
    layer = Layer(d, o, 6, False, parameters=ALWAYS)
    layer.forward(normal(0, 6, d), training=False)
    assert queries(layer) == [0]


def test_shares_behind_a_resumption_are_tested_from_the_next_step_on() -> None:
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    for _ in range(2):
        layer.forward(normal(0, 4, 3))
        layer.backward(normal(1, 4, 2, scale=0.1), 0.1)
    later = layer.resumed()
    for _ in range(2):
        later.forward(normal(0, 4, 3))
        later.backward(normal(1, 4, 2, scale=0.1), 0.1)
    assert queries(layer) == [-1, -5, 0]
    assert queries(later) == [-5]


@pytest.mark.parametrize(("every", "low", "high"), [(0, 0, 0), (1, 200, 200), (4, 1, 100)])
def test_the_coin(every: int, low: int, high: int) -> None:
    randomness = expand(OsRandomness().seed())
    assert low <= sum(is_drawn(randomness, every) for _ in range(200)) <= high


def test_a_combination_has_even_chances() -> None:
    drawn = ternary(expand(OsRandomness().seed()), 200, 200)
    shares = [float((drawn == value).mean()) for value in (-1, 0, 1)]
    assert np.abs(np.array(shares) - (0.25, 0.5, 0.25)).max() < 0.02


def test_a_linear_answer_of_any_kind_fixes_that_many_parities() -> None:
    """The theorem's core, where it is least plain: answers that mix the rows of c, and a lie of the top bit alone."""
    generator, t = np.random.default_rng(1), 3
    image, lie = np.array([1, 1], np.uint64), np.array([1 << 58, 0], np.uint64)
    every = np.array(np.meshgrid(*[[-1, 0, 0, 1]] * (2 * t))).reshape(2 * t, -1).T.reshape(-1, t, 2).view(np.uint64)
    for _ in range(20):
        answer = generator.integers(0, 1 << 59, (t, t), dtype=np.uint64)
        values = ((every @ image) @ answer + every @ lie) & RING_MASK
        assert np.unique(values, axis=0, return_counts=True)[1].max() <= len(every) / 2**t


CHANGES = {
    "another version": lambda m: replace(m, version=m.version + 1),
    "other rows": lambda m: replace(m, rows=m.rows + 1),
    "a part too many": lambda m: replace(m, now=(*m.now, m.now[0])),
    "nonsense": lambda m: replace(m, image=(b"\xff" * len(m.image[0]), *m.image[1:])),
    "truncated": lambda m: replace(m, before=(m.before[0][:-1], *m.before[1:])),
    "parts exchanged": lambda m: replace(m, now=m.image, image=m.now),
}
REPLIES = {
    "another version": lambda m: replace(m, version=m.version + 1),
    "other rows": lambda m: replace(m, rows=m.rows + 1),
    "nonsense": lambda m: replace(m, parts=(b"\xff" * len(m.parts[0]), *m.parts[1:])),
    "low order": lambda m: replace(m, element=bytes(32)),
}


def stepped() -> Layer:
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    layer.forward(normal(0, 4, 3))
    layer.backward(normal(1, 4, 2, scale=0.1), 0.1)
    layer.forward(normal(2, 4, 3))
    return layer


@pytest.mark.parametrize("how", CHANGES)
def test_malformed_queries_are_refused(how: str) -> None:
    layer = stepped()
    host = tampering(layer.host.backward(normal(3, 4, 2, scale=0.1), 0.1), RelationQuery, CHANGES[how])
    with pytest.raises(PeerViolation):
        pump(host, backward_and_settle(layer.collaborator))


@pytest.mark.parametrize("how", REPLIES)
def test_malformed_replies_are_refused(how: str) -> None:
    layer = stepped()
    right = tampering(backward_and_settle(layer.collaborator), RelationReply, REPLIES[how])
    with pytest.raises(PeerViolation):
        pump(layer.host.backward(normal(3, 4, 2, scale=0.1), 0.1), right)


@pytest.mark.parametrize("fields", [{"rows": 0}, {"before": ()}, {"now": ()}, {"image": ()}, {"rows": -1}], ids=str)
def test_a_query_says_what_it_tests(fields: Any) -> None:
    query = RelationQuery(1, 4, (b"x",), (b"x",), (b"x",))
    with pytest.raises(InvalidInput):
        replace(query, **fields)


def test_a_query_where_no_step_was_is_not_waited_for() -> None:
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    layer.forward(normal(0, 4, 3))
    assert RelationQuery not in next(layer.collaborator.backward()).types
    assert RelationQuery in next(stepped().collaborator.backward()).types


def take(rules: EncryptedRules, *messages: Any) -> None:
    for sender, kind in messages:
        rules.check(sender, kind, (5, 1, 0), ())


def test_the_order_counts_questions_replies_and_proofs() -> None:
    made, stepped_ = (H, InitialShare), (H, StepGradient)
    for tester in Sender:
        asked, replied, proved = (tester, RelationQuery), (tester.other, RelationReply), (tester, EqualityProof)
        take(EncryptedRules(), made, asked, replied, proved, stepped_, asked, replied, proved)
        wrongs = [
            [asked],
            [made, replied],
            [made, asked, proved],
            [made, asked, asked],
            [made, asked, replied, replied],
            [made, asked, replied, proved, proved],
            [made, asked, replied, (tester.other, EqualityProof)],
        ]
        for wrong in wrongs:
            with pytest.raises(MessageOutOfOrder):
                take(EncryptedRules(), *wrong)


@pytest.mark.parametrize("role", ["host", "collaborator"])
def test_the_declared_run_counts_the_tests(role: str) -> None:
    seldom, always = (
        run_distance(role, layer.spec, kept("bfv"), layer.host._share).of(1000).squares
        for layer in (Layer(4, 3, 8), Layer(4, 3, 8, parameters=ALWAYS))
    )
    assert always > 1.01 * seldom


def test_what_the_probabilities_rest_on() -> None:
    assert (rows_of_test(0), rows_of_test(1)) == (FIRST_TEST_ROWS, TEST_ROWS) == (40, 16)


def test_a_factor_of_the_first_weights_is_not_kept() -> None:
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    assert layer.host._start.take_factor() is None
    assert layer.collaborator._start.take_factor() is None
