"""Scheme "rounded": the top model works on the features themselves, rounded; no layer between.

collaborator                           host
RoundedFeatures(a)     ----------->    z = a
                       <-----------    RoundedGradient(da = dz)    only if the bottom model is trainable
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.message import Array, check_finite
from protocols.core.steps import Receive, Send, Steps, received
from protocols.layer.interface import HostLayer, LayerSpec, check_names, check_rows
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from rounded.messages import RoundedFeatures, RoundedGradient, rounded


class RoundedHost(HostLayer):
    """The host's side. Raises `InvalidInput` if the task asks for a projection layer."""

    def __init__(self, spec: LayerSpec) -> None:
        if spec.width_out is not None:
            raise InvalidInput("scheme rounded has no projection layer; run with --no-projection")
        self._spec = spec
        self._life = Lifecycle(spec.feature_key)
        self._pending: PendingBatch[None] = PendingBatch(spec.feature_key)

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

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        self._life.begin_batch()
        features = received((yield Receive(RoundedFeatures)), RoundedFeatures).array
        where = f"features of {self._spec.feature_key}"
        check_rows(where, features, rows, self._spec.width_in, received=True)
        check_finite(where, features, received=True)
        if training:
            self._pending.keep(rows, None)
        else:
            self._life.end_batch()
        return features

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        self._pending.take()
        check_finite(f"gradient of the loss for {self._spec.feature_key}", dz)
        if self._spec.trainable:
            yield Send(RoundedGradient(*rounded(dz)))
        self._life.end_batch()

    def skip(self) -> Steps[None]:
        self._pending.drop()
        if self._spec.trainable:
            yield Send(StepSkipped())
        self._life.skip_batch()

    def weights(self) -> dict[str, Array]:
        return {}
