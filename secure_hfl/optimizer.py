"""`self.optimizer`: one torch optimizer over everything that a batch trains.

What it wraps, in the order of its `param_groups`:

1. the Host's feature optimizer (absent when the Host's bottom model is frozen or has no parameters),
2. the Host's infer optimizer,
3. one group per collaborator. Nobody holds the weights of a projection layer, so it has a learning rate and no weights
   (no rate, for one without a layer). In an open batch its one parameter is `feature_projection[key]`, whose gradient
   is what the collaborator gets: what goes over all gradients before `step()`, such as `GradScaler`, goes over it too.

How it behaves:

1. `zero_grad()` clears the gradients of both wrapped optimizers and of the features of the open batch.
2. `loss.backward()` stops at the features: they are leaves, the Host's own included.
3. `step()` checks every gradient, sends the collaborators what the scheme lets them know, runs the backward pass of the
   Host's own bottom model while they run theirs, steps both wrapped optimizers, then moves the projection layers. That
   backward pass runs earlier if somebody reads the gradients that it makes (`secure_hfl/engine/training_watch.py`).
4. A batch has one step. A second `step()`, or one without `backward()`, is a `StepError`. A feature that the loss did
   not use gets a gradient of zeros. A batch without `step()` trains nothing anywhere.
5. Gradients are of one batch: a `backward()` onto those of an earlier one is a `StepError`, because collaborators have
   dropped theirs. Several in one batch add up.
6. `param_groups` are the wrapped optimizers' own dicts, so an LR scheduler on this optimizer drives all of them,
   `projection_lr` included. `state_dict()` has torch's format; `load_state_dict()` gives each part back to its owner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

from secure_hfl.errors import StepError

PROJECTION = "projection"
FEATURES = "features"

COMPUTED = "change the entries of the groups in param_groups, or load_state_dict(); the list itself is computed"
ACCUMULATED = (
    "backward() in a batch that began with the gradients of an earlier one: call self.optimizer.zero_grad() first. "
    "Gradients cannot be added up over batches, because collaborators drop those of a batch without step(). For the "
    "effect of a larger batch yield larger ones; train_a_batch may call backward() for parts of one, then step() once"
)


class _Groups(list[dict[str, Any]]):
    """Computed anew each time, so that a change of the list itself would be lost."""

    def __reduce__(self) -> tuple[type, tuple[list[dict[str, Any]]]]:
        return list, (list(self),)  # a copy is nobody's, and may be changed

    def _refuse(self, *_: object) -> Any:
        raise StepError(COMPUTED)

    __setitem__ = __delitem__ = __iadd__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse  # type: ignore[assignment]


class OpenBatch(Protocol):
    """What the engine lends the optimizer for one batch."""

    @property
    def leaves(self) -> Mapping[str, torch.Tensor]:
        """The features of every party, by key."""

    def zero_grad(self) -> None:
        """Forget the gradients of the batch's features."""

    def step(self, learning_rates: Mapping[str, float], step_local: Callable[[], None]) -> None:
        """Run the backward half of the protocol; call `step_local` once the own bottom model has its gradients."""


