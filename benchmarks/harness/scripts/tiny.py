"""A tiny task for tests that run real parties: linear models over 64 training ids in 2 batches and 32 test ids.

Everything is a function of the ids, and every party's part of the model has a seed of its own, so that a test can train
the same network in one process. A `Case` says in which way a party differs from a well-behaved one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.harness.scripts.cases import Case, Features, Method, Split, Stepping
from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler

MARKER = "secret-value-4711"  # what no peer may ever see
FEATURES = 4
TRAIN_IDS = range(32, 96)
TEST_IDS = range(96, 128)


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

    def _enter(self, method: Method) -> None:
        self.case.calls.append(method)
        if self.case.hangs is method:
            threading.Event().wait()
        if self.case.raises is method:
            raise ValueError(MARKER)

    def _returned(self, method: Method, value: Any) -> Any:
        return None if self.case.returns_none is method else value

    def validate_context(self) -> None:
        if self.case.validates:
            super().validate_context()
        self._enter(Method.VALIDATE_CONTEXT)

    def load_local_ids(self) -> list[str]:
        self._enter(Method.LOAD_LOCAL_IDS)
        own = [str(i) for i in (range(0, 128) if self.case.index == 0 else range(32, 160))]
        return own if self.case.ids is None else self.case.ids

    def split_dataset(self, id_intersection: set[str]) -> Any:
        self._enter(Method.SPLIT_DATASET)
        ids = sorted(int(i) for i in id_intersection)
        train, test = ids[:64], ids[64:]
        ways = {
            Split.SETS: (set(train), set(test)),
            Split.TEXTS: ({str(i) for i in train}, {str(i) for i in test}),
            Split.LISTS: (train, test),
            Split.REVERSED_LISTS: (train[::-1], test),
            Split.FEWER_TO_TRAIN: (set(train[:48]), set(test)),
            Split.TWO_SWAPPED: ({*train[1:], test[0]}, {train[0], *test[1:]}),
            Split.WITH_A_STRANGER: ({*train, 10**6}, set(test)),
            Split.NOTHING: (set(), set(test)),
            Split.ONE_SET: set(train),
        }
        return ways[self.case.split]

    def build_feature_model(self) -> Any:
        self._enter(Method.BUILD_FEATURE_MODEL)
        return self._returned(Method.BUILD_FEATURE_MODEL, bottom(self.case.index))

    def build_feature_optimizer(self, feature_model: nn.Module) -> Any:
        self._enter(Method.BUILD_FEATURE_OPTIMIZER)
        return self._returned(Method.BUILD_FEATURE_OPTIMIZER, sgd(feature_model))

    def _batches(
        self, feature_model: nn.Module, ids: Any, batch_size: int = 0
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        ordered = [int(i) for i in ids]
        if self.case.shifts_batches:
            ordered = ordered[1:] + ordered[:1]
        size = batch_size or self.case.batch_size
        for start in range(0, len(ordered), size):
            rows = ordered[start : start + size]
            if self.case.confirms_batches:
                self.confirm_batch_ids(rows)
            out = feature_model(columns(self.case.index, rows))
            yield rows, self._changed(out, is_first=start == 0)

    def _changed(self, out: torch.Tensor, is_first: bool) -> Any:
        match self.case.features:
            case Features.NAN:
                return out * float("nan")
            case Features.THREE_DIMENSIONS:
                return out[None]
            case Features.INTEGERS:
                return out.long()
            case Features.NONE:
                return None
            case Features.WIDER_LATER if not is_first:
                return torch.cat([out, out], 1)
        return out

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: Any) -> Iterator[Any]:
        self._enter(Method.ITERATE_TRAIN_FEATURE)
        for number, (rows, out) in enumerate(self._batches(feature_model, train_ids)):
            if number == self.case.batches:
                return
            if number == 1 and self.current_round == 2:
                self._enter(Method.ITERATE_TRAIN_FEATURE_LATER)
            yield self._batch(rows, out)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: Any) -> Iterator[Any]:
        self._enter(Method.ITERATE_TEST_FEATURE)
        for rows, out in self._batches(feature_model, test_ids, self.case.test_batch_size):
            yield self._batch(rows, out)

    def _batch(self, rows: list[int], out: torch.Tensor) -> Any:
        return out


class TinyHost(Tiny, HeteroNNHostScheduler):
    """Holds the labels (id * 7 // 3) % 2. With `is_feature_holder=False`, nothing else."""

    def _batch(self, rows: list[int], out: torch.Tensor) -> Any:
        if not self.is_feature_holder:
            return labels_of(rows)
        return None if out is None else (out, labels_of(rows))

    @property
    def _keys(self) -> list[str]:
        """Of what is fused."""
        is_sum = self.fusion == "sum"
        keys = ["party0", "sum"] if is_sum else [f"party{index}" for index in range(self.case.parties)]
        return keys if self.is_feature_holder else keys[1:]

    def build_infer_model(self) -> Any:
        self._enter(Method.BUILD_INFER_MODEL)
        return self._returned(Method.BUILD_INFER_MODEL, top(len(self._keys)))

    def build_infer_optimizer(self, infer_model: nn.Module) -> Any:
        self._enter(Method.BUILD_INFER_OPTIMIZER)
        return self._returned(Method.BUILD_INFER_OPTIMIZER, sgd(infer_model))

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self._enter(Method.TRAIN_A_BATCH)
        fused = torch.cat([feature_projection[key] for key in self._keys], 1)
        loss = nn.functional.cross_entropy(self.infer_model(fused), labels)
        if self.case.stepping is Stepping.NAN_LOSS:
            loss = loss * float("nan")
        self.optimizer.zero_grad()
        if self.case.stepping is not Stepping.NO_BACKWARD:
            loss.backward()
        if self.case.stepping is not Stepping.NO_STEP:
            self.optimizer.step()
        if self.case.stepping is Stepping.TWO_STEPS:
            self.optimizer.step()

    def test(self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[Any]) -> None:
        self._enter(Method.TEST)
        assert not torch.is_grad_enabled()
        assert not self.infer_model.training
        assert not self.feature_model.training
        total = sum(len(labels) for labels in batched_labels)
        self.tb_writer.add_scalar("test_results/accuracy", total / 32, self.current_round)
        self.tb_writer.add_scalar("test_results/average_loss", self.case.test_loss, self.current_round)

    def predict_a_batch(self, feature_projection: dict[str, torch.Tensor]) -> torch.Tensor:
        fused = [feature_projection[key] for key in self._keys]
        output: torch.Tensor = self.infer_model(torch.cat(fused, 1))
        return output

    def is_task_finished(self) -> bool:
        self._enter(Method.IS_TASK_FINISHED)
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
