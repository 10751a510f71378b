"""A task as people and programs read it: what `task list` and `task show` print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from secure_hfl.cli.output import console, plain, table
from secure_hfl.cli.task_terms import allowed_text, planned_text

if TYPE_CHECKING:
    from rich.table import Table

    from secure_hfl.tasks import TaskRecord, TaskStore

COLOURS = {"created": "cyan", "running": "yellow", "interrupted": "magenta", "finished": "green", "failed": "red"}
"""Of states."""


def print_files(heading: str, paths: list[str]) -> None:
    """A table of them, with their sizes; nothing where there are none."""
    from secure_hfl.tasks.view import file_size

    if not paths:
        return
    grid = table(heading, "Bytes")
    for path in paths:
        size = file_size(path)
        grid.add_row(plain(path), "missing" if size is None else f"{size:,}")
    console().print(grid)


def _kept_text(store: TaskStore, record: TaskRecord) -> str | None:
    from secure_hfl.judge.kept_rounds import kept_sizes

    count = len(kept_sizes(store.directory(record.task_id)))
    return f"SECRET files: {count}; delete with: secure-hfl task purge {record.task_id}" if count else None


def _overlap_text(store: TaskStore, record: TaskRecord) -> str | None:
    from secure_hfl.overlap.runs import results_of

    return "\n".join(each.text() for each in results_of(store.directory(record.task_id))) or None


def _encryption_text(store: TaskStore, record: TaskRecord) -> str | None:
    """What the last manifest says of it; None before there is one, and where there is nothing to say."""
    from protocols.core.errors import InvalidInput
    from secure_hfl.errors import ConfigurationError
    from secure_hfl.schemes import load_scheme
    from secure_hfl.tasks.view import transcripts_of
    from secure_hfl.transcript import agreed_terms

    terms = next(filter(None, (agreed_terms(Path(path)) for path in reversed(transcripts_of(store, record)))), None)
    if terms is None:
        return None
    try:
        return load_scheme(terms.scheme).encryption(terms.scheme_parameters) or None
    except (ConfigurationError, InvalidInput):  # a plug-in that is gone
        return None


def metric_text(name: str, value: object) -> str:
    """As people read it; --json has the numbers."""
    if isinstance(value, float) and name == "accuracy":
        return f"{value:.2%}"
    if type(value) is int:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def details(store: TaskStore, record: TaskRecord) -> Table:
    """What there is to know of a task, without its parties, metrics and files."""
    from secure_hfl.schemes import is_plaintext
    from secure_hfl.tasks.view import state_of

    state = state_of(store, record)
    check = record.data_check
    verdict = "not done" if check is None else f"{'passed' if check.passed else 'FAILED'}: {check.message}"
    when = "" if check is None else f" ({check.checked_at:%Y-%m-%d %H:%M} UTC)"
    rows = {
        "Task": record.task_id,
        "Name": record.name,
        "This party": f"{record.party} ({record.role})",
        "Address": record.address,
        "Scheme": record.scheme + (" (NOT ENCRYPTED)" if is_plaintext(record.scheme) else ""),
        "Encryption": _encryption_text(store, record),
        "Host plans": planned_text(record.terms),
        "Allowed here": allowed_text(record.limits) if record.role == "collaborator" else None,
        "State": state,
        "Data check": verdict + when,
        "Overlap": _overlap_text(store, record),
        "Rounds finished": str(record.rounds_finished),
        "Failure": record.failure,
        "Created": f"{record.created_at:%Y-%m-%d %H:%M} UTC",
        "Updated": f"{record.updated_at:%Y-%m-%d %H:%M} UTC",
        "For a judge": _kept_text(store, record),
        "Files": str(store.directory(record.task_id)),
    }
    grid = table("", "", header=False)
    for label, value in rows.items():
        if value is not None:
            grid.add_row(label, plain(value, COLOURS[state] if label == "State" else ""))
    return grid


def to_json(store: TaskStore, record: TaskRecord) -> dict[str, object]:
    """All of it, for programs."""
    from secure_hfl.overlap.runs import results_of
    from secure_hfl.tasks.view import file_size, state_of, transcripts_of

    values: dict[str, object] = record.model_dump(mode="json")
    values["state"] = state_of(store, record)
    values["overlap"] = [each.model_dump(mode="json") for each in results_of(store.directory(record.task_id))]
    values["encryption"] = _encryption_text(store, record)
    values["participants"] = [
        {**party.model_dump(mode="json"), "fingerprint": party.fingerprint} for party in record.participants
    ]
    values["artifacts"] = [{"path": path, "bytes": file_size(path)} for path in record.artifacts]
    transcripts = transcripts_of(store, record)
    values["transcripts"] = [{"path": path, "bytes": file_size(path)} for path in transcripts]
    return values
