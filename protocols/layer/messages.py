"""Messages that layers of more than one scheme send.

    every scheme                                                    FeatureShape, StepSkipped
    every scheme, frozen bottom model (protocols/layer/frozen.py)   FrozenRows, BatchClosed
    secret-shared weights (protocols/layer/initial.py)              ProjectionKey, InitialFactor, InitialShare
    checks of secret-shared weights (protocols/layer/equality.py)   EqualityProof, EqualityConfirmation
    a round that can be judged (protocols/layer/secrets.py)         SecretsCommitment

`parts` are ciphertexts in the scheme's own checked format; `version` counts the updates of W, so that a ciphertext of
old weights cannot be taken for one of the new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.core.ledger import COLLABORATOR_KEY, ciphertext, masked, public
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Bounds, Measure, Range, Recorded, TaskSizes, between
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.he.interface import MatrixShape
from protocols.layer.sizes import LaidOut, LayerSizes
from protocols.task.alignment import BatchOpen
from protocols.wire.sizes import data, number, tensor

MAX_WIDTH = 1 << 16
MAX_ROWS = 1 << 20
MAX_PARTS = 1 << 16
MAX_KEY_BYTES = 1 << 24
MAX_VERSION = (1 << 63) - 1
MAX_FROZEN_ROWS = (1 << 31) - 1
"""Rows of a frozen bottom model that can be numbered in one task."""
ELEMENT_BYTES = TAG_BYTES = 32
"""Of a comparison: an element of the group, and a digest."""

SEMANTIC = "Semantic security: BFV parameters by the Homomorphic Encryption Standard (2018); Paillier (EUROCRYPT '99)."
FLOODED = "Re-randomised and flooded: over a whole run within 2^-40 of what says nothing of the sender (protocols/he/)."
SMOOTHED = "Gaussian noise above the smoothing parameter of the weights' lattice (Micciancio, Regev 2007)."
PROJECTION_LEARNED = (
    "the smoothed projection z + e of each batch of {collaborator}'s features, by weights that nobody knows"
)
SUM_LEARNED = (
    "of each batch, {collaborator}'s summand in a sum of smoothed projections z + e: uniform by itself, under a pad "
    "that the other collaborators' pads cancel"
)
GRADIENT_LEARNED = (
    "the smoothed gradient da + e' of its own features and the power of two that bounds dz: something about labels"
)


EXPONENT = (0, 11)
"""Bytes of an int32: a negative number takes ten and its tag, zero none."""


def evaluated_rows(task: TaskSizes) -> int:
    """Rows that a scheme's messages about this batch have: the batch's, or of a frozen bottom model the new ones."""
    new = None if task.agreed.is_trainable else task.announced(FrozenRows, Sender.COLLABORATOR)
    (rows,) = new or task.announced(BatchOpen, Sender.COLLABORATOR) or (0,)
    return rows


def _width_out(task: TaskSizes, width: int) -> int:
    """o, columns of z."""
    return (task.agreed.projection_width if task.agreed.has_projection else 0) or width


def laid_out(task: TaskSizes) -> LaidOut | None:
    """None if the task's scheme has no ciphertexts, or before the features' shape was announced."""
    known: LaidOut | None = task.worked_out.get(laid_out)
    if known is not None:
        return known
    shape = task.announced(FeatureShape, Sender.COLLABORATOR)
    if shape is None or not isinstance(task.scheme, LayerSizes):
        return None
    first_rows, width = shape
    layer = task.scheme.laid_out(width, _width_out(task, width), first_rows, evaluated_rows(task))
    task.worked_out[laid_out] = layer
    return layer


def layer_bounds(size: Callable[[LaidOut, Recorded], int], extra: Range = (0, 0)) -> Bounds:
    """Bounds from the layer's sizes and the recorded fields; `extra`: what a field that is not recorded can take."""

    def bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range | None:
        layer = laid_out(task)
        if layer is None:
            return None
        length = size(layer, recorded)
        return length + extra[0], length + extra[1]

    return bounds


def _versioned_bounds(size: Callable[[LaidOut], int], extra: Range = (0, 0)) -> Bounds:
    """Of a version of the weights, and of what only the layer decides: worked out once, not for every message."""

    def bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range | None:
        length = task.worked_out.get(size)
        if length is None:
            layer = laid_out(task)
            if layer is None:
                return None
            length = task.worked_out[size] = layer.once(size, lambda: size(layer))
        length += number(recorded[0])
        return length + extra[0], length + extra[1]

    return bounds


