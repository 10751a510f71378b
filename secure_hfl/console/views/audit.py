"""What crossed the wire in a task, who learned what, and whether it holds: computed anew whenever it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocols.core.sentence import say
from secure_hfl.audit.audit_files import Audited, audit_files
from secure_hfl.audit.page import page, shown_values
from secure_hfl.console.context import context_of, task_of, words_of
from secure_hfl.console.downloads import attachment
from secure_hfl.console.forms import files_in, form_of, takes, text_in
from secure_hfl.console.page import render_task
from secure_hfl.errors import ConfigurationError
from secure_hfl.tasks import TaskRecord, TaskStore
from secure_hfl.tasks.view import transcripts_of

MAX_TRANSCRIPTS = 256 << 20
_COPY = 1 << 20
_KINDS = {"predictions": "prediction", "overlap": "overlap"}
"""Of transcripts, by the folder that they are in."""


@dataclass(frozen=True)
class Found:
    """A transcript of the task.

    Attributes:
        name: below the task's directory.
        size: in bytes.
        changed: when it was last written to.
        kind: what was done: "training", "prediction" or "overlap".
    """

    name: str
    size: int
    changed: datetime
    kind: str


def ask(request: Request) -> Response:
    """Which transcripts there are."""
    return render_task(
        request, "audit.html.j2", found=found_in(context_of(request).store, task_of(request)), problem=None
    )


@takes(MAX_TRANSCRIPTS)
def audit(request: Request) -> Response:
    """The verdict on one of them, compared with the other end's if that was uploaded; or the same as a file to keep."""
    context, record, form = context_of(request), task_of(request), form_of(request)
    known = {each.name for each in found_in(context.store, record)}
    name = text_in(form, "transcript")
    if name not in known:
        raise ConfigurationError(say("there is no transcript {name!r} in this task; choose one of the list", name=name))
    with TemporaryDirectory(prefix="secure-hfl-audit-") as directory:
        peer = _saved(files_in(form, "peer"), Path(directory))
        own = context.store.directory(record.task_id) / name
        audited = context.apart(audit_files, own, peer, (), _pinned(record), with_timeline=True)
    if text_in(form, "as") == "file":
        words = words_of(request)
        report = page(audited, words.said, words.language)
        return attachment(report.encode(), f"audit-{record.name}.html", "text/html; charset=utf-8")
    return _shown(request, audited, name)


def _shown(request: Request, audited: Audited, name: str) -> Response:
    values = shown_values(audited, words_of(request).said)
    return render_task(request, "audit_report.html.j2", name=name, verdict=audited.verdict.name.lower(), **values)


def _pinned(record: TaskRecord) -> tuple[str, ...]:
    """Whose certificates a transcript must have: people compared them when the task was made."""
    return tuple(party.fingerprint.replace(":", "").lower() for party in record.participants)


def found_in(store: TaskStore, record: TaskRecord) -> list[Found]:
    """The task's transcripts, the newest first."""
    directory = store.directory(record.task_id)
    found = []
    for path in map(Path, transcripts_of(store, record)):
        status, name = path.stat(), str(path.relative_to(directory))
        changed = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        found.append(Found(name, status.st_size, changed, _KINDS.get(name.partition("/")[0], "training")))
    return sorted(found, key=lambda each: each.changed, reverse=True)


def _saved(files: list[UploadFile], directory: Path) -> Path | None:
    """The other end's transcripts, under names that put them in order; the first of them."""
    paths = [directory / f"uploaded-{number}.transcript" for number in range(1, len(files) + 1)]
    for path, file in zip(paths, files, strict=True):
        with path.open("wb") as copy:
            while piece := file.file.read(_COPY):
                copy.write(piece)
    return paths[0] if paths else None


routes = [
    Route("/tasks/{task}/audit", ask, name="task.audit"),
    Route("/tasks/{task}/audit", audit, methods=["POST"]),
]
