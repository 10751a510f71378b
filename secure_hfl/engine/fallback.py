"""The Host's fallback head: a small model over the Host's own features alone, for when a collaborator has left.

It is trained beside the task, on the same batches, and the task does not notice: features are detached, and what it
draws at random comes from a generator that is put back afterwards. Nothing of it crosses to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from protocols.core.wording import plural
from secure_hfl.engine.user_code import UserCode
from secure_hfl.errors import ConfigurationError, UserCodeError

EXAMPLE = """implement it in the Host's class, for example:
    def build_fallback_model(self):
        return nn.Linear(20, 10)  # from the width of the Host's own features to as many outputs as infer_model has"""

FALLBACK = "fallback_model"
"""Its name among the models of a Host, and so of its file."""


Loss = Callable[[torch.Tensor, Any], torch.Tensor]


@contextmanager
def _own_draws(number: int) -> Iterator[None]:
    """What is drawn from torch's generator in here is another stream, which begins anew with each number."""
    seed = torch.initial_seed()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed((seed + number) % (1 << 63))
        yield


def default_head(feature_model: nn.Module, infer_model: nn.Module) -> nn.Module:
    """One linear layer: from what the bottom model's last layer gives to as many outputs as the top model's last has.

    Raises:
        ConfigurationError: their layers do not say how wide they are. Says what to implement.
    """
    widths = [_last_width(model) for model in (feature_model, infer_model)]
    if None in widths:
        which = "bottom" if widths[0] is None else "top"
        raise ConfigurationError(
            f"build_fallback_model cannot be read off the {which} model, which has no linear layer; {EXAMPLE}"
        )
    return nn.Linear(*widths)  # type: ignore[arg-type]


def _last_width(model: nn.Module) -> int | None:
    widths = [each.out_features for each in model.modules() if isinstance(each, nn.Linear)]
    return widths[-1] if widths else None


class FallbackHead:
    """The model and its optimizer. On the CPU.

    Args:
        user: calls the user's methods.
        loss: the user's `fallback_loss`.

    Attributes:
        model, optimizer: as the user's methods build them.
    """

    def __init__(self, user: UserCode, loss: Loss) -> None:
        self._user, self._loss = user, loss
        with _own_draws(0):
            self.model = user.build_model("build_fallback_model")
            self.optimizer = user.build_optimizer("build_fallback_optimizer", self.model)

    def outputs(self, features: torch.Tensor) -> torch.Tensor:
        """[rows, outputs] float32 for the Host's features [rows, width], in eval mode and without gradients.

        Raises:
            UserCodeError: the model does not take them, or returns something else.
        """
        self.model.eval()
        with torch.no_grad(), _own_draws(0):
            found = self._of(features)
        return found.reshape(len(found), -1)

    def train(self, features: torch.Tensor, labels: Any, number: int) -> None:
        """One step on a batch. `number`: of this batch in the task, from 1.

        Raises:
            UserCodeError: the model or `fallback_loss` failed at it.
        """
        own_labels = labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels
        self.model.train()
        with _own_draws(number), torch.enable_grad():
            loss = self._user.call("fallback_loss", self._loss, self._of(features), own_labels)
            if self.optimizer is None:
                return
            self.optimizer.zero_grad()
            self._user.call("backward of fallback_loss", loss.backward)
            self._user.call("step of the fallback's optimizer", self.optimizer.step)

    def _of(self, features: torch.Tensor) -> torch.Tensor:
        own = features.detach().to("cpu", torch.float32)
        found: object = self._user.call("the fallback model", self.model, own)
        if not isinstance(found, torch.Tensor) or not found.ndim or len(found) != len(own):
            got = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise UserCodeError(
                f"the fallback model must return an output for each of {plural(len(own), 'row')}, not {got}"
            )
        return found.float()