def operand_bounds(shape: Callable[[LaidOut], MatrixShape], more: Callable[[LaidOut], int] = lambda layer: 0) -> Bounds:
    """Of a version of the weights, an encrypted operand, and `more`."""
    return _versioned_bounds(lambda layer: layer.sizes.operand(shape(layer)) + more(layer))


class ProductTerms(TypedDict):
    """What `@wire` is told of a message that carries a product."""

    bounds: Bounds
    distance: Measure


def of_product(
    shape: Callable[[LaidOut], MatrixShape],
    loaded: Callable[[LaidOut], MatrixShape] | None = None,
    more: Callable[[LaidOut], int] = lambda layer: 0,
    extra: Range = (0, 0),
) -> ProductTerms:
    """Of a version, a product by an operand of that shape or of another one that was `loaded`, and `more`."""

    def shapes(layer: LaidOut) -> tuple[MatrixShape, MatrixShape | None]:
        return shape(layer), None if loaded is None else loaded(layer)

    def size(layer: LaidOut) -> int:
        return layer.sizes.reply(*shapes(layer)) + more(layer)

    def distance(layer: LaidOut, recorded: Recorded) -> Distance:
        return layer.once(distance, lambda: layer.sizes.distance(*shapes(layer)))

    return ProductTerms(bounds=_versioned_bounds(size, extra), distance=layer_distance(distance))


def layer_distance(distance: Callable[[LaidOut, Recorded], Distance]) -> Measure:
    """What the layer's sizes and the recorded fields say."""

    def measure(task: TaskSizes, sender: Sender, recorded: Recorded) -> Distance | None:
        layer = laid_out(task)
        return None if layer is None else distance(layer, recorded)

    return measure


def _shape_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    rows, width = recorded
    if not (1 <= rows <= MAX_ROWS and 1 <= width <= MAX_WIDTH):
        raise InvalidInput(f"a first batch of [{rows}, {width}]")
    if isinstance(task.scheme, LayerSizes):
        task.scheme.shapes(width, _width_out(task, width))
    size = number(rows) + number(width)
    return size, size


@wire(
    48,
    ledger=public("how many features {collaborator}'s model gives"),
    recorded=("rows", "width"),
    bounds=_shape_bounds,
)
@dataclass(frozen=True)
class FeatureShape(Message):
    """A collaborator's first training batch is [rows, width]; sent once, before that batch."""

    rows: Uint32
    width: Uint32

    def __post_init__(self) -> None:
        self.require_int("rows", 1, MAX_ROWS)
        self.require_int("width", 1, MAX_WIDTH)


DIGEST_BYTES = 32


@wire(
    28,
    ledger=public("", "Two hashes of 256 random bits, which are fresh for every round.", is_fresh=True),
    bounds=between(2 * data(DIGEST_BYTES), 2 * data(DIGEST_BYTES)),
)
@dataclass(frozen=True)
class SecretsCommitment(Message):
    """What the sender's secrets of a round come from, and the share that it begins with, as hashes.

    Attributes:
        secrets: of the seed.
        state: of the share and of the key of the smoothing noise, with a salt.

    **Leaks** nothing.
    """

    secrets: bytes
    state: bytes

    def __post_init__(self) -> None:
        self.require_bytes("secrets", DIGEST_BYTES)
        self.require_bytes("state", DIGEST_BYTES)


@wire(49, ledger=public("that {host} trained nothing on a batch"), bounds=between(0, 0))
@dataclass(frozen=True)
class StepSkipped(Message):
    """The host trained nothing on this batch: drop its features, change no weights."""


def _frozen_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    (rows,) = task.announced(BatchOpen, Sender.COLLABORATOR) or (0,)
    if recorded[0] > rows:
        raise InvalidInput(f"{recorded[0]} new rows in a batch of {rows}")
    size = number(recorded[0]) + tensor((rows,), 4)
    return size, size


