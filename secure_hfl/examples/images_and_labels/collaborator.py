"""The clinic: has the images and no label. Run it with `secure-hfl collaborator` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler
from secure_hfl.examples.images_and_labels import digits


class Clinic(HeteroNNCollaboratorScheduler):
    """Learns no digit."""

    def load_local_ids(self) -> list[str]:
        return digits.local_ids(digits.CLINIC)

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        return digits.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return digits.bottom_model()

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=digits.LEARNING_RATE, momentum=0.9)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids, pixels in digits.image_batches(train_ids, self.current_round):
            self.confirm_batch_ids(ids)
            yield feature_model(pixels)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids, pixels in digits.image_batches(test_ids):
            self.confirm_batch_ids(ids)
            yield feature_model(pixels)


if __name__ == "__main__":
    Clinic(digits.CLINIC).launch_task("YOUR_TASK_ID")
