"""Messages of an encrypted layer, schemes "bfv" and "paillier", beside those of protocols/layer/messages.py and
protocols/schemes/shares/.

The diagram is in protocols/schemes/encrypted/host.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.core.ledger import COLLABORATOR_KEY, HOST_KEY, Inference, KeptFromCollaborator, ciphertext
from protocols.core.message import Message
from protocols.core.wire_format import Int32, Uint64, wire
from protocols.layer.messages import (
    COMPARED,
    ELEMENT_BYTES,
    EXPONENT,
    FLOODED,
    GRADIENT_LEARNED,
    PROJECTION_LEARNED,
    SEMANTIC,
    SMOOTHED,
    SUM_LEARNED,
    CiphertextMessage,
    of_product,
    operand_bounds,
)
from protocols.wire.sizes import data, tensor


@wire(
    61,
    ledger=ciphertext(
        HOST_KEY,
        f"{FLOODED} {SMOOTHED}",
        host=PROJECTION_LEARNED,
        infers=frozenset({Inference.FEATURES}),
        host_in_sum=SUM_LEARNED,
    ),
    recorded=("version",),
    **of_product(lambda layer: layer.shapes.forward(layer.rows), lambda layer: layer.shapes.forward(layer.first_rows)),
)
@dataclass(frozen=True)
class Projection(CiphertextMessage):
    """Message 2: [a U^T + a V^T + e]_H, re-randomised and flooded.

    **Leaks** z + e, the smoothed projection of the batch, to the host; in a sum, which adds a pad to e, nothing but the
    sum with the other collaborators'.
    """


@wire(
    62,
    ledger=ciphertext(HOST_KEY, SEMANTIC),
    recorded=("version",),
    bounds=operand_bounds(lambda layer: layer.shapes.weight_gradient(layer.rows)),
)
@dataclass(frozen=True)
class StepGradient(CiphertextMessage):
    """Part of message 3: [lr dz]_H, the host's step under its own key.

    **Leaks** nothing.
    """


@wire(
    63,
    ledger=ciphertext(
        COLLABORATOR_KEY,
        f"{FLOODED} {SMOOTHED}",
        collaborator=GRADIENT_LEARNED,
        carries=frozenset({KeptFromCollaborator.GRADIENT}),
        infers=frozenset({Inference.LABELS}),
    ),
    recorded=("version",),
    **of_product(
        lambda layer: layer.shapes.feature_gradient(layer.rows),
        lambda layer: layer.shapes.feature_gradient(layer.first_rows),
        extra=EXPONENT,
    ),
)
@dataclass(frozen=True)
class FeatureGradient(Message):
    """Part of message 3: [dz V + dz U + e']_C, re-randomised and flooded; only to a trainable bottom model.

    **Leaks** da + e' and the power of two that bounds dz, to the collaborator: what it needs to train, and something
    about the labels.
    """

    version: Uint64
    exponent: Int32
    parts: tuple[bytes, ...]

    def __post_init__(self) -> None:
        CiphertextMessage(self.version, self.parts)
        self.require_int("exponent", MIN_EXPONENT, MAX_EXPONENT)


@wire(
    64,
    ledger=ciphertext(HOST_KEY, FLOODED + " What it decrypts to is masked by a fresh uniform matrix."),
    recorded=("version",),
    **of_product(lambda layer: layer.shapes.weight_gradient(layer.rows)),
)
@dataclass(frozen=True)
class WeightGradient(CiphertextMessage):
    """Message 4: [lr dz^T a - R]_H, R uniform and fresh.

    **Leaks** nothing: the host's new share is uniform.
    """


@wire(
    65,
    ledger=ciphertext(HOST_KEY, SEMANTIC + " The combination in the clear is random."),
    recorded=("version",),
    bounds=operand_bounds(lambda layer: layer.shapes.check(layer.rows), lambda layer: tensor((layer.width_out,))),
)
@dataclass(frozen=True)
class CheckQuery(CiphertextMessage):
    """[U^T r]_H for a public random r [o]: the host asks for a random linear combination of z.

    **Leaks** nothing: r is random and the combination is under the host's key.
    """

    combination: NDArray[np.uint64]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_array("combination", np.uint64, 1)


@wire(
    66,
    ledger=ciphertext(HOST_KEY, f"{FLOODED} What it decrypts to is masked by a fresh uniform vector. {COMPARED}"),
    recorded=("version",),
    **of_product(lambda layer: layer.shapes.check(layer.rows), more=lambda layer: data(ELEMENT_BYTES)),
)
@dataclass(frozen=True)
class CheckReply(CiphertextMessage):
    """[a U^T r + s]_H, s uniform and fresh, and the collaborator's element of a comparison, for (a V^T + e) r - s.

    **Leaks** nothing: what it decrypts to is uniform, and so is the element. The host knows the compared value if z is
    a W^T + e: it is z r less what it decrypts.
    """

    element: bytes

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_bytes("element", ELEMENT_BYTES)
