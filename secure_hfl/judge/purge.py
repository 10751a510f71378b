"""Deletes what a task keeps beside its results, once nobody will ask for it: openings for a judge, files of ids."""

from __future__ import annotations

from dataclasses import dataclass

from secure_hfl.engine.psi_files import delete_psi_files
from secure_hfl.errors import TaskError
from secure_hfl.judge.kept_rounds import delete_kept
from secure_hfl.tasks import TaskRecord, TaskStore


@dataclass(frozen=True)
class Purged:
    """What went.

    Attributes:
        kept_files, kept_bytes: what was kept for a judge.
        id_files: what an interrupted private set intersection has left.
    """

    kept_files: int
    kept_bytes: int
    id_files: int


def purge_task(store: TaskStore, record: TaskRecord) -> Purged:
    """Delete it.

    Raises:
        TaskError: the task runs, and needs it.
    """
    if store.is_live(record.task_id):
        raise TaskError(f"task {record.task_id} is running, and keeps what it needs; purge it when it has ended")
    directory = store.directory(record.task_id)
    id_files = delete_psi_files(directory) + delete_psi_files(directory / "predictions")
    return Purged(*delete_kept(directory), id_files)
