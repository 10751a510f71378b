"""Messages of scheme "plain": everything in the clear. The diagram is in protocols/schemes/plain/host.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.message import Message


@dataclass(frozen=True)
class PlainFeatures(Message):
    """A batch of features a [rows, d] in the clear.

    **Leaks** a to the host.
    """

    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.require_array("features", np.float32, 2)


@dataclass(frozen=True)
class PlainGradient(Message):
    """The batch gradient da [rows, d] in the clear.

    **Leaks** da to the collaborator, and with it something about the labels.
    """

    gradient: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.require_array("gradient", np.float32, 2)
