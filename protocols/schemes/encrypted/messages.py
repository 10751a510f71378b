"""Messages of an encrypted layer, schemes "bfv" and "paillier"; before them come those of protocols/layer/messages.py.

The diagram is in protocols/schemes/encrypted/host.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.core.ledger import COLLABORATOR_KEY, HOST_KEY, Inference, KeptFromCollaborator, ciphertext
from protocols.core.message import Message
from protocols.core.sizes import Recorded
from protocols.core.wire_format import Int32, Uint32, Uint64, wire
from protocols.he.interface import MatrixShape
from protocols.layer.messages import (
    COMPARED,
    ELEMENT_BYTES,
    EXPONENT,
    FLOODED,
    GRADIENT_LEARNED,
    MAX_ROWS,
    PROJECTION_LEARNED,
    SEMANTIC,
    SMOOTHED,
    CiphertextMessage,
    layer_bounds,
    layer_distance,
    of_product,
    operand_bounds,
)
from protocols.layer.sizes import LaidOut
from protocols.wire.sizes import data, number, tensor


@wire(
    59,
    ledger=ciphertext(HOST_KEY, SEMANTIC),
    recorded=("version",),
    bounds=operand_bounds(lambda layer: layer.shapes.forward(layer.first_rows)),
)
@dataclass(frozen=True)
class HostShare(CiphertextMessage):
    """Message 1: [U]_H, the host's share under its own key.

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
    """Part of message 2: [V]_C, the collaborator's share under its own key; only while its bottom model is trained.

    **Leaks** nothing.
    """


@wire(
    61,
    ledger=ciphertext(
        HOST_KEY, f"{FLOODED} {SMOOTHED}", host=PROJECTION_LEARNED, infers=frozenset({Inference.FEATURES})
    ),
    recorded=("version",),
    **of_product(lambda layer: layer.shapes.forward(layer.rows), lambda layer: layer.shapes.forward(layer.first_rows)),
)
@dataclass(frozen=True)
class Projection(CiphertextMessage):
    """Message 2: [a U^T + a V^T + e]_H, re-randomised and flooded.

    **Leaks** z + e, the smoothed projection of the batch, to the host.
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


def _test_products(layer: LaidOut, rows: int) -> tuple[tuple[MatrixShape, MatrixShape], ...]:
    """The shapes of a test's products, each with what its operand was encrypted for; `rows` of the step."""
    shapes = layer.shapes
    share = shapes.share_test, shapes.forward(layer.first_rows)
    return share, (shapes.step_test(rows), shapes.weight_gradient(rows)), share


def _test_size(layer: LaidOut, recorded: Recorded) -> int:
    version, rows = recorded
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidInput(f"a step of {rows} rows")
    sizes = sum(layer.sizes.reply(*each) for each in _test_products(layer, rows))
    return number(version) + number(rows) + sizes + data(ELEMENT_BYTES)


def _test_distance(layer: LaidOut, recorded: Recorded) -> Distance:
    old, step, new = (layer.sizes.distance(*each) for each in _test_products(layer, recorded[1]))
    return old + step + new


@wire(
    69,
    ledger=ciphertext(HOST_KEY, f"{FLOODED} What it decrypts to is masked by fresh uniform matrices. {COMPARED}"),
    recorded=("version", "rows"),
    bounds=layer_bounds(_test_size),
    distance=layer_distance(_test_distance),
)
@dataclass(frozen=True)
class ShareQuery(Message):
    """The collaborator's test of a new [U] (protocols/schemes/encrypted/share_test.py).

    Secret combinations of the old [U], of the step of `rows` rows between them, and of the new [U] of this version,
    each under a fresh mask; and the element of a comparison, for the sum of the masks.

    **Leaks** nothing: what it decrypts to is uniform, and adds up to what is compared.
    """

    version: Uint64
    rows: Uint32
    old: tuple[bytes, ...]
    step: tuple[bytes, ...]
    new: tuple[bytes, ...]
    element: bytes

    def __post_init__(self) -> None:
        for parts in (self.old, self.step, self.new):
            CiphertextMessage(self.version, parts)
        self.require_int("rows", 1, MAX_ROWS)
        self.require_bytes("element", ELEMENT_BYTES)
