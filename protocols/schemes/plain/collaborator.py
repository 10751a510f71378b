"""The collaborator's side of scheme "plain"; the diagram is in protocols/schemes/plain/host.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.core.message import Array, check_finite
from protocols.core.steps import Receive, Send, Steps, received
from protocols.layer.interface import (
    CollaboratorLayer,
    LayerSpec,
    check_names,
    check_rows,
)
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient


class PlainCollaborator(CollaboratorLayer):
    """The collaborator's side: sends features, holds no weights."""

    def __init__(self, spec: LayerSpec) -> None:
        self._spec = spec
        self._life = Lifecycle(spec.feature_key)
        self._pending: PendingBatch[tuple[int, int]] = PendingBatch(spec.feature_key)

    def setup(self) -> Steps[None]:
        """Nothing to do: see the host's side."""
        self._life.begin_setup()
        yield from ()
        self._life.end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the interface."""
        self._life.begin_setup()
        check_names(f"the checkpoint of {self._spec.feature_key}'s layer", state, ())
        yield from ()
        self._life.end_batch()

    def state(self) -> dict[str, Array]:
        """See the interface. There is nothing to keep."""
        self._life.check_between_batches()
        return {}

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        self._life.begin_batch()
        check_rows(f"features of {self._spec.feature_key}", features, len(features), self._spec.width_in)
        check_finite(f"features of {self._spec.feature_key}", features)
        self._pending.drop()
        if training:
            self._pending.keep(len(features), (features.shape[0], features.shape[1]))
        yield Send(PlainFeatures(features))
        if not training:
            self._life.end_batch()

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        shape = self._pending.take()
        gradient = yield from self._receive_gradient(*shape)
        self._life.end_batch()
        return gradient

    def _receive_gradient(self, rows: int, width: int) -> Steps[NDArray[np.float32] | None]:
        reply = yield Receive(PlainGradient, StepSkipped)
        if isinstance(reply, StepSkipped):
            return None
        gradient = received(reply, PlainGradient).gradient
        check_rows("the gradient the host sent", gradient, rows, width, received=True)
        check_finite("the gradient the host sent", gradient, received=True)
        return gradient

    def weights(self) -> dict[str, Array]:
        return {}
