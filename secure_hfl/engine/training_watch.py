"""Sees what `train_a_batch` does with torch: `loss.backward()`, and reading gradients of the Host's own bottom model.

That model runs its backward pass inside `step()`, while the collaborators run theirs. Whoever looks at its gradients
before that (`clip_grad_norm_`, `GradScaler`, a log) is to see those of this batch, as in any other PyTorch program, so
the pass is run then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_GRADIENT: Any = torch.Tensor.grad
_READ_GRADIENT = _GRADIENT.__get__


def _nothing() -> None:
    """For who watches the loss only."""


class TrainingWatch(TorchFunctionMode):
    """Active in this thread and this block only.

    Args:
        parameters: of the Host's own bottom model.
        before_backward: called before every backward pass.
        before_read: called before a gradient of `parameters` is read.

    Attributes:
        losses: what went backward.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor] = (),
        before_backward: Callable[[], None] = _nothing,
        before_read: Callable[[], None] = _nothing,
    ) -> None:
        super().__init__()
        self.losses: list[torch.Tensor] = []
        self._watched = {id(parameter) for parameter in parameters}
        self._before_backward, self._before_read = before_backward, before_read

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.backward:
            self._before_backward()
            if args[0].numel() == 1:
                self.losses.append(args[0].detach())
        elif func == _READ_GRADIENT and id(args[0]) in self._watched:
            self._before_read()
        return func(*args, **(kwargs or {}))

    def value(self, returned: object) -> float:
        """The batch's loss: what `train_a_batch` returned if it is a number, else what went backward, or NaN."""
        if isinstance(returned, torch.Tensor) and returned.numel() == 1:
            return float(returned.detach())
        if isinstance(returned, (int, float)) and not isinstance(returned, bool):
            return float(returned)
        return float(torch.stack([loss.reshape(()) for loss in self.losses]).sum()) if self.losses else float("nan")
