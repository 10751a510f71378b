"""A collaborator's dry run: made-up gradients come back for its features."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from secure_hfl.dry_run.base import DryRun, check_encryptable
from secure_hfl.engine.models import CollaboratorModels


class CollaboratorDryRun(DryRun):
    """Of a collaborator."""

    role = "collaborator"
    models: CollaboratorModels

    def _build(self) -> None:
        self.models = CollaboratorModels(self.user)
        with self.step("models"):
            self.models.build()
        self.found_model("build_feature_model", self.models.feature_model, self.models.optimizer)

    def _features(self, training: bool) -> Iterator[torch.Tensor]:
        name = "iterate_train_feature" if training else "iterate_test_feature"
        for batch in self.some_batches(training):
            yielded = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            features = self.check_batch(name, yielded)
            check_encryptable(self.party, features, self.scheme_name)
            yield features

    def _check_training(self) -> None:
        optimizer = self.models.optimizer
        batches: list[torch.Tensor] = []
        with self.step("iterate_train_feature"):
            for features in self._features(training=True):
                batches.append(features)
                if optimizer is not None:
                    optimizer.zero_grad()
                    if features.requires_grad:
                        rows, width = features.shape
                        features.backward((self.made_up(rows, width) / rows).to(features))
                    optimizer.step()
            self.found_batches("iterate_train_feature", batches)
            self.check_parameters()
        if optimizer is not None and not batches[0].requires_grad:
            detail = "the features do not come out of feature_model with a gradient, so it is not trained"
            self.found("iterate_train_feature", "warn", detail)

    def _check_testing(self) -> None:
        if not self.test_ids:
            self.found("iterate_test_feature", "warn", "not called: split_dataset returned no test ids")
            return
        with self.step("iterate_test_feature"), torch.no_grad():
            self.found_batches("iterate_test_feature", list(self._features(training=False)))
