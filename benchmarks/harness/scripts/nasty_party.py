"""One party of a task with everything that is easy to lose: `NASTY_CASE` is {"index", "parties", ...} as JSON.

Dropout and batch norm in every model, features with noise from torch's generator, a factor that is drawn once a round
before its first batch, another order every round, momentum and Adam, a learning rate scheduler that `train_a_batch`
steps, and a short last batch. Party 0 is the host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.harness.faults.kill_points import arm, reached
from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler

CASE = json.loads(os.environ["NASTY_CASE"])
INDEX: int = CASE["index"]
WIDTH = 4
BATCH = 16
TRAIN_IDS, TEST_IDS = range(16, 72), range(72, 96)  # 3 batches of 16 and one of 8; 16 and 8


def columns(rows: list[int]) -> torch.Tensor:
    """This party's own columns of these rows."""
    return torch.sin(torch.tensor(rows, dtype=torch.float32)[:, None] * torch.arange(1.0, 4 + INDEX) * 0.37)


def labels_of(rows: list[int]) -> torch.Tensor:
    """The host's labels."""
    return torch.tensor([(7 * row // 3) % 2 for row in rows])


class Nasty:
    """What both roles share; mixed into a scheduler."""

    def load_local_ids(self) -> list[str]:
        return [str(row) for row in range(8 * INDEX, 96 + 8 * INDEX)]

    def split_dataset(self, id_intersection: set[str]) -> tuple[list[int], list[int]]:
        ids = {int(row) for row in id_intersection}
        return [row for row in TRAIN_IDS if row in ids], [row for row in TEST_IDS if row in ids]

    def build_feature_model(self) -> nn.Module:
        # What a batch norm takes away again has no gradient but noise, which Adam would blow up: no biases.
        narrow, wide = nn.Linear(3 + INDEX, 6, bias=False), nn.Linear(6, WIDTH, bias=False)
        return nn.Sequential(narrow, nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), wide)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        if INDEX == 1:
            return torch.optim.Adam(feature_model.parameters(), lr=0.01)
        return torch.optim.SGD(feature_model.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: list[int]) -> Iterator[Any]:
        shuffled = torch.randperm(len(train_ids), generator=torch.Generator().manual_seed(self.current_round))
        factor = 1 + 0.1 * torch.randn(())
        for start in range(0, len(train_ids), BATCH):
            rows = [train_ids[at] for at in shuffled[start : start + BATCH]]
            own = columns(rows)
            self.confirm_batch_ids(rows)
            reached("iterate_train_feature")
            yield self._batch(rows, feature_model(factor * own + 0.05 * torch.randn_like(own)))

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: list[int]) -> Iterator[Any]:
        for start in range(0, len(test_ids), BATCH):
            rows = test_ids[start : start + BATCH]
            reached("iterate_test_feature")
            yield self._batch(rows, feature_model(columns(rows)))

    def _batch(self, rows: list[int], features: torch.Tensor) -> Any:
        return features


class NastyHost(Nasty, HeteroNNHostScheduler):
    """Labels, and the top model."""

    def _batch(self, rows: list[int], features: torch.Tensor) -> Any:
        return features, labels_of(rows)

    def build_infer_model(self) -> nn.Module:
        inner = nn.Linear(WIDTH * CASE["parties"], 8, bias=False)
        return nn.Sequential(inner, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(infer_model.parameters(), lr=0.02)
        self.schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.8)
        return optimizer

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        reached("train_a_batch")
        fused = torch.cat([feature_projection[f"party{index}"] for index in range(CASE["parties"])], 1)
        loss = nn.functional.cross_entropy(self.infer_model(fused), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    def test(self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[Any]) -> None:
        reached("test")
        total, right = 0.0, 0
        for features, labels in zip(batched_feature_projections, batched_labels, strict=True):
            fused = torch.cat([features[f"party{index}"] for index in range(CASE["parties"])], 1)
            scores = self.infer_model(fused)
            total += nn.functional.cross_entropy(scores, labels, reduction="sum").item()
            right += int((scores.argmax(1) == labels).sum())
        count = sum(len(labels) for labels in batched_labels)
        self.tb_writer.add_scalar("test_results/accuracy", right / count, self.current_round)
        self.tb_writer.add_scalar("test_results/average_loss", total / count, self.current_round)


class NastyCollaborator(Nasty, HeteroNNCollaboratorScheduler):
    """Features only."""


def shorten_keys() -> None:
    """Paillier with the shortest keys that there are: making one takes a tenth of the time."""
    from protocols.he.paillier import PaillierBackend
    from protocols.he.paillier_parameters import PARAMETER_SETS
    from protocols.schemes.encrypted.scheme import Paillier

    short = PARAMETER_SETS["paillier-2048"]
    Paillier.backend = lambda self: PaillierBackend(short)  # type: ignore[method-assign]
    Paillier.parameter_set = short.name  # type: ignore[assignment]


arm()
if CASE.get("scheme") == "paillier":
    shorten_keys()
options: dict[str, Any] = {"feature_key": f"party{INDEX}", **CASE.get("arguments", {})}
if INDEX:
    NastyCollaborator(**options).launch_task("YOUR_TASK_ID")
else:
    NastyHost(**{"max_rounds": 2, "log_rounds": 1, "projection_lr": 0.05, **options}).launch_task("YOUR_TASK_ID")
