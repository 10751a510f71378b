"""Scheme "plain": features and gradients in the clear. The baseline, run only when both sides ask for it by name.

    collaborator                        host
    PlainFeatures(a)     ----------->   z = a W^T, W at the host (or z = a, without a layer)
                         <-----------   PlainGradient(da = dz W)    only if the bottom model is trainable
                                        W -= lr dz^T a
    resume: nothing crosses the wire, W is as it was

**Leaks** the host sees every feature a and every gradient; the collaborator sees da. Use it to measure, or where the
parties may show each other features by contract.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.message import Array, check_array, check_finite
from protocols.core.steps import Receive, Send, Steps, received
from protocols.layer.interface import (
    HostLayer,
    LayerSpec,
    check_names,
    check_rows,
    layer_randomness,
)
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import StepSkipped
from protocols.layer.reference import ReferenceLayer, initial_factors
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient


class PlainHost(HostLayer):
    """The host's side: holds W, if there is a layer."""

    def __init__(self, spec: LayerSpec) -> None:
        self._spec = spec
        self._life = Lifecycle(spec.feature_key)
        self._layer: ReferenceLayer | None = None
        self._pending: PendingBatch[NDArray[np.float32]] = PendingBatch(spec.feature_key)

    def setup(self) -> Steps[None]:
        """Nothing crosses the wire: in the clear, one side may hold W."""
        self._life.begin_setup()
        spec = self._spec
        if spec.width_out is not None:
            randomness = (layer_randomness(spec, "host"), layer_randomness(spec, "collaborator"))
            left, right = initial_factors(*randomness, spec.width_out, spec.width_in)
            self._layer = ReferenceLayer(left @ right)
        yield from ()
        self._life.end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the interface."""
        self._life.begin_setup()
        where, spec = f"the checkpoint of {self._spec.feature_key}'s layer", self._spec
        check_names(where, state, () if spec.width_out is None else ("weight",))
        if spec.width_out is not None:
            weight = state["weight"]
            check_array(f"{where}: weight", weight, np.float64, 2, (spec.width_out, spec.width_in))
            if not np.isfinite(weight).all():
                raise InvalidInput(f"{where}: weight must be finite")
            self._layer = ReferenceLayer(weight)
        yield from ()
        self._life.end_batch()

    def state(self) -> dict[str, Array]:
        """See the interface. weight [o, d] float64, if there is a layer."""
        self._life.check_between_batches()
        return {name: weight.copy() for name, weight in self.weights().items()}

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        self._life.begin_batch()
        features = received((yield Receive(PlainFeatures)), PlainFeatures).features
        where = f"features of {self._spec.feature_key}"
        check_rows(where, features, rows, self._spec.width_in, received=True)
        check_finite(where, features, received=True)
        self._pending.drop()
        if training:
            self._pending.keep(rows, features)
        else:
            self._life.end_batch()
        return features if self._layer is None else self._layer.forward(features.astype(np.float64)).astype(np.float32)

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        features = self._pending.take()
        check_finite(f"gradient of the loss for {self._spec.feature_key}'s projection", dz)
        da = dz
        if self._layer is not None:
            gradient = dz.astype(np.float64)
            da = self._layer.backward(gradient).astype(np.float32)
            self._layer.update(gradient, features.astype(np.float64), learning_rate)
        yield Send(PlainGradient(da))
        self._life.end_batch()

    def skip(self) -> Steps[None]:
        """See the interface."""
        self._pending.drop()
        yield Send(StepSkipped())
        self._life.skip_batch()

    def weights(self) -> dict[str, Array]:
        return {} if self._layer is None else {"weight": self._layer.weights}
