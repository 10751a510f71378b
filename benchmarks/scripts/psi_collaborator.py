"""The collaborator of a task that is nothing but its PSI; see psi_host.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

from secure_hfl import HeteroNNCollaboratorScheduler

import torch  # isort: skip
from torch import nn  # isort: skip

IDS = int(os.environ.get("SECURE_HFL_PSI_IDS", "10000"))


class PsiCollaborator(HeteroNNCollaboratorScheduler):
    """Holds the second half of the host's ids and as many others."""

    def load_local_ids(self) -> list[str]:
        return [f"patient-{i}" for i in range(IDS // 2, IDS // 2 + IDS)]

    def split_dataset(self, id_intersection: set[str]) -> tuple[list[str], list[str]]:
        return sorted(id_intersection)[:2], []

    def build_feature_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.1)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[str]) -> Iterator[torch.Tensor]:
        yield feature_model(torch.ones(2, 1))

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[str]) -> Iterator[torch.Tensor]:
        yield from ()


PsiCollaborator("collaborator").launch_task("YOUR_TASK_ID")
