"""A collaborator's step: the gradient of its features goes through its bottom model.

Gradients that the user's iterator has made before it yields, of a penalty on the weights for example, count with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

_HALF_LARGEST = 2.0**10
"""What the largest gradient of float16 features becomes: far from both ends of float16, 6e-8 and 65,504."""


def step_bottom_model(
    features: torch.Tensor, gradient: NDArray[np.float32] | None, optimizer: torch.optim.Optimizer
) -> None:
    """Backward and step; then gradients are clear for what the next batch makes.

    Args:
        features: the batch's, [rows, width], on any device and of any floating point type.
        gradient: of the loss for them, [rows, width]; None: the host has not stepped on this batch.
        optimizer: of the bottom model.
    """
    if gradient is not None:
        if features.requires_grad:
            # A received array is read-only, and torch wants to own what it may write.
            received = torch.from_numpy(gradient.copy()).to(features.device)
            with _scaled(features.dtype, received, optimizer):
                features.backward(received.to(features.dtype))
        optimizer.step()
    optimizer.zero_grad()


@contextmanager
def _scaled(dtype: torch.dtype, gradient: torch.Tensor, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Scale a gradient up on its way through float16, where most would become 0, and its parameters' back down."""
    largest = float(gradient.abs().max()) if dtype is torch.float16 else 0.0
    if not largest:
        yield
        return
    scale = 2.0 ** round(math.log2(_HALF_LARGEST / largest))
    gradient.mul_(scale)
    parameters = [each for group in optimizer.param_groups for each in group["params"] if each.requires_grad]
    hooks = [parameter.register_hook(lambda each: each / scale) for parameter in parameters]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
