"""Messages of scheme "plain": everything in the clear. The diagram is in protocols/schemes/plain/host.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.ledger import BOTH, Content, Inference, KeptFromCollaborator, KeptFromHost, LedgerEntry
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes
from protocols.core.wire_format import wire
from protocols.layer.messages import FeatureShape, evaluated_rows
from protocols.wire.sizes import tensor

_BY_NAME = "Not protected: both parties asked for scheme plain by name."


def _batch_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range | None:
    shape = task.announced(FeatureShape, Sender.COLLABORATOR)
    if shape is None:
        return None
    size = tensor((evaluated_rows(task), shape[1]), 4)
    return size, size


@wire(
    50,
    ledger=LedgerEntry(
        Content.PLAINTEXT,
        BOTH,
        "EVERY FEATURE of {collaborator}, in the clear",
        "",
        _BY_NAME,
        carries=frozenset({KeptFromHost.FEATURES, KeptFromHost.WEIGHTS, KeptFromCollaborator.PROJECTED_FEATURES}),
    ),
    bounds=_batch_bounds,
)
@dataclass(frozen=True)
class PlainFeatures(Message):
    """A batch of features a [rows, d] in the clear.

    **Leaks** a to the host.
    """

    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.require_array("features", np.float32, 2)


@wire(
    51,
    ledger=LedgerEntry(
        Content.PLAINTEXT,
        BOTH,
        "",
        "the gradient da of its features for every batch, IN THE CLEAR, which tells about labels",
        _BY_NAME,
        carries=frozenset({KeptFromCollaborator.GRADIENT}),
        infers=frozenset({Inference.LABELS}),
    ),
    bounds=_batch_bounds,
)
@dataclass(frozen=True)
class PlainGradient(Message):
    """The batch gradient da [rows, d] in the clear.

    **Leaks** da to the collaborator, and with it something about the labels.
    """

    gradient: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.require_array("gradient", np.float32, 2)