class SecureOptimizer(Optimizer):
    """Wraps the Host's optimizers and the projection layers of its collaborators.

    Args:
        feature_optimizer: of the Host's own bottom model, or None.
        infer_optimizer: of the Host's top model, or None.
        projections: feature keys of collaborators that have a projection layer.
        projection_lr: initial learning rate of those layers.
        others: feature keys of collaborators that have none.
    """

    def __init__(
        self,
        feature_optimizer: Optimizer | None,
        infer_optimizer: Optimizer | None,
        projections: Sequence[str] = (),
        projection_lr: float = 0.01,
        others: Sequence[str] = (),
    ) -> None:
        # Optimizer.__init__ would make groups and state of its own (compare opacus.DPOptimizer); __setstate__ makes
        # what else torch expects: hooks, and a step() that it can profile and LR schedulers can count.
        self.feature_optimizer = feature_optimizer
        self.infer_optimizer = infer_optimizer
        self.defaults: dict[str, Any] = {"lr": projection_lr}
        if all("momentum" in part.defaults for part in self._wrapped()):
            self.defaults["momentum"] = 0.0  # so that schedulers that cycle it may; the projections are plain SGD
        self._peers: dict[str, dict[str, Any]] = {
            **{key: {"params": [], "lr": projection_lr, "name": f"{PROJECTION}:{key}"} for key in projections},
            **{key: {"params": [], "lr": 0.0, "name": f"{FEATURES}:{key}"} for key in others},
        }
        self._projections = list(projections)
        self._open_batch: OpenBatch | None = None
        self._stepped = self._has_gradients = False
        self._is_clear = False
        """Whether gradients were cleared since a batch has left some; false also where nobody knows."""
        super().__setstate__({})

    def __repr__(self) -> str:
        parts = [type(part).__name__ for part in self._wrapped()]
        return f"{type(self).__name__}({', '.join([*parts, f'{len(self._projections)} projections'])})"

    def __getstate__(self) -> dict[str, Any]:
        raise StepError("a SecureOptimizer is tied to a running task; save state_dict() instead")

    def _wrapped(self) -> list[Optimizer]:
        return [part for part in (self.feature_optimizer, self.infer_optimizer) if part is not None]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """All groups: the wrapped optimizers' own dicts, then one for each collaborator."""
        return _Groups([group for part in self._wrapped() for group in part.param_groups] + list(self._peers.values()))

    @param_groups.setter
    def param_groups(self, value: object) -> None:
        raise StepError(COMPUTED)

    @property
    def state(self) -> defaultdict[torch.Tensor, Any]:
        """Per-parameter state of all wrapped optimizers, merged (read only)."""
        merged: defaultdict[torch.Tensor, Any] = defaultdict(dict)
        for part in self._wrapped():
            merged.update(part.state)
        return merged

    @state.setter
    def state(self, value: object) -> None:
        raise StepError("optimizer state belongs to the wrapped optimizers; use load_state_dict()")

    @property
    def projection_lr(self) -> dict[str, float]:
        """The projections' current learning rates by feature key."""
        return {key: float(self._peers[key]["lr"]) for key in self._projections}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: add it to the optimizer that `build_infer_optimizer` or `build_feature_optimizer` returns."""
        raise StepError("add parameter groups in build_infer_optimizer or build_feature_optimizer")

    def open(self, batch: OpenBatch) -> None:
        """The engine's: the next `step()` belongs to this batch."""
        self._open_batch, self._stepped, self._has_gradients = batch, False, False
        for key, group in self._peers.items():
            group["params"] = [batch.leaves[key]] if key in batch.leaves else []

    def before_backward(self) -> None:
        """The engine's: a backward pass of the open batch begins. Raises `StepError` on gradients of an earlier one."""
        if not (self._has_gradients or self._is_clear) and any(
            parameter.grad is not None and bool(parameter.grad.any())
            for part in self._wrapped()
            for group in part.param_groups
            for parameter in group["params"]
        ):
            raise StepError(ACCUMULATED)
        self._has_gradients, self._is_clear = True, False

    def close(self) -> bool:
        """The engine's: the batch is over. Returns whether it was stepped."""
        self._open_batch = None
        for group in self._peers.values():
            group["params"] = []
        return self._stepped

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear all gradients of this batch."""
        if self._open_batch is not None and not self._stepped:
            self._open_batch.zero_grad()
        for part in self._wrapped():
            part.zero_grad(set_to_none)
        self._is_clear, self._has_gradients = True, False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Train on the open batch. Returns the closure's loss, if a closure is given.

        Raises:
            StepError: outside `train_a_batch`, a second time in one batch, or without `backward()`.
            OutOfRange: a gradient is NaN, infinite or beyond the scheme's limit. Nothing was sent.
        """
        batch = self._open_batch
        if batch is None:
            raise StepError("step() outside train_a_batch: there is no batch to train on")
        if self._stepped:
            raise StepError("step() twice in one batch: the collaborators have already used this batch's gradients")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        batch.step(self.projection_lr, self._step_local)
        self._stepped = True
        return loss

    def _step_local(self) -> None:
        for part in self._wrapped():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Torch's format: parameters numbered through all groups in order."""
        state: dict[Any, Any] = {}
        groups: list[dict[str, Any]] = []
        offset = 0
        for part in self._wrapped():
            inner = part.state_dict()
            state.update({number + offset: value for number, value in inner["state"].items()})
            groups += [{**group, "params": [n + offset for n in group["params"]]} for group in inner["param_groups"]]
            offset += sum(len(group["params"]) for group in inner["param_groups"])
        groups += [{**group, "params": []} for group in self._peers.values()]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give every wrapped optimizer its part. Raises `ValueError`, as torch does, when the groups do not fit."""
        groups = list(state_dict["param_groups"])
        own = self.state_dict()["param_groups"]
        sizes, own_sizes = ([len(group["params"]) for group in some] for some in (groups, own))
        if sizes != own_sizes:
            raise ValueError(f"loaded state dict has groups of {sizes} parameters, this optimizer has {own_sizes}")
        names = [group.get("name") for group in groups[len(groups) - len(self._peers) :]]
        if names != [group["name"] for group in self._peers.values()]:
            raise ValueError(f"loaded state dict is for the projections {names}")
        offset = 0
        for part in self._wrapped():
            mine, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            count = sum(len(group["params"]) for group in mine)
            numbers = range(offset, offset + count)
            part.load_state_dict(
                {
                    "state": {n - offset: value for n, value in state_dict["state"].items() if n in numbers},
                    "param_groups": [{**group, "params": [n - offset for n in group["params"]]} for group in mine],
                }
            )
            offset += count
        for group, loaded in zip(self._peers.values(), groups):
            group.update({name: value for name, value in loaded.items() if name != "params"})


def gradients_of(leaves: Mapping[str, torch.Tensor], some_taken: bool = False) -> dict[str, torch.Tensor]:
    """The gradient of each feature; zeros for those that the loss did not use.

    Args:
        leaves: the features.
        some_taken: one of them had a gradient, and somebody has taken it.

    Raises:
        StepError: no feature has a gradient, so `backward()` was not called on a loss that depends on them.
    """
    if not some_taken and all(leaf.grad is None for leaf in leaves.values()):
        raise StepError("step() without backward(): no feature_projection has a gradient. Call loss.backward() first")
    return {key: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for key, leaf in leaves.items()}


def clear_gradients(tensors: Iterable[torch.Tensor]) -> None:
    """Forget the gradients of leaves."""
    for tensor in tensors:
        tensor.grad = None
