"""Documented: a collaborator adds what it likes to z, and the check of that very batch passes.

z is a product with [U] plus a part of the collaborator's own, and it answers the check by the same part. So the check
finds errors and products with another [U], not lies, and it makes no difference that its schedule is known. To the host
such a z is that of other features (those that W takes there, for a layer no wider than they are), which nobody can tell
from false ones. What the lie cannot do is to fit another product with [U]: that is caught.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.core.errors import OutOfRange, VerificationFailed
from protocols.core.fixed_point import FEATURE_BITS, WEIGHT_BITS
from protocols.he.interface import as_ring
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add
from tests.protocols.layer.helpers import Layer, normal

D, O, ROWS = 3, 2, 5  # noqa: E741
ALWAYS = LayerParameters(check_every=1)
LIE = as_ring(np.full((ROWS, O), 1 << (FEATURE_BITS + WEIGHT_BITS)))
"""One, on the scale of z."""


def test_documented_what_is_added_to_z_passes_the_check() -> None:
    layer, a = Layer(D, O, ROWS, parameters=ALWAYS), normal(1, ROWS, D)
    share, honest = layer.collaborator._share, layer.collaborator._share.project
    share.project = lambda features: add(honest(features), LIE)  # type: ignore[method-assign]
    z = layer.forward(a)
    assert np.abs(z - (layer.reference.forward(a) + 1)).max() < 0.01
    other = a + np.linalg.lstsq(layer.weights(), np.ones((O, ROWS)), rcond=None)[0].T
    assert np.abs(z - other @ layer.weights().T).max() < 0.01


def test_a_product_by_other_features_than_the_answer_is_caught() -> None:
    layer = Layer(D, O, ROWS, parameters=ALWAYS)
    products, honest = layer.collaborator._products, layer.collaborator._products.projection

    def projection(features: Any, *others: Any) -> Any:
        return honest(features + 1, *others)

    products.projection = projection  # type: ignore[method-assign]
    with pytest.raises((VerificationFailed, OutOfRange)):  # most such products leave the range
        layer.forward(normal(1, ROWS, D))
