"""Calls the methods that the user implements, and checks what they return."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from protocols.core.errors import InvalidInput, SecureHflError
from protocols.task.alignment import SampleId, check_ids, ids_digest
from protocols.task.manifest import Manifest
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.errors import UserCodeError
from secure_hfl.schedulers.base import HeteroNNScheduler

SchedulerT = TypeVar("SchedulerT", bound=HeteroNNScheduler)
Value = TypeVar("Value")


class UserCode(ABC, Generic[SchedulerT]):
    """One party's scheduler, and what came out of its methods."""

    scheduler: SchedulerT
    interrupter: Interrupter
    manifest: Manifest
    id_intersection: frozenset[str]
    train_ids: Collection[SampleId]
    test_ids: Collection[SampleId]
    feature_model: nn.Module
    _batch_ids: bytes = b""

    def user(self, name: str, method: Callable[..., Value], *args: Any) -> Value:
        """Call one of the user's methods; what it raises becomes a `UserCodeError` that names it."""
        try:
            with self.interrupter.user_code():
                return method(*args)
        except SecureHflError:
            raise
        except Exception as error:  # whatever a user's code raises ends the task in an orderly way
            raise UserCodeError(f"{name} raised {type(error).__name__}: {error}") from error

    def local_ids(self) -> list[str]:
        """The user's ids."""
        ids = self.user("load_local_ids", self.scheduler.load_local_ids)
        if not isinstance(ids, (list, tuple, set, frozenset)):
            raise InvalidInput(f"load_local_ids must return a list of text ids, not {type(ids).__name__}")
        return list(ids)

    def split(self) -> None:
        """The user's split of the intersection."""
        parts = self.user("split_dataset", self.scheduler.split_dataset, set(self.id_intersection))
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise InvalidInput("split_dataset must return (training ids, test ids)")
        train, test = (check_ids(f"split_dataset's {what} ids", ids) for what, ids in zip(("training", "test"), parts))
        if not train:
            raise InvalidInput("split_dataset returned no training ids")
        known = {str(item) for item in self.id_intersection}
        strangers = sum(str(item) not in known for ids in (train, test) for item in ids)
        if strangers:
            raise InvalidInput(f"split_dataset returned {strangers} ids that are not in the intersection")
        self.train_ids, self.test_ids = train, test

    def build_feature_part(self) -> torch.optim.Optimizer | None:
        """The bottom model and its optimizer; None when it is frozen."""
        self.feature_model = self.build_model("build_feature_model")
        if not self.scheduler.is_feature_trainable:
            return None
        return self.build_optimizer("build_feature_optimizer", self.feature_model)

    def build_model(self, name: str) -> nn.Module:
        """What the user's method of this name builds."""
        model = self.user(name, getattr(self.scheduler, name))
        if not isinstance(model, nn.Module):
            raise UserCodeError(f"{name} must return a torch.nn.Module, not {type(model).__name__}")
        return model

    def build_optimizer(self, name: str, model: nn.Module) -> torch.optim.Optimizer | None:
        """What the user's method of this name builds; it may be None if there is nothing to train."""
        optimizer = self.user(name, getattr(self.scheduler, name), model)
        if optimizer is None and next(model.parameters(), None) is None:
            return None
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UserCodeError(f"{name} must return a torch.optim.Optimizer, not {type(optimizer).__name__}")
        return optimizer

    def set_mode(self, training: bool) -> None:
        """Train or eval mode. A frozen bottom model stays in eval mode: it is a fixed function."""
        self.feature_model.train(training and self.scheduler.is_feature_trainable)

    def batches(self, training: bool) -> Iterator[Any]:
        """The user's iterator of this round, its errors named, its gradients off where nothing is trained."""
        scheduler = self.scheduler
        name = "iterate_train_feature" if training else "iterate_test_feature"
        ids = self.train_ids if training else self.test_ids
        made = self.user(name, getattr(scheduler, name), self.feature_model, ids)
        if not isinstance(made, Iterable):
            raise UserCodeError(f"{name} must yield batches or return them in an iterable, not {type(made).__name__}")
        iterator, end = iter(made), object()
        with_gradients = training and scheduler.is_feature_trainable
        while True:
            with torch.set_grad_enabled(with_gradients):
                batch = self.user(name, next, iterator, end)
            if batch is end:
                return
            yield batch

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
        self._batch_ids = ids_digest(self.manifest.session, "batch", ids)

    def take_batch_ids(self) -> bytes:
        """The digest for the batch that was just yielded, or empty."""
        digest, self._batch_ids = self._batch_ids, b""
        return digest


def check_features(name: str, features: object) -> torch.Tensor:
    """A batch of features as [rows, width] of floats. Raises `UserCodeError`."""
    if not isinstance(features, torch.Tensor):
        raise UserCodeError(f"{name} must yield tensors of features, not {type(features).__name__}")
    if features.ndim != 2 or not features.numel():
        raise UserCodeError(f"{name} must yield features [batch, features], not {list(features.shape)}")
    if not features.is_floating_point():
        raise UserCodeError(f"{name} must yield floating point features, not {features.dtype}")
    return features
