"""The clinic: has the diagnoses and the columns of texture. Run it with `secure-hfl host` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from secure_hfl import HeteroNNHostScheduler, logger
from secure_hfl.examples import samples
from secure_hfl.examples.breast_cancer import columns


class Clinic(HeteroNNHostScheduler):
    """Tells malignant from benign, with the laboratory's help."""

    def load_local_ids(self) -> list[str]:
        return columns.local_ids("clinic")

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        return columns.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return columns.bottom_model("clinic")

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=columns.LEARNING_RATE, momentum=0.9)

    def iterate_train_feature(
        self, feature_model: nn.Module, train_ids: set[str]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for ids, rows in columns.batches("clinic", train_ids, train_ids, self.current_round):
            self.confirm_batch_ids(ids)
            yield feature_model(rows), columns.labels(ids)

    def iterate_test_feature(
        self, feature_model: nn.Module, test_ids: set[str]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for ids, rows in columns.batches("clinic", test_ids, self.train_ids):
            self.confirm_batch_ids(ids)
            yield feature_model(rows), columns.labels(ids)

    def build_infer_model(self) -> nn.Module:
        # With label_privacy, true labels have no part in training: not even in how much a class weighs.
        self.loss_function = columns.loss_function(() if self.label_privacy else self.train_ids)
        self.training_loss = self.label_privacy.loss if self.label_privacy else self.loss_function
        return columns.top_model()

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=columns.LEARNING_RATE, momentum=0.9)

    def _fuse(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([features[party] for party in columns.PARTIES], dim=1)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.training_loss(self.infer_model(self._fuse(feature_projection)), labels)
        loss.backward()
        self.optimizer.step()

    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        logits = torch.cat([self.infer_model(self._fuse(features)) for features in batched_feature_projections])
        labels = torch.cat(batched_labels)
        figures = {**columns.figures(logits, labels), "average_loss": float(self.loss_function(logits, labels))}
        logger.info("Test set: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        for name, value in figures.items():
            self.tb_writer.add_scalar(f"test_results/{name}", value, self.current_round)


if __name__ == "__main__":
    Clinic(
        "clinic",
        max_rounds=5,
        log_rounds=1,
        projection=columns.PROJECTION,
        label_privacy=samples.label_privacy(classes=2),
    ).launch_task("YOUR_TASK_ID")
