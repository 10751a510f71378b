"""One collaborator of a whole task in memory, and its connection with the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness.pump import C, Conversation, H, Wire
from protocols.core.envelope import Place
from protocols.core.steps import Steps
from protocols.layer.interface import LayerSpec
from protocols.layer.pads import Pads
from protocols.task.rounds import CollaboratorRounds


class Line:
    """One collaborator, and its connection with the host.

    Attributes:
        host, collaborator: the layer's ends, when it is set up.
        shown: the projections that the host got, in their order.
        pads: of this collaborator, where the host gets a sum.
        learnt: what this collaborator knows of the intersection.
    """

    def __init__(self, number: int, name: str, wire: Wire) -> None:
        self.number, self.name, self.wire = number, name, wire
        self.host: Any = None
        self.collaborator: Any = None
        self.rounds: CollaboratorRounds
        self.spec: LayerSpec
        self.shown: list[Any] = []
        self.pads: Pads | None = None
        self.learnt: frozenset[str] = frozenset()

    def at_host(self, steps: Steps[Any], place: Place | None = None) -> Conversation:
        """Begin a conversation at the host's end."""
        return Conversation(self.wire.end(H, place), steps)

    def here(self, steps: Steps[Any], place: Place | None = None) -> Conversation:
        """Begin one at the collaborator's end."""
        return Conversation(self.wire.end(C, place), steps)

    def features(self, rows: int, seed: int) -> Any:
        """This collaborator's batch."""
        values = np.random.default_rng(seed + 100 * self.number).normal(size=(rows, self.spec.width_in))
        return values.astype(np.float32)
