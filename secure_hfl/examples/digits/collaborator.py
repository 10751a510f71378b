"""One collaborator of the digits; `DIGITS_STRIP` says which. Run it with `secure-hfl collaborator` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler
from secure_hfl.examples.digits import strips


class DigitsCollaborator(HeteroNNCollaboratorScheduler):
    """Holds one strip and no labels."""

    def load_local_ids(self) -> list[str]:
        return strips.local_ids(self.feature_key)

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        return strips.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return strips.bottom_model(self.feature_key)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=strips.LEARNING_RATE, momentum=0.9)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids, pixels in strips.batches(self.feature_key, train_ids, train_ids, self.current_round):
            self.confirm_batch_ids(ids)
            yield feature_model(pixels)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids, pixels in strips.batches(self.feature_key, test_ids, self.train_ids):
            self.confirm_batch_ids(ids)
            yield feature_model(pixels)


if __name__ == "__main__":
    DigitsCollaborator(strips.own_strip()).launch_task("YOUR_TASK_ID")
