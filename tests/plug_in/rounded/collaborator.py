"""The collaborator's side of scheme "rounded"; the diagram is in rounded/host.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.core.message import Array, check_finite
from protocols.core.steps import Receive, Send, Steps, received
from protocols.layer.interface import CollaboratorLayer, LayerSpec, check_names, check_rows
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from rounded.messages import RoundedFeatures, RoundedGradient, rounded


class RoundedCollaborator(CollaboratorLayer):
    """Sends features, holds no weights."""

    def __init__(self, spec: LayerSpec) -> None:
        self._spec = spec
        self._life = Lifecycle(spec.feature_key)
        self._pending: PendingBatch[int] = PendingBatch(spec.feature_key)

    def setup(self) -> Steps[None]:
        self._life.begin_setup()
        yield from ()
        self._life.end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        check_names(f"the checkpoint of {self._spec.feature_key}'s layer", state, ())
        yield from self.setup()

    def state(self) -> dict[str, Array]:
        self._life.check_between_batches()
        return {}

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._life.begin_batch()
        where = f"features of {self._spec.feature_key}"
        check_rows(where, features, len(features), self._spec.width_in)
        check_finite(where, features)
        if training:
            self._pending.keep(len(features), len(features))
        yield Send(RoundedFeatures(*rounded(features)))
        if not training:
            self._life.end_batch()

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        rows = self._pending.take()
        gradient = (yield from self._receive(rows)) if self._spec.trainable else None
        self._life.end_batch()
        return gradient

    def _receive(self, rows: int) -> Steps[NDArray[np.float32] | None]:
        reply = yield Receive(RoundedGradient, StepSkipped)
        if isinstance(reply, StepSkipped):
            return None
        gradient = received(reply, RoundedGradient).array
        check_rows("the gradient the host sent", gradient, rows, self._spec.width_in, received=True)
        check_finite("the gradient the host sent", gradient, received=True)
        return gradient

    def weights(self) -> dict[str, Array]:
        return {}
