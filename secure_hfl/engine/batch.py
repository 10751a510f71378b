"""One training batch at the host: what `self.optimizer` steps on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.core.message import check_finite
from protocols.layer.interface import HostLayer
from protocols.task.manifest import SUM_KEY
from secure_hfl.engine.link import Link
from secure_hfl.errors import ConfigurationError
from secure_hfl.optimizer import clear_gradients, gradients_of
from secure_hfl.privacy.defence import BatchNoise
from secure_hfl.work_clock import span


class HostBatch:
    """The leaves that `train_a_batch` sees, and the backward half of the protocol.

    Args:
        own_key: the Host's feature key.
        own: the Host's features, with the graph of its bottom model behind them.
        received: the projected features of each collaborator, or their sum, [rows, o] float32.
        links: the collaborators.
        projections: their layers.
        noise: what is done to gradients before they leave; None: nothing.
        rate_limits: the highest learning rates that collaborators allow; 0: any.
        is_summed: all get the gradient of the sum, which is that of each summand.

    Attributes:
        leaves: every party's features, by key.
        own_has_run: whether the Host's own bottom model has had a backward pass.
    """

    def __init__(
        self,
        own_key: str,
        own: torch.Tensor,
        received: Mapping[str, NDArray[np.float32]],
        links: Mapping[str, Link],
        projections: Mapping[str, HostLayer],
        noise: BatchNoise | None = None,
        rate_limits: Mapping[str, float] | None = None,
        is_summed: bool = False,
    ) -> None:
        self._own_key, self._own = own_key, own
        self._links, self._projections, self._noise = links, projections, noise
        self._rate_limits, self._is_summed = rate_limits or {}, is_summed
        self.leaves: dict[str, torch.Tensor] = {own_key: own.detach().requires_grad_()}
        for key, values in received.items():
            self.leaves[key] = received_features(values, own).requires_grad_()
        self.own_has_run = False

    def zero_grad(self) -> None:
        """Forget the features' gradients."""
        clear_gradients(self.leaves.values())

    def backward_own(self, again: bool = True) -> None:
        """Run the own bottom model's backward pass for what has come to its features since the last time.

        Args:
            again: it may be run once more.
        """
        leaf = self.leaves.get(self._own_key)
        if leaf is None:  # a host without features
            return
        gradient, leaf.grad = leaf.grad, None
        if gradient is not None and self._own.requires_grad:
            self.own_has_run = True
            # Not own.backward(): that would look like the user's.
            torch.autograd.backward([self._own], [gradient], retain_graph=again)

    def step(self, learning_rates: Mapping[str, float], step_local: Callable[[], None]) -> None:
        """Check everything, then send, then run our own backward pass while the collaborators run theirs."""
        gradients = gradients_of(self.leaves, self.own_has_run)
        self._check_rates(learning_rates)
        with span("scheme, other"):
            for key, projection in self._projections.items():
                self._links[key].run(projection.receive_rest())
            outgoing = self._outgoing(gradients)
            pending = [
                self._links[key].start(self._projections[key].backward(gradient, learning_rates.get(key, 0.0)))
                for key, gradient in outgoing.items()
            ]
            for conversation in pending:  # collaborators that are tested get their gradients behind the test
                conversation.pass_tests()
        with span("backward and step"):
            self.backward_own(again=False)
            step_local()
        with span("scheme, other"):
            for conversation in pending:
                conversation.finish()

    def _check_rates(self, learning_rates: Mapping[str, float]) -> None:
        for key, rate in learning_rates.items():
            most = self._rate_limits.get(key, 0.0)
            if most and rate > most:
                raise ConfigurationError(
                    f"projection_lr: {key} allows at most {most:g}, and an LR scheduler has made it {rate:g}"
                )

    def _outgoing(self, gradients: Mapping[str, torch.Tensor]) -> Mapping[str, NDArray[np.float32]]:
        """What the collaborators get."""
        outgoing = {
            key: gradient.detach().to("cpu", torch.float32).contiguous().numpy()
            for key, gradient in gradients.items()
            if key != self._own_key
        }
        _check_finite(outgoing)
        if self._noise is not None:
            outgoing = self._noise(outgoing)
            _check_finite(outgoing)
        return dict.fromkeys(self._projections, outgoing[SUM_KEY]) if self._is_summed else outgoing

    def skip(self) -> None:
        """The user did not step: tell the collaborators to drop the batch."""
        with span("scheme, other"):
            for key, projection in self._projections.items():
                self._links[key].run(projection.skip())


def _check_finite(gradients: Mapping[str, NDArray[np.float32]]) -> None:
    for key, gradient in gradients.items():
        check_finite(f"gradient of the loss for feature_projection[{key!r}]", gradient)


def received_features(values: NDArray[np.float32], own: torch.Tensor) -> torch.Tensor:
    """A collaborator's features beside the Host's own: on their device, and in float64 if these are."""
    dtype = torch.float64 if own.dtype is torch.float64 else torch.float32
    return torch.tensor(values, device=own.device, dtype=dtype)
