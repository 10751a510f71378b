"""Messages of an encrypted layer, schemes "bfv" and "paillier"; before them come those of protocols/layer/messages.py.

The diagram is in protocols/schemes/encrypted/host.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.fixed_point import MAX_EXPONENT, MIN_EXPONENT
from protocols.core.message import Message
from protocols.layer.messages import CiphertextMessage


@dataclass(frozen=True)
class HostShare(CiphertextMessage):
    """Message 1: [U]_H, the host's share under its own key.

    **Leaks** nothing.
    """


@dataclass(frozen=True)
class CollaboratorShare(CiphertextMessage):
    """Part of message 2: [V]_C, the collaborator's share under its own key; only while its bottom model is trained.

    **Leaks** nothing.
    """


@dataclass(frozen=True)
class Projection(CiphertextMessage):
    """Message 2: [a U^T + a V^T + e]_H, re-randomised and flooded.

    **Leaks** z + e, the smoothed projection of the batch, to the host.
    """


@dataclass(frozen=True)
class StepGradient(CiphertextMessage):
    """Part of message 3: [lr dz]_H, the host's step under its own key.

    **Leaks** nothing.
    """


@dataclass(frozen=True)
class FeatureGradient(Message):
    """Part of message 3: [dz V + dz U + e']_C, re-randomised and flooded; only to a trainable bottom model.

    **Leaks** da + e' and the power of two that bounds dz, to the collaborator: what it needs to train, and something
    about the labels.
    """

    version: int
    exponent: int
    parts: tuple[bytes, ...]

    def __post_init__(self) -> None:
        CiphertextMessage(self.version, self.parts)
        self.require_int("exponent", MIN_EXPONENT, MAX_EXPONENT)


@dataclass(frozen=True)
class WeightGradient(CiphertextMessage):
    """Message 4: [lr dz^T a - R]_H, R uniform and fresh.

    **Leaks** nothing: the host's new share is uniform.
    """


@dataclass(frozen=True)
class CheckQuery(CiphertextMessage):
    """[U^T r]_H for a public random r [o]: the host asks for a random linear combination of z.

    **Leaks** nothing: r is random and the combination is under the host's key.
    """

    combination: NDArray[np.uint64]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_array("combination", np.uint64, 1)


@dataclass(frozen=True)
class CheckReply(CiphertextMessage):
    """[a U^T r + s]_H and (a V^T + e) r - s in the clear, s uniform and fresh.

    **Leaks** nothing: the two add up to z r, which the host knows, and each alone is uniform.
    """

    masked: NDArray[np.uint64]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_array("masked", np.uint64, 1)
