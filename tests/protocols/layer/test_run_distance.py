"""The declared run: what fits starts, what does not is refused with numbers, and what was not declared is stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocols.core.distance import Distance
from protocols.core.errors import BudgetSpent, InvalidInput
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.run_distance import RESERVE, RunDistance
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.layer.helpers import Layer

TUTORIAL = LayerSpec("patient", 20, 20, 128, True, bytes(32), batches=10 * (469 + 79))
SIDES = [
    pytest.param(EncryptedHost, TRAINING, id="bfv, host"),
    pytest.param(EncryptedCollaborator, TRAINING, id="bfv, collaborator"),
    pytest.param(MaskedHost, TRIPLES, id="masked, host"),
    pytest.param(MaskedCollaborator, TRIPLES, id="masked, collaborator"),
]


@pytest.mark.parametrize(("side", "parameters"), SIDES)
def test_the_tutorial_may_be_declared_and_a_run_without_end_may_not(side: Any, parameters: Any) -> None:
    scheme = backend(parameters)
    side(TUTORIAL, scheme, LayerParameters())
    side(replace(TUTORIAL, batches=None), scheme, LayerParameters())
    with pytest.raises(
        InvalidInput, match=r"the declared run of 1,000,000,000,000 batches .* batches of this size fit"
    ):
        side(replace(TUTORIAL, batches=10**12), scheme, LayerParameters())


def test_the_number_that_is_said_to_fit_fits_and_one_more_does_not() -> None:
    run = RunDistance(Distance(2.0**-100), Distance(2.0**-95, 2.0**-70))
    most = run.most_batches
    run.check("bank", most)
    assert (run.of(most) * RESERVE).fits
    with pytest.raises(InvalidInput, match=rf"{most:,} batches"):
        run.check("bank", most + 1)
    assert RunDistance(Distance(1.0), Distance()).most_batches == 0


def test_a_run_that_nobody_declared_stops_before_the_message_that_would_be_too_much() -> None:
    layer, features = Layer(4, 3, 2), np.ones((2, 4), np.float32)
    layer.forward(features)
    layer.skip()
    sent = len(layer.view.from_collaborator)
    layer.spec.budget.spent = Distance(2.0**-80)
    with pytest.raises(BudgetSpent, match=r"the next message would bring .* 2\^-40 is the most"):
        layer.forward(features)
    assert len(layer.view.from_collaborator) == sent


def test_every_product_that_is_sent_is_counted() -> None:
    layer, features = Layer(4, 3, 2), np.ones((2, 4), np.float32)
    spent = [layer.spec.budget.spent.squares]
    layer.forward(features)
    spent.append(layer.spec.budget.spent.squares)
    layer.backward(np.ones((2, 3), np.float32), 0.1)
    spent.append(layer.spec.budget.spent.squares)
    shapes, scheme = layer.host._share.shapes, backend(TRAINING)
    one = scheme.distance(shapes.forward(2)) + scheme.distance(shapes.check(2))
    two = scheme.distance(shapes.feature_gradient(2)) + scheme.distance(shapes.weight_gradient(2))
    assert spent[1] - spent[0] in (
        pytest.approx(one.squares),
        pytest.approx(scheme.distance(shapes.forward(2)).squares),
    )
    assert spent[2] - spent[1] == pytest.approx(two.squares)
    assert spent[0] == pytest.approx(scheme.distance(shapes.initial).squares)
