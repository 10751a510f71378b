"""Deletes what a task keeps for a judge, once no dispute can come any more."""

from __future__ import annotations

from secure_hfl.errors import TaskError
from secure_hfl.judge.kept_rounds import delete_kept
from secure_hfl.tasks import TaskRecord, TaskStore


def purge_task(store: TaskStore, record: TaskRecord) -> tuple[int, int]:
    """Delete it. Returns how many files went, and their bytes.

    Raises:
        TaskError: the task runs, and needs them.
    """
    if store.is_live(record.task_id):
        raise TaskError(f"task {record.task_id} is running, and keeps what it needs; purge it when it has ended")
    return delete_kept(store.directory(record.task_id))
