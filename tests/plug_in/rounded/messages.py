"""Messages of scheme "rounded": features and gradients as 8-bit integers with a scale, in the clear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.ledger import BOTH, Content, Inference, KeptFromCollaborator, KeptFromHost, LedgerEntry
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes
from protocols.core.wire_format import Uint32, wire
from protocols.layer.messages import FeatureShape, evaluated_rows
from protocols.wire.sizes import number, tensor

_SCALE = 9  # a tag and a double
_BY_NAME = "Not protected but for the rounding: both parties asked for scheme rounded by name."


def _bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range | None:
    shape = task.announced(FeatureShape, Sender.COLLABORATOR)
    if shape is None:
        return None
    rows = evaluated_rows(task)
    if recorded != (rows,):
        raise InvalidInput(f"{recorded[0]} rows in a batch of {rows}")
    size = number(rows) + _SCALE + tensor((rows, shape[1]), 1)
    return size, size


@dataclass(frozen=True)
class _Rounded(Message):
    rows: Uint32
    scale: float
    values: NDArray[np.uint8]

    def __post_init__(self) -> None:
        self.require_array("values", np.uint8, 2)
        self.require(self.rows == len(self.values), "rows is not what values has")
        self.require(0 < self.scale < np.inf, "scale must be positive")

    @property
    def array(self) -> NDArray[np.float32]:
        """[rows, d], what is left of it."""
        return (self.values.view(np.int8) * self.scale).astype(np.float32)


@wire(
    1000,
    ledger=LedgerEntry(
        Content.PLAINTEXT,
        BOTH,
        host_learns="every feature of {collaborator} to 8 bits, in the clear",
        collaborator_learns="",
        argument=_BY_NAME,
        carries=frozenset({KeptFromHost.FEATURES, KeptFromHost.WEIGHTS, KeptFromCollaborator.PROJECTED_FEATURES}),
    ),
    recorded=("rows",),
    bounds=_bounds,
)
@dataclass(frozen=True)
class RoundedFeatures(_Rounded):
    """A batch of features a [rows, d].

    **Leaks** a to the host, to 8 bits.
    """


@wire(
    1001,
    ledger=LedgerEntry(
        Content.PLAINTEXT,
        BOTH,
        host_learns="",
        collaborator_learns="the gradient of its features for every batch to 8 bits, in the clear",
        argument=_BY_NAME,
        carries=frozenset({KeptFromCollaborator.GRADIENT}),
        infers=frozenset({Inference.LABELS}),
    ),
    recorded=("rows",),
    bounds=_bounds,
)
@dataclass(frozen=True)
class RoundedGradient(_Rounded):
    """The batch gradient da [rows, d].

    **Leaks** da to the collaborator, to 8 bits.
    """


def rounded(values: NDArray[np.float32]) -> tuple[int, float, NDArray[np.uint8]]:
    """Fields of a message: rows, scale and integers from -127 to 127, as the bytes that these are.

    Args:
        values: [rows, d], finite.
    """
    scale = float(np.abs(values).max(initial=0.0)) / 127 or 1.0
    return len(values), scale, np.rint(values / scale).astype(np.int8).view(np.uint8)
