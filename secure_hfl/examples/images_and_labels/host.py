"""The registry: has the labels, and no feature of any sample. Run it with `secure-hfl host` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from secure_hfl import HeteroNNLabelHostScheduler, logger
from secure_hfl.examples import samples
from secure_hfl.examples.images_and_labels import digits


class Registry(HeteroNNLabelHostScheduler):
    """Its iterators yield labels only, and it builds no bottom model."""

    def load_local_ids(self) -> list[str]:
        return digits.local_ids(digits.REGISTRY)

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        return digits.split(id_intersection)

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids in digits.batches(train_ids, self.current_round):
            self.confirm_batch_ids(ids)
            yield digits.labels(ids)

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[str]) -> Iterator[torch.Tensor]:
        for ids in digits.batches(test_ids):
            self.confirm_batch_ids(ids)
            yield digits.labels(ids)

    def build_infer_model(self) -> nn.Module:
        return digits.top_model()

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=digits.LEARNING_RATE, momentum=0.9)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        loss_function = self.label_privacy.loss if self.label_privacy else F.cross_entropy
        self.optimizer.zero_grad()
        loss_function(self.infer_model(feature_projection[digits.CLINIC]), labels).backward()
        self.optimizer.step()

    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        logits = torch.cat([self.infer_model(each[digits.CLINIC]) for each in batched_feature_projections])
        labels = torch.cat(batched_labels)
        accuracy = float((logits.argmax(1) == labels).float().mean())
        logger.info(f"Test set: accuracy {accuracy:.4f}")
        self.tb_writer.add_scalar("test_results/accuracy", accuracy, self.current_round)
        self.tb_writer.add_scalar("test_results/average_loss", F.cross_entropy(logits, labels), self.current_round)


if __name__ == "__main__":
    Registry(
        digits.REGISTRY,
        max_rounds=5,
        log_rounds=1,
        projection=digits.PROJECTION,
        label_privacy=samples.label_privacy(classes=10),
    ).launch_task("YOUR_TASK_ID")
