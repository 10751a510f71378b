"""Documented leakage to a malicious collaborator: it says that its share of W is another, and reads dz instead of da.

It knows its own V. With [V + D] for large D the host answers dz (W + D) + e', of which dz D stands above the rest. What
the host shows is dz as `gradient_noise` and `label_privacy` have left it, so what they promise still holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.core.errors import OutOfRange
from protocols.core.steps import Steps
from protocols.he.interface import as_signed
from protocols.layer.shapes import add
from tests.protocols.layer.helpers import Layer, normal

D, O, ROWS, SHIFT = 3, 2, 5, 41  # noqa: E741


def test_documented_leakage_a_false_share_reads_the_gradient() -> None:
    layer = Layer(D, O, ROWS, trainable=True)
    collaborator, seen = layer.collaborator, list[Any]()
    share, honest_send, decrypt = collaborator._share, collaborator._send_share, collaborator._products.decrypt_gradient
    added = np.zeros((O, D), np.uint64)
    added[range(O), range(O)] = 1 << SHIFT

    def send_another() -> Steps[None]:
        honest, share.values = share.values, add(share.values, added)
        steps = honest_send()
        message = next(steps)
        share.values = honest
        yield message

    def watched(*arguments: Any) -> Any:
        seen.append(decrypt(*arguments))
        return seen[-1]

    collaborator._send_share = send_another  # type: ignore[method-assign]
    layer.forward(normal(1, ROWS, D))
    layer.backward(normal(2, ROWS, O, scale=0.1), 0.01)
    collaborator._products.decrypt_gradient = watched  # type: ignore[method-assign]
    layer.forward(normal(3, ROWS, D))
    dz = normal(4, ROWS, O, scale=0.1)
    with pytest.raises(OutOfRange):  # what an honest collaborator would say of such a da
        layer.backward(dz, 0.01)
    read = as_signed(seen[0])[:, :O].astype(float)
    unit = float((read * dz).sum() / (read * read).sum())
    assert np.abs(unit * read - dz).max() < 0.002 * np.abs(dz).max()
