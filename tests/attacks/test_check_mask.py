"""What the check of a batch would give away without its mask s.

The host decrypts a (U^T r) + s for each sample and knows U and r. Without s that is a knapsack modulo 2^59: while the
features of a sample have fewer bits than the ring together, they are the one small solution, and LLL finds it. More
features need a few checks of the same sample. The weak design is our protocol with s = 0.
"""

from __future__ import annotations

import numpy as np
from flint import fmpz_mat

from protocols.core.fixed_point import FEATURE_BITS
from protocols.he.interface import RING_BITS, CiphertextBundle
from protocols.layer.parameters import LayerParameters
from protocols.layer.ring_product import matmul
from protocols.schemes.encrypted.messages import CheckQuery, CheckReply
from tests.attacks.split_training import WeakMasks, collaborator_masks
from tests.protocols.layer.helpers import Layer, normal

D, O, ROWS = 3, 2, 5  # noqa: E741


def solve(coefficients: list[int], value: int) -> list[int] | None:
    """The short x with x . coefficients = value mod 2^59, up to its sign; None if LLL finds none."""
    heavy, mark = 1 << 40, 1 << FEATURE_BITS
    rows = [[int(i == j) for j in range(D)] + [0, c * heavy] for i, c in enumerate(coefficients)]
    rows += [[0] * D + [0, heavy << RING_BITS], [0] * D + [mark, -value * heavy]]
    for row in fmpz_mat(rows).lll().tolist():
        if abs(row[D]) == mark and row[D + 1] == 0:
            return [int(x * row[D]) // mark for x in row[:D]]
    return None


def samples_recovered(layer: Layer) -> int:
    """How many samples of a checked batch the host solves for exactly."""
    a = normal(1, ROWS, D, scale=0.1)  # three features of some 15 bits: the short solution is the only one
    layer.forward(a)
    query = next(message for message in layer.view.from_host if isinstance(message, CheckQuery))
    reply = next(message for message in layer.view.from_collaborator if isinstance(message, CheckReply))
    share = np.ascontiguousarray(layer.host._share.values.T)
    coefficients = matmul(share, query.combination[:, None])[:, 0].tolist()
    shape = layer.host._share.shapes.check(ROWS)
    opened = layer.host._products._secret.decrypt(CiphertextBundle(reply.parts), shape)[:, 0].tolist()
    truth = np.rint(a.astype(float) * 2.0**FEATURE_BITS).astype(int).tolist()
    return sum(solve(coefficients, value) == row for value, row in zip(opened, truth, strict=True))


def test_an_unmasked_check_gives_the_features_away() -> None:
    parameters = LayerParameters(check_every=1)
    layer = Layer(D, O, ROWS, parameters=parameters, prepare=collaborator_masks(WeakMasks))
    assert samples_recovered(layer) == ROWS


def test_a_masked_one_does_not() -> None:
    layer = Layer(D, O, ROWS, parameters=LayerParameters(check_every=1))
    assert samples_recovered(layer) == 0
