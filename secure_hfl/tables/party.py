"""What `TableHost` and `TableCollaborator` share: ids, split, encoding, bottom model and batches of a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from secure_hfl.errors import TableError
from secure_hfl.one_line_errors import one_line_errors
from secure_hfl.schedulers.base import HeteroNNScheduler
from secure_hfl.tables.encoding import Encoding
from secure_hfl.tables.inspection import Wishes, inspect
from secure_hfl.tables.networks import LEARNING_RATE, WEIGHT_DECAY, batch_size, bottom_model
from secure_hfl.tables.rows import TableRows
from secure_hfl.tables.sources import open_source
from secure_hfl.tables.spec import TableSpec
from secure_hfl.tables.split import pieces, shuffled, split, split_key

ENCODING = "encoding.json"
"""Among the results: what the encoding was fitted to, for predictions and for a task that goes on."""

PREDICTED_AT_ONCE = 1024

Rows = npt.NDArray[np.int64]


def read_table(data: Any, spec: TableSpec | Path | str | None, query: str | None, wishes: Wishes | None) -> TableRows:
    """A table in memory.

    Args:
        data: see `open_source`.
        spec: what it is, or the file that says so; None: it is found, as `wishes` say.
        query: SQL.
        wishes: without a spec.

    Raises:
        TableError: it cannot be used; on one line, where a script does not catch it.
    """
    with one_line_errors():
        if isinstance(spec, (str, Path)):
            spec = TableSpec.load(spec)
        if spec is None and wishes is None:
            raise TableError("say which column has the ids (id=...), or give a spec")
        said = wishes if spec is None else spec.reading
        assert said is not None  # noqa: S101 - looked at above
        source = open_source(data, query, said.delimiter, said.encoding)
        if spec is None:
            assert wishes is not None  # noqa: S101 - looked at above
            spec = inspect(source, wishes).spec
        return TableRows(source, spec)


class TableParty(HeteroNNScheduler):
    """The methods of a scheduler that a table gives. Every one may be overridden.

    Attributes:
        table: the rows.
    """

    table: TableRows
    _encoding: Encoding | None = None
    _encoded_for: object = None

    @property
    def spec(self) -> TableSpec:
        """What the table is."""
        return self.table.spec

    # Samples ---------------------------------------------------------------------------------------------------------

    def load_local_ids(self) -> list[str]:
        """See `HeteroNNScheduler`."""
        return self.table.ids

    def split_dataset(self, id_intersection: set[str]) -> tuple[set[str], set[str]]:
        """By a keyed hash of the id. See `HeteroNNScheduler`."""
        return split(split_key(self.task_id), id_intersection, self.spec.test_share)

    @property
    def encoding(self) -> Encoding:
        """As fitted to this party's training rows: when it is first asked for, and kept among the results."""
        train_ids = self.train_ids
        if self._encoding is None or self._encoded_for is not train_ids:
            self._encoding, self._encoded_for = self._fitted(train_ids), train_ids
        return self._encoding

    def _fitted(self, train_ids: Collection[str]) -> Encoding:
        results = self._running.results
        kept = None if results is None else results / ENCODING
        if kept is not None and kept.exists():  # it goes on, or predicts: results of earlier runs are gone
            return Encoding.load(kept)
        # Sorted, so that sums come out alike in every process.
        encoding = Encoding.fit(self.table, np.sort(self.table.rows_of(list(train_ids))))
        if kept is not None and kept.parent.exists():
            encoding.save(kept)
        return encoding

    # The bottom model ------------------------------------------------------------------------------------------------

    @property
    def encoded_width(self) -> int:
        """Inputs of the bottom model."""
        return self.encoding.width

    def build_feature_model(self) -> nn.Module:
        """See `HeteroNNScheduler`."""
        return bottom_model(self.encoded_width, self.spec.network)

    def build_feature_optimizer(self, feature_model: nn.Module) -> torch.optim.Optimizer:
        """See `HeteroNNScheduler`."""
        return torch.optim.AdamW(feature_model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    # Batches ---------------------------------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        """Samples in a batch: as all parties count them."""
        return self.spec.batch_size or batch_size(len(self.train_ids))

    def inputs_of(self, rows: Rows) -> torch.Tensor:
        """[rows, encoded_width] float32."""
        return torch.from_numpy(self.encoding.inputs(self.table, rows))

    def batch_of(self, feature_model: nn.Module, rows: Rows) -> Any:
        """What the iterators yield for these rows of the table."""
        return feature_model(self.inputs_of(rows))

    def iterate_train_feature(self, feature_model: nn.Module, train_ids: Collection[str]) -> Iterator[Any]:
        """In an order that every round has of its own. See `HeteroNNScheduler`."""
        ids = list(train_ids)
        order = shuffled(split_key(self.task_id), self.current_round, len(ids))
        yield from self._batches(feature_model, [ids[at] for at in order.tolist()])

    def iterate_test_feature(self, feature_model: nn.Module, test_ids: Collection[str]) -> Iterator[Any]:
        """See `HeteroNNScheduler`."""
        yield from self._batches(feature_model, list(test_ids))

    def _batches(self, feature_model: nn.Module, ids: Sequence[str]) -> Iterator[Any]:
        rows, start = self.table.rows_of(ids), 0
        for some in pieces(ids, self.batch_size):
            self.confirm_batch_ids(some)
            yield self.batch_of(feature_model, rows[start : start + len(some)])
            start += len(some)

    def iterate_prediction_feature(self, feature_model: nn.Module, ids: list[str]) -> Iterator[Any]:
        """See `HeteroNNScheduler`."""
        for some in pieces(ids, PREDICTED_AT_ONCE):
            yield self.batch_of(feature_model, self.table.rows_of(some))