@wire(
    43,
    ledger=public(
        "which rows of {collaborator}'s batches are equal, and which {host} was shown before",
        "The results for equal rows are equal: {collaborator}'s bottom model and the weights stay as they are.",
    ),
    recorded=("new",),
    bounds=_frozen_bounds,
)
@dataclass(frozen=True)
class FrozenRows(Message):
    """Which rows a batch of a frozen bottom model has; the host is about to be shown those that are new.

    **Leaks** which rows are the same, to the host.

    Attributes:
        new: rows that have not been sent before, or are forgotten.
        references: [B] int32, the number of each row: rows are numbered from 0 as they are first sent, and the new ones
            of a batch go on where the last ones ended, in their order.
    """

    new: Uint32
    references: NDArray[np.int32]

    def __post_init__(self) -> None:
        self.require_array("references", np.int32, 1)
        self.require(len(self.references) <= MAX_ROWS, f"a batch has at most {MAX_ROWS} rows")
        self.require_int("new", 0, len(self.references))
        self.require(int(self.references.min()) >= 0, "rows are numbered from 0")


@wire(44, ledger=public("that {host} is done with a batch"), bounds=between(0, 0))
@dataclass(frozen=True)
class BatchClosed(Message):
    """The host is done with a training batch of a frozen bottom model, whether it has trained on it or not."""


@dataclass(frozen=True)
class CiphertextMessage(Message):
    """Ciphertexts about one version of the weights."""

    version: Uint64
    parts: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_int("version", 0, MAX_VERSION)
        self.require(isinstance(self.parts, tuple), "parts must be a tuple")
        self.require(1 <= len(self.parts) <= MAX_PARTS, f"1 to {MAX_PARTS} ciphertexts, not {len(self.parts)}")
        self.require(all(isinstance(part, bytes) and part for part in self.parts), "ciphertexts are not empty")


@wire(
    56,
    ledger=public("the peer's public key", "A public key, fresh for every session.", is_fresh=True),
    bounds=layer_bounds(lambda layer, recorded: data(layer.sizes.key)),
)
@dataclass(frozen=True)
class ProjectionKey(Message):
    """A party's public key, once per session.

    **Leaks** nothing.
    """

    public_key: bytes

    def __post_init__(self) -> None:
        size = len(self.public_key) if isinstance(self.public_key, bytes) else 0
        self.require(0 < size <= MAX_KEY_BYTES, f"a public key has 1 to {MAX_KEY_BYTES} bytes")


@wire(
    57,
    ledger=ciphertext(COLLABORATOR_KEY, SEMANTIC),
    recorded=("version",),
    bounds=operand_bounds(lambda layer: layer.shapes.initial),
)
@dataclass(frozen=True)
class InitialFactor(CiphertextMessage):
    """[B]_C, the collaborator's orthogonal factor of the initial W = A B, under its own key.

    **Leaks** nothing.
    """


@wire(
    58,
    ledger=ciphertext(COLLABORATOR_KEY, FLOODED + " What it decrypts to is a uniform share."),
    recorded=("version",),
    **of_product(lambda layer: layer.shapes.initial),
)
@dataclass(frozen=True)
class InitialShare(CiphertextMessage):
    """[A B - U]_C: the collaborator's share V of the initial weights.

    **Leaks** nothing: U is uniform, so V is.
    """


_ELEMENT, _TAG = data(ELEMENT_BYTES), data(TAG_BYTES)
COMPARED = "A comparison: elements of Curve25519 under fresh scalars say nothing of the values (CPace, ASIACRYPT 2021)."


@wire(67, ledger=masked(COMPARED), bounds=between(_ELEMENT + _TAG, _ELEMENT + _TAG))
@dataclass(frozen=True)
class EqualityProof(Message):
    """A party's element of a comparison, and its proof that it holds the value that the other's element stands for.

    **Leaks** that the two values are equal; nothing of a value that is not.
    """

    element: bytes
    tag: bytes

    def __post_init__(self) -> None:
        self.require_bytes("element", ELEMENT_BYTES)
        self.require_bytes("tag", TAG_BYTES)


@wire(68, ledger=masked(COMPARED), bounds=between(_TAG, _TAG))
@dataclass(frozen=True)
class EqualityConfirmation(Message):
    """The other party's proof of the same, once it has checked this one.

    **Leaks** that the two values are equal.
    """

    tag: bytes

    def __post_init__(self) -> None:
        self.require_bytes("tag", TAG_BYTES)
