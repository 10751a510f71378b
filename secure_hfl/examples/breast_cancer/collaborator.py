"""The laboratory: has the columns of size and shape. Run it with `secure-hfl collaborator` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler
from secure_hfl.examples.breast_cancer import columns


class Laboratory(HeteroNNCollaboratorScheduler):
    """Sees no diagnosis."""

    def load_local_ids(self) -> list[str]:
        return columns.local_ids("laboratory")

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        return columns.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return columns.bottom_model("laboratory")

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=columns.LEARNING_RATE, momentum=0.9)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids, rows in columns.batches("laboratory", train_ids, train_ids, self.current_round):
            self.confirm_batch_ids(ids)
            yield feature_model(rows)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids, rows in columns.batches("laboratory", test_ids, self.train_ids):
            self.confirm_batch_ids(ids)
            yield feature_model(rows)


if __name__ == "__main__":
    Laboratory("laboratory").launch_task("YOUR_TASK_ID")
