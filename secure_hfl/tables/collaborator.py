"""`TableCollaborator`: a Collaborator whose features are the columns of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.tables.inspection import Wishes
from secure_hfl.tables.party import TableParty, read_table
from secure_hfl.tables.spec import TableSpec


class TableCollaborator(TableParty, HeteroNNCollaboratorScheduler):
    """`TableCollaborator("lab.csv", id="patient_id").launch_task("YOUR_TASK_ID")`; a subclass may change any step.

    Args:
        data: a path (.parquet, else CSV), or a frame of pandas, pyarrow or polars; with `query` a database's URL.
        id: the column of ids.
        spec: what the table is, or the file that says so, in place of `id` and all that is said to find it.
        query: SQL that gives the table.
        feature_key: see `HeteroNNScheduler`; with several Collaborators the party's name in the task.
        others: types, drop, missing, decimal, delimiter, encoding, test_share and batch_size of `Wishes`; and the
            arguments of `HeteroNNCollaboratorScheduler`.

    Raises:
        TableError: the table cannot be used as it is. Nothing has been sent then.
    """

    def __init__(
        self,
        data: Any,
        id: str | None = None,
        spec: TableSpec | Path | str | None = None,
        query: str | None = None,
        feature_key: str = "collaborator",
        **others: Any,
    ) -> None:
        wishes = Wishes.taken_from(id, others)
        super().__init__(feature_key, **others)
        self.table = read_table(data, spec, query, wishes)
