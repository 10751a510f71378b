"""A collaborator's dry run: made-up gradients come back for its features."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from secure_hfl.dry_run.base import DryRun, check_encryptable
from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler


class CollaboratorDryRun(DryRun[HeteroNNCollaboratorScheduler]):
    """Of a collaborator."""

    role = "collaborator"
    optimizer: torch.optim.Optimizer | None

    def _build(self) -> None:
        with self.step("build_feature_model"):
            self.optimizer = self.build_feature_part()
        self.found_model("build_feature_model", self.feature_model, self.optimizer)

    def _features(self, training: bool) -> Iterator[torch.Tensor]:
        name = "iterate_train_feature" if training else "iterate_test_feature"
        for batch in self.some_batches(training):
            yielded = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            features = self.check_batch(name, yielded)
            check_encryptable(self.party, features, self.scheme_name)
            yield features

    def _check_training(self) -> None:
        batches: list[torch.Tensor] = []
        with self.step("iterate_train_feature"):
            for features in self._features(training=True):
                batches.append(features)
                if self.optimizer is not None:
                    self.optimizer.zero_grad()
                    if features.requires_grad:
                        rows, width = features.shape
                        features.backward((self.made_up(rows, width) / rows).to(features))
                    self.optimizer.step()
            self.found_batches("iterate_train_feature", batches)
            self.check_parameters("a step", {"feature_model": self.feature_model})
        if self.optimizer is not None and not batches[0].requires_grad:
            detail = "the features do not come out of feature_model with a gradient, so it is not trained"
            self.found("iterate_train_feature", "warn", detail)

    def _check_testing(self) -> None:
        if not self.test_ids:
            self.found("iterate_test_feature", "warn", "not called: split_dataset returned no test ids")
            return
        with self.step("iterate_test_feature"), torch.no_grad():
            self.found_batches("iterate_test_feature", list(self._features(training=False)))
