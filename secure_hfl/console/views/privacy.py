"""What a task may tell whom: what was agreed on, and what that comes to."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from protocols.transcript.preamble import AgreedTerms
from secure_hfl.console.context import context_of, task_of
from secure_hfl.console.drafts import LIMITS
from secure_hfl.console.page import render_task
from secure_hfl.console.statements import statement_of
from secure_hfl.judge.kept_rounds import kept_sizes
from secure_hfl.judge.purge import purge_task
from secure_hfl.tasks import TaskRecord, TaskStore
from secure_hfl.tasks.view import transcripts_of
from secure_hfl.transcript import agreed_terms


def privacy(request: Request) -> Response:
    """Policies, the bound for labels, and the statement."""
    record = task_of(request)
    names = [each.name for each in record.collaborators]
    about = names if record.role == "host" else [record.party]
    store = context_of(request).store
    agreed, kept = last_agreed(store, record), kept_sizes(store.directory(record.task_id))
    return render_task(
        request,
        "privacy.html.j2",
        statement=statement_of(record.scheme, record.host.name, names, record.terms, about),
        limits=LIMITS,
        epsilon=agreed.label_epsilon if agreed is not None else None,
        was_agreed=agreed is not None,
        kept=len(kept),
        kept_bytes=sum(kept),
    )


def purge(request: Request) -> Response:
    """Delete what was kept for a judge."""
    record = task_of(request)
    purge_task(context_of(request).store, record)
    return RedirectResponse(f"/tasks/{record.task_id}/privacy", 303)


def last_agreed(store: TaskStore, record: TaskRecord) -> AgreedTerms | None:
    """What the parties agreed on last; None before they have met."""
    paths = (Path(path) for path in reversed(transcripts_of(store, record)))
    return next(filter(None, map(agreed_terms, paths)), None)


routes = [
    Route("/tasks/{task}/privacy", privacy, name="task.privacy"),
    Route("/tasks/{task}/privacy/purge", purge, methods=["POST"]),
]
