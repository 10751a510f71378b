"""Calls the methods that the user implements, and checks what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Sized
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import nn

from protocols.core.errors import InvalidInput, SecureHflError
from protocols.core.wording import plural
from protocols.psi import normal_form
from protocols.psi.buckets import bucket_count
from protocols.psi.packed import PackedIds, chunks_of
from protocols.task.alignment import SampleId, check_ids, ids_digest
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.engine.id_file import IdFile, id_chunks
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.engine.psi_files import PsiFiles
from secure_hfl.errors import ConfigurationError, UserCodeError

Value = TypeVar("Value")


class UserCode:
    """One party's scheduler, as the engine calls it.

    Args:
        scheduler: the user's.
        wait: seconds to wait for other parties, instead of the scheduler's.

    Attributes:
        interrupter: ends a method that goes on after the task has failed; renewed with every conversation.
    """

    def __init__(self, scheduler: PartyScheduler, wait: float | None = None) -> None:
        self._scheduler = scheduler
        self._wait = wait
        self._batch_ids = b""
        self._confirmed: list[SampleId] | None = None
        self.interrupter = Interrupter()

    @property
    def is_trainable(self) -> bool:
        """Whether this party's bottom model is trained."""
        return self._scheduler.is_feature_trainable

    @property
    def is_feature_holder(self) -> bool:
        """Whether this party has features: a collaborator always, a host unless it says that it has labels only."""
        return bool(getattr(self._scheduler, "is_feature_holder", True))

    @property
    def schedule_timeout(self) -> float:
        """Seconds that this party waits for others to come, or to come back."""
        return self._scheduler.schedule_timeout if self._wait is None else self._wait

    def validate(self) -> None:
        """The user's checks, and ours."""
        self.call("validate_context", self._scheduler.validate_context)
        if not self._scheduler._context_is_valid:
            raise ConfigurationError("validate_context() must call super().validate_context() first")

    def call(self, name: str, method: Callable[..., Value], *args: Any) -> Value:
        """Call one of the user's methods; what it raises becomes a `UserCodeError` that names it."""
        try:
            with self.interrupter.user_code():
                return method(*args)
        except SecureHflError:
            raise
        except Exception as error:  # whatever a user's code raises ends the task in an orderly way
            raise UserCodeError(f"{name} raised {type(error).__name__}: {error}") from error

    def local_ids(self, files: PsiFiles) -> Sequence[str] | IdFile:
        """The user's ids: in a list, or in a file if they are more than one run of PSI takes."""
        chunks = self._id_chunks()
        few: list[str] = []
        for chunk in chunks:
            few += chunk
            if bucket_count(len(few)) > 1:
                return files.write_ids(chain(_drained(few), chunks))
        return few

    def all_ids(self) -> list[str]:
        """The same, in a list."""
        return [each for chunk in self._id_chunks() for each in chunk]

    def _id_chunks(self) -> Iterator[list[str]]:
        """Some at a time; errors of a generator are the user's too."""
        chunks = id_chunks(self.call("load_local_ids", self._scheduler.load_local_ids))
        while chunk := self.call("load_local_ids", next, chunks, None):
            _check_form(chunk)
            yield chunk

    def split(self, intersection: Collection[str]) -> tuple[Collection[SampleId], Collection[SampleId]]:
        """The user's training and test ids of the intersection."""
        given: Any = intersection if isinstance(intersection, PackedIds) else set(intersection)
        parts = self.call("split_dataset", self._scheduler.split_dataset, given)
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise InvalidInput("split_dataset must return (training ids, test ids)")
        train, test = (check_ids(f"split_dataset's {what} ids", ids) for what, ids in zip(("training", "test"), parts))
        if not train:
            raise InvalidInput("split_dataset returned no training ids")
        own = [ids for ids in (train, test) if not (isinstance(ids, PackedIds) and ids.is_part_of(intersection))]
        known = intersection if isinstance(intersection, PackedIds) or not own else {str(item) for item in intersection}
        strangers = sum(str(item) not in known for ids in own for item in ids)
        if strangers:
            raise InvalidInput(f"split_dataset returned {plural(strangers, 'id')} from outside the intersection")
        return train, test

    def build_model(self, name: str) -> nn.Module:
        """What the user's method of this name builds."""
        model = self.call(name, getattr(self._scheduler, name))
        if not isinstance(model, nn.Module):
            raise UserCodeError(f"{name} must return a torch.nn.Module, not {type(model).__name__}")
        return model

    def build_optimizer(self, name: str, model: nn.Module) -> torch.optim.Optimizer | None:
        """What the user's method of this name builds; it may be None if there is nothing to train."""
        optimizer = self.call(name, getattr(self._scheduler, name), model)
        if optimizer is None and next(model.parameters(), None) is None:
            return None
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UserCodeError(f"{name} must return a torch.optim.Optimizer, not {type(optimizer).__name__}")
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise UserCodeError(
                f"{name}: {type(optimizer).__name__} computes the loss of a batch several times in a step, and "
                "features and gradients cross once: take an optimizer whose step() needs no closure"
            )
        return optimizer

    def batches(self, training: bool, model: nn.Module, ids: Collection[SampleId]) -> Iterator[Any]:
        """The user's iterator of this round, its errors named, its gradients off where nothing is trained."""
        name = iterator_name(training)
        made = self.call(name, getattr(self._scheduler, name), model, ids)
        if not isinstance(made, Iterable):
            raise UserCodeError(f"{name} must yield batches or return them in an iterable, not {type(made).__name__}")
        iterator, end = iter(made), object()
        with_gradients = training and self.is_trainable
        while True:
            with torch.set_grad_enabled(with_gradients):
                batch = self.call(name, next, iterator, end)
            if batch is end:
                return
            yield batch

    def confirm_batch_ids(self, session: bytes, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
        self._confirmed = list(ids)
        self._batch_ids = ids_digest(session, "batch", self._confirmed)

    def take_confirmed_ids(self) -> list[SampleId] | None:
        """The ids of the batch that was just yielded, if the user's code named them."""
        ids, self._confirmed = self._confirmed, None
        return ids

    def take_batch_ids(self) -> bytes:
        """The digest for the batch that was just yielded, or empty."""
        digest, self._batch_ids = self._batch_ids, b""
        return digest


def _check_form(ids: list[str]) -> None:
    """PSI takes two forms of an id for one. Code that sorts ids, or looks rows up by them, does not."""
    if any(isinstance(each, str) and not each.isascii() and normal_form(each) != each for each in ids):
        raise InvalidInput(
            "load_local_ids: some ids are not in Unicode's form NFC, by which parties compare ids. Code that sorts "
            "them would give each party another order: return unicodedata.normalize('NFC', id) for each, and look rows "
            "up by that"
        )


def _drained(ids: list[str]) -> Iterator[list[str]]:
    """Chunks of a list that is empty when the first has been taken."""
    chunks = list(chunks_of(ids))
    ids.clear()
    while chunks:
        yield chunks.pop(0)


def iterator_name(training: bool) -> str:
    """What the user's iterator is called."""
    return "iterate_train_feature" if training else "iterate_test_feature"


def check_features(name: str, features: object) -> torch.Tensor:
    """A batch of features as [rows, width] of floats. Raises `UserCodeError`."""
    if not isinstance(features, torch.Tensor):
        raise UserCodeError(f"{name} must yield tensors of features, not {type(features).__name__}")
    if features.ndim != 2 or not features.numel():
        raise UserCodeError(f"{name} must yield features [batch, features], not {list(features.shape)}")
    if not features.is_floating_point():
        raise UserCodeError(f"{name} must yield floating point features, not {features.dtype}")
    if features.layout is not torch.strided:
        raise UserCodeError(f"{name} must yield dense features, not {features.layout}: call to_dense()")
    # Out of torch.inference_mode comes what no graph may begin with.
    return features.clone() if features.is_inference() else features


def own_batch(name: str, batch: object, is_feature_holder: bool) -> tuple[torch.Tensor, Any]:
    """What a host's iterator has yielded, as features and labels; a host without features has [rows, 0] of them.

    Raises:
        UserCodeError: it is something else.
    """
    if is_feature_holder:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise UserCodeError(f"the host's {name} must yield (features, labels)")
        return check_features(name, batch[0]), batch[1]
    if isinstance(batch, (tuple, dict)) or not isinstance(batch, Sized) or not len(batch):
        raise UserCodeError(
            f"the host's {name} must yield labels only, as the host has no features (is_feature_holder=False); not "
            f"{type(batch).__name__}"
        )
    return torch.empty(len(batch), 0), batch
