"""The same networks over the same rows without any protocol: joined, and each party's columns alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from secure_hfl.tables import networks
from secure_hfl.tables.encoding import Encoding
from secure_hfl.tables.figures import figures
from secure_hfl.tables.rows import TableRows
from secure_hfl.tables.spec import LabelKind
from secure_hfl.tables.split import shuffled

NORM_KEEPING = nn.init.orthogonal_


class OneProcess:
    """All that parties have, in one place.

    Args:
        key: of the split.
        train_ids, test_ids: of the samples, in order.
        host: has the labels.
        tables: whose columns are used; any of the Host's and the Collaborator's.
        seed: of weights.
    """

    def __init__(
        self,
        key: bytes,
        train_ids: list[str],
        test_ids: list[str],
        host: TableRows,
        tables: list[TableRows],
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self._key = key
        if host.spec.label is None or host.labels is None:
            raise ValueError("the Host has no labels")
        self._label = host.spec.label
        self._inputs: dict[bool, list[torch.Tensor]] = {True: [], False: []}
        self._bottoms, self._projections = nn.ModuleList(), nn.ModuleList()
        network = host.spec.network
        width = 0
        for table in tables:
            rows = table.rows_of(train_ids)
            encoding = Encoding.fit(table, np.sort(rows))
            self._inputs[True].append(torch.from_numpy(encoding.inputs(table, rows)))
            self._inputs[False].append(torch.from_numpy(encoding.inputs(table, table.rows_of(test_ids))))
            self._bottoms.append(networks.bottom_model(encoding.width, table.spec.network))
            features = table.spec.network.features
            is_projected = table is not host and len(tables) > 1
            layer = nn.Linear(features, network.projection, bias=False) if is_projected else nn.Identity()
            if is_projected:
                NORM_KEEPING(layer.weight)
            self._projections.append(layer)
            width += network.projection if is_projected else features
        self._top = networks.top_model(width, network, len(self._label.classes) or 1)
        rows = host.rows_of(train_ids)
        self._encoding = Encoding.fit(host, np.sort(rows))
        chosen = {True: rows, False: host.rows_of(test_ids)}
        self._labels = {is_training: torch.from_numpy(host.labels[each]) for is_training, each in chosen.items()}

    def _outputs(self, is_training: bool, rows: torch.Tensor) -> torch.Tensor:
        parts = [
            projection(bottom(inputs[rows]))
            for bottom, projection, inputs in zip(self._bottoms, self._projections, self._inputs[is_training])
        ]
        outputs: torch.Tensor = self._top(torch.cat(parts, 1))
        return outputs

    def _loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        encoding = self._encoding
        if self._label.kind is LabelKind.REGRESSION:
            scaled = (labels - encoding.label_mean) / encoding.label_deviation
            return nn.functional.mse_loss(outputs[:, 0], scaled.float())
        return nn.functional.cross_entropy(outputs, labels, weight=torch.tensor(encoding.class_weights))

    def train(self, rounds: int) -> dict[str, float]:
        """As a task would. Returns the figures of the last round's test."""
        own = [*self._bottoms.parameters(), *self._top.parameters()]
        steps: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(own, lr=networks.LEARNING_RATE, weight_decay=networks.WEIGHT_DECAY)
        ]
        if projected := list(self._projections.parameters()):
            steps.append(torch.optim.SGD(projected, lr=networks.PROJECTION_RATE))
        count = len(self._labels[True])
        for number in range(1, rounds + 1):
            order = torch.from_numpy(shuffled(self._key, number, count))
            for rows in order.split(networks.batch_size(count)):
                for step in steps:
                    step.zero_grad()
                self._loss(self._outputs(True, rows), self._labels[True][rows]).backward()
                for step in steps:
                    step.step()
        return self.test()

    def test(self) -> dict[str, float]:
        """Figures over the test rows."""
        with torch.no_grad():
            outputs = self._outputs(False, torch.arange(len(self._labels[False])))
        if self._label.kind is LabelKind.REGRESSION:
            outputs = outputs * self._encoding.label_deviation + self._encoding.label_mean
        return figures(self._label.kind, outputs, self._labels[False])
