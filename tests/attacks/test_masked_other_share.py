"""Documented: in scheme "masked" a host opens another matrix than its share, reads features, and nothing tells.

The host's opening of a batch, U - M, is uniform, and M is its own half of a triple: with U + D in it for a large D, the
host gets z + a D^T, of which a D^T stands above the rest. The check of z is of the same product, so it holds. No judge
knows this scheme. A run of it is for parties of which both follow the protocol; against others take bfv or paillier.

What a test would have to be: the collaborator holds [M]_H of every triple while it is made, and could keep a secret
combination c M + m of it, as share_marks.py does of a share; but U moves by a product inside of the triple, so each
step needs two more such products under the triples' keys. That is not built, and what it costs was not measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.core.fixed_point import FEATURE_BITS
from protocols.he.interface import as_signed
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add
from tests.protocols.layer.helpers import normal
from tests.protocols.schemes.masked.helpers import Layer, layer_spec

D, O, ROWS, SHIFT = 4, 3, 6, 39  # noqa: E741


def test_documented_another_share_reads_features_and_the_check_holds() -> None:
    layer, a = Layer(layer_spec(ROWS, D, O), parameters=LayerParameters(check_every=1)), normal(1, ROWS, D)
    layer.stock_up(ROWS)
    share, checked = layer.host._share, list[Any]()
    lie = np.zeros((O, D), np.uint64)
    lie[np.arange(O), np.arange(O)] = 1 << SHIFT
    share.values = add(share.values, lie)
    check = layer.host._check

    def watched(projection: Any, *others: Any) -> Any:
        checked.append(projection)
        return check(projection, *others)

    layer.host._check = watched  # type: ignore[method-assign]
    layer.forward(a)
    assert checked, "there was no check"
    read = as_signed(checked[0]).astype(float) * 2.0 ** -(SHIFT + FEATURE_BITS)
    assert np.abs(read - a[:, :O]).max() < 0.05
