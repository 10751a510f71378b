"""A tiny task for tests that run real parties: linear models over 64 training ids in 2 batches and 32 test ids.

Everything is a function of the ids, and every party's part of the model has a seed of its own, so that a test can train
the same network in one process. A `Case` says in which way a party differs from a well-behaved one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler

MARKER = "secret-value-4711"  # what no peer may ever see
FEATURES = 4
TRAIN_IDS = range(32, 96)
TEST_IDS = range(96, 128)


@dataclass
class Case:
    """How one party runs; the defaults are a task that succeeds. `index` 0 is the host."""

    index: int = 0
    parties: int = 2
    arguments: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    ids: Any = None
    split: str = "sets"
    confirm: str = ""
    order: str = "ids"
    raises: str = ""
    hangs: str = ""
    returns: dict[str, Any] = field(default_factory=dict)
    features: str = ""
    steps: str = "always"
    finish_after: int = 0
    validates: bool = True
    shown: list[Any] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The party's name."""
        return f"party{self.index}"


def columns(index: int, ids: list[int]) -> torch.Tensor:
    """A party's own columns of these rows."""
    rows = torch.tensor(ids, dtype=torch.float32)[:, None]
    return torch.sin(rows * torch.arange(1, 4 + index, dtype=torch.float32) * 0.37)


