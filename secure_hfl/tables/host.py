"""`TableHost`: a Host whose label, and features, are columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from secure_hfl import run_options
from secure_hfl.errors import ConfigurationError
from secure_hfl.log import logger
from secure_hfl.privacy.randomized_response import RandomizedResponse
from secure_hfl.schedulers.host import HeteroNNHostScheduler
from secure_hfl.tables import networks
from secure_hfl.tables.figures import figures
from secure_hfl.tables.inspection import Wishes
from secure_hfl.tables.party import Rows, TableParty, read_table
from secure_hfl.tables.rows import telltale_columns
from secure_hfl.tables.spec import LabelKind, TableSpec
from secure_hfl.tasks.record import SUM

LOG_ROUNDS = 5


class TableHost(TableParty, HeteroNNHostScheduler):
    """`TableHost("patients.parquet", id="patient_id", label="outcome").launch_task("YOUR_TASK_ID")`.

    A table with nothing but ids and labels makes a Host without features. Classes weigh the same in all; with
    `label_privacy`, whose bound weights from true labels would break, every sample does.

    Args:
        data, id, spec, query: see `TableCollaborator`.
        label: the column to predict.
        feature_key, max_rounds, projection, projection_lr, log_rounds: see `HeteroNNHostScheduler`; rounds and
            projection by default as `secure_hfl/tables/networks.py` has it.
        label_epsilon: `label_privacy=RandomizedResponse(label_epsilon, classes)`, which protects training labels for
            the whole task.
        others: label_kind and with_unlabelled of `Wishes`, all that `TableCollaborator` takes of it, and the other
            arguments of `HeteroNNHostScheduler`.

    Raises:
        TableError: the table cannot be used as it is. Nothing has been sent then.
    """

    def __init__(
        self,
        data: Any,
        id: str | None = None,
        label: str | None = None,
        spec: TableSpec | Path | str | None = None,
        query: str | None = None,
        feature_key: str = "host",
        max_rounds: int | None = None,
        projection: Mapping[str, int] | int | None = None,
        projection_lr: float = networks.PROJECTION_RATE,
        log_rounds: int = LOG_ROUNDS,
        label_epsilon: float | None = None,
        **others: Any,
    ) -> None:
        wishes = Wishes.taken_from(id, said := {"label": label, **others})
        if spec is None and (id is None or label is None):
            raise ConfigurationError("a Host's table needs id=... and label=..., or a spec")
        self.table = read_table(data, spec, query, wishes)
        if self.table.spec.label is None:
            raise ConfigurationError("the spec has no label, so it is a Collaborator's")
        self.label = self.table.spec.label
        for name in telltale_columns(self.table):
            logger.warning(f"Column {name!r} tells the label of every row. Leave it out unless it is known before.")
        if label_epsilon is not None:
            said["label_privacy"] = self._label_privacy(label_epsilon)
        super().__init__(
            feature_key,
            max_rounds=networks.rounds(len(self.table.ids)) if max_rounds is None else max_rounds,
            projection=self.table.spec.network.projection if projection is None else projection,
            projection_lr=projection_lr,
            log_rounds=log_rounds,
            is_feature_holder=bool(self.table.spec.columns),
            **said,
        )

    def _label_privacy(self, epsilon: float) -> RandomizedResponse:
        if self.label.kind is LabelKind.REGRESSION:
            raise ConfigurationError("label_epsilon protects classes, and this label is a number")
        return RandomizedResponse(epsilon, len(self.label.classes))

    def load_local_ids(self) -> list[str]:
        """All with a label; all, when a finished task predicts. See `HeteroNNScheduler`."""
        return self.table.ids if self.current_round else self.table.labelled_ids

    # Batches ---------------------------------------------------------------------------------------------------------

    def labels_of(self, rows: Rows) -> torch.Tensor:
        """Class numbers, or numbers in the label's own unit."""
        assert self.table.labels is not None  # noqa: S101 - a Host's spec has a label
        labels = self.table.labels[rows]
        return torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32))

    def batch_of(self, feature_model: nn.Module, rows: Rows) -> Any:
        """See `TableParty`; with labels."""
        labels = self.labels_of(rows)
        return (feature_model(self.inputs_of(rows)), labels) if self.is_feature_holder else labels

    # The top model ---------------------------------------------------------------------------------------------------

    @property
    def outputs(self) -> int:
        """Of the top model: one number, or one for each class."""
        return len(self.label.classes) or 1

    @property
    def fused_width(self) -> int:
        """Inputs of the top model: own features, and every projection."""
        if self.projection is False or run_options.current().projection is False:
            raise ConfigurationError(
                "a table's top model is made before others say how wide their features are: it needs projection "
                "layers, so leave out --no-projection"
            )
        own = self._own_features() if self.is_feature_holder else 0
        names = (SUM,) if self.fusion == SUM else self._running.collaborators
        widths = self.projection if isinstance(self.projection, Mapping) else {}
        default = self.projection if type(self.projection) is int else self.spec.network.projection
        return own + sum(widths.get(name, default) for name in names)

    def _own_features(self) -> int:
        """Outputs of the bottom model as it was built, which a script may have changed."""
        model = self.feature_model
        was_training = model.training
        with torch.no_grad():
            outputs = model.eval()(torch.zeros(1, self.encoded_width))
        model.train(was_training)
        return int(outputs.shape[1])

    def fuse(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """[batch, fused_width]: own features, then the projections by key."""
        keys = sorted(features, key=lambda key: (key != self.feature_key, key))
        return torch.cat([features[key] for key in keys], 1)

    def build_infer_model(self) -> nn.Module:
        """See `HeteroNNHostScheduler`."""
        return networks.top_model(self.fused_width, self.spec.network, self.outputs)

    def build_infer_optimizer(self, infer_model: nn.Module) -> torch.optim.Optimizer:
        """See `HeteroNNHostScheduler`."""
        return torch.optim.AdamW(
            infer_model.parameters(), lr=networks.LEARNING_RATE, weight_decay=networks.WEIGHT_DECAY
        )

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Of a batch: squared error of the standardised label, or cross-entropy weighed by class."""
        if self.label.kind is LabelKind.REGRESSION:
            scaled = (labels.to(outputs.dtype) - self.encoding.label_mean) / self.encoding.label_deviation
            return functional.mse_loss(outputs[:, 0], scaled)
        if self.label_privacy is not None:
            return self.label_privacy.loss(outputs, labels)
        return functional.cross_entropy(outputs, labels, weight=torch.tensor(self.encoding.class_weights))

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """See `HeteroNNHostScheduler`."""
        self.optimizer.zero_grad()
        loss = self.loss(self.infer_model(self.fuse(feature_projection)), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def predict_a_batch(self, feature_projection: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits of the classes, or numbers in the label's own unit. See `HeteroNNHostScheduler`."""
        outputs: torch.Tensor = self.infer_model(self.fuse(feature_projection))
        if self.label.kind is LabelKind.REGRESSION:
            return outputs * self.encoding.label_deviation + self.encoding.label_mean
        return outputs

    def build_fallback_model(self) -> nn.Module:
        """One linear layer; numbers in the label's own unit. See `HeteroNNHostScheduler`."""
        head = nn.Linear(self._own_features(), self.outputs)
        if self.label.kind is not LabelKind.REGRESSION:
            return head
        return nn.Sequential(head, networks.InUnit(self.encoding.label_mean, self.encoding.label_deviation))

    def fallback_loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As the loss of the task. See `HeteroNNHostScheduler`."""
        if self.label.kind is LabelKind.REGRESSION:
            outputs = (outputs - self.encoding.label_mean) / self.encoding.label_deviation
        return self.loss(outputs, labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the label; none of a regression. See `HeteroNNHostScheduler`."""
        return self.label.classes

    def test(
        self, batched_feature_projections: list[dict[str, torch.Tensor]], batched_labels: list[torch.Tensor]
    ) -> None:
        """Writes `test_results/...`. See `HeteroNNHostScheduler`."""
        outputs = torch.cat([self.predict_a_batch(each) for each in batched_feature_projections])
        found = figures(self.label.kind, outputs, torch.cat(batched_labels))
        for name, value in found.items():
            self.tb_writer.add_scalar(f"test_results/{name}", value, self.current_round)
        more = {name: value for name, value in found.items() if name not in ("accuracy", "average_loss")}
        if more:
            said = ", ".join(f"{name} {value:.4g}" for name, value in more.items())
            logger.info(f"Round {self.current_round}, validation: {said}.")
