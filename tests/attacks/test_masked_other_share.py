"""Documented: in scheme "masked" a host opens another matrix than its share, reads features, and nothing tells.

The host's opening of a batch, U - M, is uniform, and M is its own half of a triple: with U + D in it for a large D, the
host gets z + a D^T, of which a D^T stands above the rest. The check of z is of the same product, so it holds. No judge
knows this scheme. A run of it is for parties of which both follow the protocol; against others take bfv or paillier.

What a test would have to be. To the collaborator U is M + mu, and it has [M^T]_H from the making of the triple. A step
makes of it M' + mu' with (M' + mu')^T = (M + mu)^T - a'^T G + T_C^T, where a' and T_C are the collaborator's and G is
the host's. That is the relation of protocols/schemes/encrypted/relation_test.py with P = U'^T - U^T, -a'^T in place of
its G, the host's G in place of its F, and T_C^T in place of its K: the same test, before the opening is used, one in
`test_shares_every`, finds a U' that is not U moved by some G* (what G is, is the host's own choice anyway) but for
2^-16. For two openings of one version, as in tests, it is without the product. For V the host has [N]_C, and K is what
it took from U. The rest is as under encryption: shares encrypted once at the set-up, behind a resumption and before a
checkpoint, for the first test and the marks; and form_test.py of each opening that is tested, by factors that fill the
ring, as A does: a fraction of an entry in [M]_H shows features too. In a sketch with keys of the parameter set
TRIPLES, at 128 x 20 x 20, honest openings passed and those that were off by 1 or by 2^58 did not; a test of U takes 6
ms of both parties' processors, and that of its form 4, where a triple takes 13. So for both shares, one in 16, about
1.3 ms a batch, 2 to 3 % of the 57 that a batch takes, and 0.2 MB of memory more for each mask [M] or [N] in stock.
That is not built.
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
