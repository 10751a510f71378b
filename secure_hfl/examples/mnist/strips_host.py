"""The host of MNIST in strips; run it with `secure-hfl host` or `python`."""

from __future__ import annotations

from collections.abc import Iterator

from secure_hfl import HeteroNNHostScheduler, logger
from secure_hfl.examples import samples
from secure_hfl.examples.mnist import data_dir, strips

import torch  # isort: skip
import torch.nn as nn  # isort: skip
import torch.nn.functional as F  # isort: skip


class StripsHost(HeteroNNHostScheduler):
    """Concatenates the features of all strips."""

    def load_local_ids(self) -> list[str]:
        return strips.local_ids(0)

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[int], set[int]]:
        return strips.split(id_intersection)

    def build_feature_model(self) -> nn.Module:
        return strips.StripNet()

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(feature_model.parameters(), lr=0.01, momentum=0.9)

    def iterate_train_feature(
        self, feature_model: nn.Module, train_ids: set[int]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for ids, data, labels in strips.batches(data_dir(), train_ids, True, self.current_round):
            self.confirm_batch_ids(ids)
            yield feature_model(data), labels

    def iterate_test_feature(
        self, feature_model: nn.Module, test_ids: set[int]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _, data, labels in strips.batches(data_dir(), test_ids, False, self.current_round):
            yield feature_model(data), labels

    def build_infer_model(self) -> nn.Module:
        fused = strips.FEATURES + (strips.STRIPS - 1) * strips.PROJECTION_WIDTH
        return nn.Sequential(nn.Linear(fused, 20), nn.ReLU(), nn.Linear(20, 10), nn.LogSoftmax(-1))

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(infer_model.parameters(), lr=0.01, momentum=0.9)

    def _fuse(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([features[strips.feature_key(strip)] for strip in range(strips.STRIPS)], dim=1)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss_function = self.label_privacy.loss if self.label_privacy else F.nll_loss
        loss = loss_function(self.infer_model(self._fuse(feature_projection)), labels)
        loss.backward()
        self.optimizer.step()

    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        total, correct, loss = 0, 0, 0.0
        for features, labels in zip(batched_feature_projections, batched_labels):
            out = self.infer_model(self._fuse(features))
            loss += float(F.nll_loss(out, labels, reduction="sum"))
            correct += int((out.argmax(1) == labels).sum())
            total += len(labels)
        logger.info(f"Test set: accuracy {correct / total:.4f}, average loss {loss / total:.4f}")
        self.tb_writer.add_scalar("test_results/accuracy", correct / total, self.current_round)
        self.tb_writer.add_scalar("test_results/average_loss", loss / total, self.current_round)


if __name__ == "__main__":
    width = None if strips.PROJECTION_WIDTH == strips.FEATURES else strips.PROJECTION_WIDTH
    StripsHost(
        strips.feature_key(0),
        max_rounds=1,
        log_rounds=strips.LOG_ROUNDS,
        projection=width,
        schedule_timeout=strips.JOIN_SECONDS,
        label_privacy=samples.label_privacy(classes=10),
    ).launch_task("YOUR_TASK_ID")
