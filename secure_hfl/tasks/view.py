"""What is seen of a task beside its record: the state of its process, and files that it has left."""

from __future__ import annotations

from pathlib import Path

from secure_hfl.tasks.record import TaskRecord
from secure_hfl.tasks.store import TaskStore


def state_of(store: TaskStore, record: TaskRecord) -> str:
    """The stored state, but "interrupted" where the process that ran the task is gone."""
    state = record.state.value
    return "interrupted" if state == "running" and not store.is_live(record.task_id) else state


def transcripts_of(store: TaskStore, record: TaskRecord) -> list[str]:
    """Every transcript of the task, of failed and running attempts too, the oldest attempt first."""

    def order(path: Path) -> tuple[str, int]:
        peer, _, run = path.stem.rpartition("-")
        return peer, int(run) if run.isdecimal() else 0

    directory = store.directory(record.task_id)
    patterns = ("transcripts/*.transcript", "predictions/transcripts/*.transcript", "overlap/transcripts/*.transcript")
    return [str(path) for pattern in patterns for path in sorted(directory.glob(pattern), key=order)]


def file_size(path: str) -> int | None:
    """Bytes of a file, or None if it is gone."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return None
