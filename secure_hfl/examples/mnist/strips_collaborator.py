"""One collaborator of MNIST in strips; `MNIST_STRIP` says which. Run it with `secure-hfl collaborator` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

from secure_hfl import HeteroNNCollaboratorScheduler
from secure_hfl.examples.mnist import data_dir, strips

import torch  # isort: skip
import torch.nn as nn  # isort: skip


class StripsCollaborator(HeteroNNCollaboratorScheduler):
    """Holds one strip and drops the labels."""

    def load_local_ids(self) -> list[str]:
        return strips.local_ids(strips.STRIP)

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[int], set[int]]:
        return strips.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return strips.StripNet()

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.01, momentum=0.9)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[int]) -> Iterator[torch.Tensor]:
        for _, data, _ in strips.batches(data_dir(), train_ids, True, self.current_round):
            yield feature_model(data)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[int]) -> Iterator[torch.Tensor]:
        for _, data, _ in strips.batches(data_dir(), test_ids, False, self.current_round):
            yield feature_model(data)


if __name__ == "__main__":
    key = strips.feature_key(strips.STRIP)
    StripsCollaborator(feature_key=key, schedule_timeout=strips.JOIN_SECONDS).launch_task("YOUR_TASK_ID")
