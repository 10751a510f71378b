"""The host: has the leftmost strip and the labels. Run it with `secure-hfl host` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from secure_hfl import HeteroNNHostScheduler, logger
from secure_hfl.examples import samples
from secure_hfl.examples.digits import strips


class DigitsHost(HeteroNNHostScheduler):
    """Concatenates the features of all strips."""

    def load_local_ids(self) -> list[str]:
        return strips.local_ids(strips.PARTIES[0])

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        return strips.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return strips.bottom_model(strips.PARTIES[0])

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=strips.LEARNING_RATE, momentum=0.9)

    def iterate_train_feature(
        self, feature_model: nn.Module, train_ids: set[str]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for ids, pixels in strips.batches(strips.PARTIES[0], train_ids, train_ids, self.current_round):
            self.confirm_batch_ids(ids)
            yield feature_model(pixels), strips.labels(ids)

    def iterate_test_feature(
        self, feature_model: nn.Module, test_ids: set[str]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for ids, pixels in strips.batches(strips.PARTIES[0], test_ids, self.train_ids):
            self.confirm_batch_ids(ids)
            yield feature_model(pixels), strips.labels(ids)

    def build_infer_model(self) -> nn.Module:
        self.loss_function = strips.loss_function(self.train_ids)
        self.training_loss = self.label_privacy.loss if self.label_privacy else self.loss_function
        return strips.top_model()

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=strips.LEARNING_RATE, momentum=0.9)

    def _fuse(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([features[party] for party in strips.PARTIES], dim=1)

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
        figures = {**strips.figures(logits, labels), "average_loss": float(self.loss_function(logits, labels))}
        logger.info("Test set: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        for name, value in figures.items():
            self.tb_writer.add_scalar(f"test_results/{name}", value, self.current_round)


if __name__ == "__main__":
    DigitsHost(
        strips.PARTIES[0],
        max_rounds=5,
        log_rounds=1,
        projection=strips.PROJECTION,
        label_privacy=samples.label_privacy(classes=10),
    ).launch_task("YOUR_TASK_ID")
