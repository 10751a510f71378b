"""A small task for benchmarks that are about a run, and not about what it computes: 1,024 ids that everybody has.

A quarter is for testing. The label is whether the id is odd. What stands in a class may be set on a scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler

WIDTH = 8


class Small:
    """What both roles share: a linear bottom model."""

    ids = 1024
    rows = 64
    parties = 2

    def load_local_ids(self) -> list[str]:
        return [str(i) for i in range(self.ids)]

    def split_dataset(self, id_intersection: set[str]) -> tuple[list[str], list[str]]:
        ids = sorted(id_intersection)
        return ids[self.ids // 4 :], ids[: self.ids // 4]

    def build_feature_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.1)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: list[str]) -> Iterator[Any]:
        for start in range(0, len(train_ids), self.rows):
            rows = torch.tensor([float(i) for i in train_ids[start : start + self.rows]])
            yield self.batch(rows, feature_model(torch.sin(rows[:, None] * torch.arange(1, WIDTH + 1))))

    iterate_test_feature = iterate_train_feature

    def batch(self, rows: torch.Tensor, features: torch.Tensor) -> Any:
        """What an iterator yields."""
        return features


class SmallHost(Small, HeteroNNHostScheduler):
    """Fuses all features by a linear layer."""

    def batch(self, rows: torch.Tensor, features: torch.Tensor) -> Any:
        return features, rows.long() % 2

    def build_infer_model(self) -> nn.Module:
        return nn.Linear(WIDTH * self.parties, 2)

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=0.1)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        fused = torch.cat([feature_projection[key] for key in sorted(feature_projection)], 1)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.infer_model(fused), labels).backward()
        self.optimizer.step()

    def test(self, batched_feature_projections: Any, batched_labels: Any) -> None:
        """Nothing."""


class SmallCollaborator(Small, HeteroNNCollaboratorScheduler):
    """Features only."""