def labels_of(ids: list[int]) -> torch.Tensor:
    """The host's labels."""
    return torch.tensor([(7 * i // 3) % 2 for i in ids])


def bottom(index: int) -> nn.Module:
    """A party's bottom model."""
    torch.manual_seed(100 + index)
    return nn.Sequential(nn.Linear(3 + index, FEATURES), nn.Tanh())


def top(parties: int) -> nn.Module:
    """The top model."""
    torch.manual_seed(99)
    return nn.Linear(FEATURES * parties, 2)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Everybody's optimizer."""
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train_in_one_process(
    parties: int, rounds: int, frozen: tuple[int, ...] = ()
) -> tuple[list[float], list[nn.Module]]:
    """The losses of the same training without any protocol, and the models: bottoms by index, then the top."""
    bottoms, head = [bottom(index) for index in range(parties)], top(parties)
    optimizers = [sgd(model) for index, model in enumerate(bottoms) if index not in frozen] + [sgd(head)]
    losses: list[float] = []
    for _ in range(rounds):
        for start in range(0, len(TRAIN_IDS), 32):
            ids = list(TRAIN_IDS[start : start + 32])
            outs = [model(columns(index, ids)) for index, model in enumerate(bottoms)]
            outs = [out.detach() if index in frozen else out for index, out in enumerate(outs)]
            loss = nn.functional.cross_entropy(head(torch.cat(outs, 1)), labels_of(ids))
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
    return losses, [*bottoms, head]


class Tiny:
    """What both roles share; mixed into a scheduler."""

    def __init__(self, case: Case) -> None:
        self.case = case
        super().__init__(**{"feature_key": case.key, **case.arguments})

    def _enter(self, name: str) -> None:
        self.case.shown.append(name)
        if self.case.hangs == name:
            threading.Event().wait()
        if self.case.raises == name:
            raise ValueError(MARKER)

    def _returned(self, name: str, value: Any) -> Any:
        return self.case.returns.get(name, value)

    def validate_context(self) -> None:
        if self.case.validates:
            super().validate_context()
        self._enter("validate_context")

    def load_local_ids(self) -> list[str]:
        self._enter("load_local_ids")
        own = [str(i) for i in (range(0, 128) if self.case.index == 0 else range(32, 160))]
        return own if self.case.ids is None else self.case.ids

    def split_dataset(self, id_intersection: set[str]) -> Any:
        self._enter("split_dataset")
        ids = sorted(int(i) for i in id_intersection)
        train, test = ids[:64], ids[64:]
        ways = {
            "sets": (set(train), set(test)),
            "text": ({str(i) for i in train}, {str(i) for i in test}),
            "lists": (train, test),
            "reversed": (train[::-1], test),
            "short": (set(train[:48]), set(test)),
            "other": ({*train[1:], test[0]}, {train[0], *test[1:]}),
            "strangers": ({*train, 10**6}, set(test)),
            "nothing": (set(), set(test)),
            "one": set(train),
        }
        return ways[self.case.split]

    def build_feature_model(self) -> Any:
        self._enter("build_feature_model")
        return self._returned("build_feature_model", bottom(self.case.index))

    def build_feature_optimizer(self, feature_model: nn.Module) -> Any:
        self._enter("build_feature_optimizer")
        return self._returned("build_feature_optimizer", sgd(feature_model))

    def _batches(
        self, feature_model: nn.Module, ids: Any, batch_size: int = 0
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        ordered = [int(i) for i in ids]
        if self.case.order == "shifted":
            ordered = ordered[1:] + ordered[:1]
        size = batch_size or self.case.batch_size
        for start in range(0, len(ordered), size):
            rows = ordered[start : start + size]
            if self.case.confirm:
                self.confirm_batch_ids(rows)
            out = feature_model(columns(self.case.index, rows))
            if self.case.features == "nan":
                out = out * float("nan")
            if self.case.features == "3d":
                out = out[None]
            if self.case.features == "int":
                out = out.long()
            if self.case.features == "none":
                out = None
            if self.case.features == "wider later" and start:
                out = torch.cat([out, out], 1)
            yield rows, out

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: Any) -> Iterator[Any]:
        self._enter("iterate_train_feature")
        for number, (rows, out) in enumerate(self._batches(feature_model, train_ids)):
            if number == self.case.returns.get("batches"):
                return
            if number == 1 and self.current_round == 2:
                self._enter("iterate_train_feature later")
            yield self._batch(rows, out)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: Any) -> Iterator[Any]:
        self._enter("iterate_test_feature")
        for rows, out in self._batches(feature_model, test_ids, self.case.returns.get("test_batch_size", 0)):
            yield self._batch(rows, out)

    def _batch(self, rows: list[int], out: torch.Tensor) -> Any:
        return out


class TinyHost(Tiny, HeteroNNHostScheduler):
    """Holds the labels (id * 7 // 3) % 2."""

    def _batch(self, rows: list[int], out: torch.Tensor) -> Any:
        return None if out is None else (out, labels_of(rows))

    def build_infer_model(self) -> Any:
        self._enter("build_infer_model")
        return self._returned("build_infer_model", top(self.case.parties))

    def build_infer_optimizer(self, infer_model: nn.Module) -> Any:
        self._enter("build_infer_optimizer")
        return self._returned("build_infer_optimizer", sgd(infer_model))

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self._enter("train_a_batch")
        fused = torch.cat([feature_projection[f"party{index}"] for index in range(self.case.parties)], 1)
        loss = nn.functional.cross_entropy(self.infer_model(fused), labels)
        if self.case.features == "nan gradient":
            loss = loss * float("nan")
        self.optimizer.zero_grad()
        if self.case.steps != "no backward":
            loss.backward()
        if self.case.steps != "never":
            self.optimizer.step()
        if self.case.steps == "twice":
            self.optimizer.step()

    def test(self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[Any]) -> None:
        self._enter("test")
        assert not torch.is_grad_enabled()
        assert not self.infer_model.training
        assert not self.feature_model.training
        total = sum(len(labels) for labels in batched_labels)
        self.tb_writer.add_scalar("test_results/accuracy", total / 32, self.current_round)
        self.tb_writer.add_scalar("test_results/average_loss", self.case.returns.get("loss", 0.5), self.current_round)

    def is_task_finished(self) -> bool:
        self._enter("is_task_finished")
        if self.case.finish_after:
            return self.current_round >= self.case.finish_after
        return self._is_reach_max_rounds()


class TinyCollaborator(Tiny, HeteroNNCollaboratorScheduler):
    """Holds features only."""


def make(values: dict[str, Any]) -> TinyHost | TinyCollaborator:
    """The scheduler of a case that came as plain data."""
    case = Case(**values)
    if case.index:
        return TinyCollaborator(case)
    case.arguments.setdefault("max_rounds", 2)
    return TinyHost(case)
