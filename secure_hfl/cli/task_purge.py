"""`secure-hfl task purge`: what was kept for a judge, or by an interrupted PSI, goes when nobody needs it any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from secure_hfl.cli.output import console, plain
from secure_hfl.errors import TaskError

if TYPE_CHECKING:
    from secure_hfl.tasks import TaskRecord, TaskStore

Reference = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Task id, its first characters, or its name. Default: all tasks.")
]
OlderThan = Annotated[
    int | None,
    typer.Option("--older-than", metavar="DAYS", min=0, help="Only tasks in which nothing happened for so many days."),
]


def purge(reference: Reference = None, older_than: OlderThan = None) -> None:
    """Delete what --keep-for-judge has kept, SECRET files that nobody needs once no round will be opened.

    Also the ids that an interrupted private set intersection has left on the disk. Transcripts, results and the task's
    record stay. A running task is left alone.
    """
    from rich.filesize import decimal

    from secure_hfl.home import home_directory
    from secure_hfl.judge.purge import purge_task
    from secure_hfl.tasks import TaskStore

    store = TaskStore(home_directory())
    for record in _chosen(store, reference, older_than):
        purged = purge_task(store, record)
        count, size = purged.kept_files, purged.kept_bytes
        if purged.id_files:
            console().print(plain(f"Task {record.task_id} ({record.name}): deleted files of ids: {purged.id_files}"))
        if count or reference is not None:
            what = (
                f"deleted what was kept for a judge (files: {count}, {decimal(size)})" if count else "nothing is kept"
            )
            console().print(plain(f"Task {record.task_id} ({record.name}): {what}"))


def _chosen(store: TaskStore, reference: str | None, older_than: int | None) -> list[TaskRecord]:
    from secure_hfl.tasks.record import utc_now

    if reference is None and older_than is None:
        raise TaskError(
            "say which task (ID), or for how long nothing has happened in those to purge (--older-than DAYS)"
        )
    records = list(store.list()) if reference is None else [store.get(reference)]
    if older_than is not None:
        latest = utc_now() - timedelta(days=older_than)
        records = [record for record in records if record.updated_at <= latest]
    if reference is not None:
        return records  # of one that runs, it is said that it does
    return [record for record in records if not store.is_live(record.task_id)]
