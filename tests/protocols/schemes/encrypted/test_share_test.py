"""The test of the host's share: honest runs pass it, whatever the batches, and what breaks its form is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from benchmarks.harness.pump import C, H, pump
from protocols.core.errors import MessageOutOfOrder, PeerViolation
from protocols.core.randomness import OsRandomness
from protocols.layer.messages import EqualityProof
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes
from protocols.schemes.encrypted.messages import CheckReply, Projection, StepGradient
from protocols.schemes.encrypted.order import EncryptedRules
from protocols.schemes.encrypted.share_test import ShareTest
from protocols.schemes.shares.test_messages import FormQuery, ShareQuery
from tests.protocols.layer.helpers import Layer, Watched, normal, tampering

ALWAYS = LayerParameters(check_every=3, test_shares_every=1)


def queries(layer: Layer) -> int:
    return sum(isinstance(message, ShareQuery) for message in layer.view.from_collaborator)


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_honest_runs_pass(backend: str) -> None:
    """Batches of all sizes, skipped ones and tests; once after each step, in whichever batch comes next."""
    layer = Layer(5, 4, 6, backend=backend, parameters=ALWAYS)
    for number, (rows, what) in enumerate(
        [(6, "step"), (3, "skip"), (1, "step"), (6, "test"), (9, "step"), (2, "step")]
    ):
        layer.forward(normal(number, rows, 5), training=what != "test")
        if what == "skip":
            layer.skip()
        if what == "step":
            layer.backward(normal(number + 50, rows, 4, scale=0.1), 0.5)
    assert queries(layer) == 3


def test_features_as_large_and_as_alike_as_they_may_be_pass() -> None:
    """What the bounds of the test's product are tightest for."""
    layer, a = Layer(4, 2, 8, parameters=ALWAYS), np.full((8, 4), 31.9, np.float32)
    for _ in range(4):
        layer.forward(a)
        layer.backward(np.full((8, 2), 1e-3, np.float32), 0.01)
    assert queries(layer) == 3


@pytest.mark.parametrize(("every", "low", "high"), [(0, 0, 0), (1, 19, 19), (2, 1, 18)])
def test_the_coin_is_tossed_after_each_step(every: int, low: int, high: int) -> None:
    layer = Layer(2, 2, 2, parameters=LayerParameters(check_every=0, test_shares_every=every))
    for number in range(20):
        layer.forward(normal(number, 2, 2))
        layer.backward(normal(number, 2, 2, scale=1e-3), 0.1)
    assert low <= queries(layer) <= high


@pytest.mark.parametrize("every", [1, 2, 3, 16])
def test_the_coin_is_fair(every: int) -> None:
    tosses, test = 4000, ShareTest(Mock(), every, OsRandomness())
    move, tested = Mock(), 0
    for _ in range(tosses):
        test.stepped(move)
        tested += test._move is not None
    assert abs(tested - tosses / every) <= 6 * (tosses / every * (1 - 1 / every)) ** 0.5


def test_a_batch_is_computed_once_while_a_test_is_answered_and_sent_behind_all_tests() -> None:
    """The query about the form is such a product too, and comes second here."""
    layer = Layer(3, 2, 4, parameters=LayerParameters(check_every=0, test_shares_every=1))
    for _ in range(2):
        watched = Watched(layer.collaborator, "projection"), Watched(layer.host, "encrypt_step", "feature_gradient")
        layer.forward(normal(0, 4, 3))
        layer.backward(normal(1, 4, 2, scale=0.1), 0.1)
    collaborator, host = (each.done for each in watched)
    share = ["ShareQuery", "projection", "waits", "EqualityConfirmation"]
    form = ["projection", "FormQuery", "waits", "EqualityConfirmation"]
    assert collaborator[: len(share + form) + 1] == [*share, *form, "Projection"]
    relation = ["RelationQuery", "encrypt_step", "feature_gradient", "waits", "EqualityProof", "waits"]
    form = ["feature_gradient", "FormQuery", "waits", "EqualityConfirmation"]
    first = host.index("RelationQuery")
    assert host[first : first + len(relation + form) + 2] == [*relation, *form, "StepGradient", "FeatureGradient"]


CHANGES = {
    "another version": lambda m: replace(m, version=m.version + 1),
    "other rows": lambda m: replace(m, rows=m.rows + 1),
    "a part too many": lambda m: replace(m, old=(*m.old, m.old[0])),
    "nonsense": lambda m: replace(m, step=(b"\xff" * len(m.step[0]), *m.step[1:])),
    "truncated": lambda m: replace(m, new=(m.new[0][:-1], *m.new[1:])),
    "parts exchanged": lambda m: replace(m, old=m.new, new=m.step),
    "low order": lambda m: replace(m, element=bytes(32)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_malformed_queries_are_refused(how: str) -> None:
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    layer.forward(normal(0, 4, 3))
    layer.backward(normal(1, 4, 2, scale=0.1), 0.1)
    right = tampering(layer.collaborator.forward(normal(2, 4, 3), True), ShareQuery, CHANGES[how])
    with pytest.raises(PeerViolation):
        pump(layer.host.forward(4, True), right)


def test_a_query_where_no_step_was_is_not_waited_for() -> None:
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    assert next(layer.host.forward(4, True)).types == (Projection, FormQuery)
    layer = Layer(3, 2, 4, parameters=ALWAYS)
    layer.forward(normal(0, 4, 3))
    layer.backward(normal(1, 4, 2, scale=0.1), 0.1)
    assert next(layer.host.forward(4, True)).types == (Projection, FormQuery, ShareQuery)


def take(rules: EncryptedRules, *messages: Any) -> None:
    for sender, kind in messages:
        rules.check(sender, kind, (5, 1, 0), ())


def test_the_order_counts_steps_and_questions() -> None:
    asked, proved, stepped = (C, ShareQuery), (H, EqualityProof), (H, StepGradient)
    take(EncryptedRules(), stepped, asked, proved, (C, CheckReply), proved, stepped, stepped, asked, proved)
    for wrong in ([asked], [proved], [stepped, asked, proved, proved], [stepped, asked, proved, asked]):
        with pytest.raises(MessageOutOfOrder):
            take(EncryptedRules(), *wrong)


@pytest.mark.parametrize("every", [-1, 1 << 30])
def test_the_rate_is_checked(every: int) -> None:
    with pytest.raises(Exception, match="test_shares_every"):
        LayerParameters(test_shares_every=every)


def test_all_shapes_of_the_test_fit_where_those_of_a_batch_do() -> None:
    backend = Layer(2, 2, 2).host._start._backend
    for d, o, rows in ((20, 20, 128), (512, 512, 1024), (2048, 64, 2048)):
        shapes = LayerShapes(d, o, LayerParameters())
        shapes.check_budget(backend, rows)
