"""A collaborator's dry run: made-up gradients come back for its features."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures
from secure_hfl.dry_run.batches import as_array
from secure_hfl.dry_run.run import DryParty, RolePart
from secure_hfl.engine.bottom_step import step_bottom_model
from secure_hfl.engine.models import CollaboratorModels
from secure_hfl.engine.user_code import iterator_name
from secure_hfl.schemes import is_plaintext


class CollaboratorPart(RolePart):
    """Of a collaborator."""

    def __init__(self, party: DryParty) -> None:
        self._party = party
        self._models = CollaboratorModels(party.user)

    def build(self) -> CollaboratorModels:
        """See the base."""
        self._party.shown.models = models = self._models
        with self._party.findings.step("models"):
            models.build()
        self._party.report_model("build_feature_model", models.feature_model, models.optimizer)
        return models

    def train(self) -> None:
        """See the base."""
        party, optimizer = self._party, self._models.optimizer
        batches: list[torch.Tensor] = []
        with party.findings.step("iterate_train_feature"):
            for features in self._features(training=True):
                batches.append(features)
                if optimizer is not None:
                    rows, width = features.shape
                    step_bottom_model(features, as_array(party.made_up(rows, width) / rows), optimizer)
            party.batches.report("iterate_train_feature", batches)
            party.check_parameters()
        if optimizer is not None and not batches[0].requires_grad:
            detail = "the features do not come out of feature_model with a gradient, so it is not trained"
            party.findings.add("iterate_train_feature", "warn", detail)

    def test(self) -> None:
        """See the base."""
        findings = self._party.findings
        if not self._party.shown.test_ids:
            findings.add("iterate_test_feature", "warn", "not called: split_dataset returned no test ids")
            return
        with findings.step("iterate_test_feature"), torch.no_grad():
            self._party.batches.report("iterate_test_feature", list(self._features(training=False)))

    def _features(self, training: bool) -> Iterator[torch.Tensor]:
        party, name = self._party, iterator_name(training)
        for batch in party.batches.draw(training):
            yielded = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            features = party.batches.check(name, yielded)
            if party.scheme is None or not is_plaintext(party.scheme):
                QuantisedFeatures.of(party.key, as_array(features), LayerParameters())  # raises where they do not fit
            yield features
