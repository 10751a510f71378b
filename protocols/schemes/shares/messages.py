"""Encrypted shares of the weights: what the tests of shares begin with, in every scheme of secret-shared weights.

The messages of the tests themselves: protocols/schemes/shares/test_messages.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.ledger import COLLABORATOR_KEY, HOST_KEY, ciphertext
from protocols.core.wire_format import wire
from protocols.layer.messages import SEMANTIC, CiphertextMessage, operand_bounds


@wire(
    59,
    ledger=ciphertext(HOST_KEY, SEMANTIC),
    recorded=("version",),
    bounds=operand_bounds(lambda layer: layer.shapes.forward(layer.first_rows)),
)
@dataclass(frozen=True)
class HostShare(CiphertextMessage):
    """[U^T]_H, the host's share under its own key: in scheme "masked" to be tested, in the others also to project by.

    **Leaks** nothing.
    """


@wire(
    60,
    ledger=ciphertext(COLLABORATOR_KEY, SEMANTIC),
    recorded=("version",),
    bounds=operand_bounds(lambda layer: layer.shapes.feature_gradient(layer.first_rows)),
)
@dataclass(frozen=True)
class CollaboratorShare(CiphertextMessage):
    """[V]_C, the collaborator's share under its own key; only while its bottom model is trained.

    **Leaks** nothing.
    """
