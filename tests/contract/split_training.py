"""A Host and a Collaborator of the tiny task in one thread: the engine's own batch, optimizer and step, and no wire."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.harness.scripts.tiny import bottom, columns, labels_of, sgd, top
from secure_hfl.engine.batch import HostBatch
from secure_hfl.engine.bottom_step import step_bottom_model
from secure_hfl.engine.training_watch import TrainingWatch
from secure_hfl.optimizer import SecureOptimizer

OWN, OTHER = "party0", "party1"
Features = dict[str, torch.Tensor]
_REST = np.empty(0, np.float32)
TrainABatch = Callable[["SplitTraining", Features, torch.Tensor], Any]


def rows(number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A batch: the Host's columns, the Collaborator's, and labels."""
    ids = list(range(32 + 8 * number, 40 + 8 * number))
    return columns(0, ids), columns(1, ids), labels_of(ids)


class Peer:
    """The Collaborator's link and layer in one: what it is sent comes out of its `sent`."""

    def __init__(self, features: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        self._features, self._optimizer = features, optimizer
        self.sent: list[NDArray[np.float32] | None] = []

    def backward(self, gradient: NDArray[np.float32], learning_rate: float) -> Any:
        """See `HostLayer`."""
        return gradient

    def skip(self) -> Any:
        """See `HostLayer`: no gradient."""
        return None

    def receive_rest(self) -> NDArray[np.float32]:
        """See `HostLayer`: nothing."""
        return _REST

    def start(self, gradient: NDArray[np.float32] | None) -> Peer:
        """See `Link`."""
        self.sent.append(gradient)
        step_bottom_model(self._features, gradient, self._optimizer)
        return self

    def run(self, steps: NDArray[np.float32] | None) -> None:
        """See `Link`."""
        if steps is not _REST:
            self.start(steps)

    def pass_tests(self) -> None:
        """See `Conversation`."""

    def finish(self) -> None:
        """See `Conversation`."""


class SplitTraining:
    """Both parties.

    Args:
        models: the Host's bottom model, the Collaborator's, the top model; default: the tiny task's.
        make: every party's optimizer, of a model.
        cast: what surrounds the bottom models' forward passes, of the party.

    Attributes:
        optimizer: the Host's `self.optimizer`.
        sent: the gradients that the Collaborator got; None for a batch that was skipped.
    """

    def __init__(
        self,
        models: tuple[nn.Module, nn.Module, nn.Module] | None = None,
        make: Callable[[nn.Module], torch.optim.Optimizer] = sgd,
        cast: Callable[[str], Any] = lambda party: nullcontext(),
    ) -> None:
        self.feature_model, self.other_model, self.infer_model = models or (bottom(0), bottom(1), top(2))
        self.other_optimizer = make(self.other_model)
        self.optimizer = SecureOptimizer(make(self.feature_model), make(self.infer_model), [OTHER], 0.01)
        self.sent: list[NDArray[np.float32] | None] = []
        self._cast = cast

    def batch(self, number: int, train_a_batch: TrainABatch) -> float:
        """Train on one batch, as the engine does it. Returns its loss."""
        x, y, labels = rows(number)
        dtype = next(self.feature_model.parameters()).dtype
        with self._cast(OWN):
            own = self.feature_model(x.to(dtype))
        with self._cast(OTHER):
            features = self.other_model(y.to(next(self.other_model.parameters()).dtype))
        peer: Any = Peer(features, self.other_optimizer)
        values = features.detach().to(torch.float32).numpy()
        batch = HostBatch(OWN, own, {OTHER: values}, {OTHER: peer}, {OTHER: peer})
        self.optimizer.open(batch)
        watch = TrainingWatch(self.feature_model.parameters(), self.optimizer.before_backward, batch.backward_own)
        with watch:
            returned = train_a_batch(self, dict(batch.leaves), labels)
        if not self.optimizer.close():
            batch.skip()
        self.sent += peer.sent
        return watch.value(returned)

    def loss(self, features: Features, labels: torch.Tensor) -> torch.Tensor:
        """As the tiny task has it."""
        return nn.functional.cross_entropy(self.infer_model(torch.cat([features[OWN], features[OTHER]], 1)), labels)

    def weights(self) -> list[torch.Tensor]:
        """Copies of all: the Host's bottom model, the Collaborator's, the top model."""
        models = self.feature_model, self.other_model, self.infer_model
        return [parameter.detach().clone() for model in models for parameter in model.parameters()]


def step(training: SplitTraining, features: Features, labels: torch.Tensor) -> None:
    """`train_a_batch` as it mostly is."""
    training.optimizer.zero_grad()
    training.loss(features, labels).backward()
    training.optimizer.step()


class OneProcess:
    """The same network in plain PyTorch, with one optimizer over all of it.

    Args:
        make: the optimizer, of all parameters.
    """

    def __init__(self, models: tuple[nn.Module, nn.Module, nn.Module] | None = None, make: Any = sgd) -> None:
        self.models = nn.ModuleList(models or (bottom(0), bottom(1), top(2)))
        self.optimizer = make(self.models)

    def loss(self, number: int) -> torch.Tensor:
        """Of a batch."""
        x, y, labels = rows(number)
        own, other, head = self.models
        return nn.functional.cross_entropy(head(torch.cat([own(x), other(y)], 1)), labels)

    def step(self, number: int) -> None:
        """One batch."""
        self.optimizer.zero_grad()
        self.loss(number).backward()
        self.optimizer.step()

    def weights(self) -> list[torch.Tensor]:
        """Copies of all."""
        return [parameter.detach().clone() for parameter in self.models.parameters()]


def close(ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float = 1e-6) -> bool:
    """Whether the weights are the same, but for rounding."""
    return all(
        torch.allclose(one.float(), other.float(), atol=tolerance) for one, other in zip(ours, theirs, strict=True)
    )
