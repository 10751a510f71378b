"""The host of a task that is nothing but its PSI: SECURE_HFL_PSI_IDS ids, half of them in common; one tiny batch."""

from __future__ import annotations

import os
from collections.abc import Iterator

from secure_hfl import HeteroNNHostScheduler

import torch  # isort: skip
from torch import nn  # isort: skip

IDS = int(os.environ.get("SECURE_HFL_PSI_IDS", "10000"))


class PsiHost(HeteroNNHostScheduler):
    """Trains one batch of two samples, since a task must train something."""

    def load_local_ids(self) -> list[str]:
        return [f"patient-{i}" for i in range(IDS)]

    def split_dataset(self, id_intersection: set[str]) -> tuple[list[str], list[str]]:
        return sorted(id_intersection)[:2], []

    def build_feature_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.1)

    def iterate_train_feature(
        self, feature_model: nn.Module, train_ids: set[str]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield feature_model(torch.ones(2, 1)), torch.ones(2, 1)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[str]) -> Iterator[torch.Tensor]:
        yield from ()

    def build_infer_model(self) -> nn.Module:
        return nn.Linear(2, 1)

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=0.1)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        fused = torch.cat([feature_projection["host"], feature_projection["collaborator"]], dim=1)
        nn.functional.mse_loss(self.infer_model(fused), labels).backward()
        self.optimizer.step()

    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        """Nothing to test."""


PsiHost("host", max_rounds=1).launch_task("YOUR_TASK_ID")
