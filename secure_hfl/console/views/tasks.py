"""All tasks of this party."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from secure_hfl.console.context import context_of, words_of
from secure_hfl.console.page import render
from secure_hfl.console.words import Words
from secure_hfl.tasks import TaskRecord
from secure_hfl.tasks.view import state_of

MAX_SEARCH = 100


def tasks(request: Request) -> Response:
    """The list, the newest first."""
    store = context_of(request).store
    wanted = request.query_params.get("q", "").strip()[:MAX_SEARCH]
    known = store.list()
    rows = [(record, state_of(store, record)) for record in known]
    rows = [row for row in rows if _fits(*row, words_of(request), wanted)]
    return render(request, "tasks.html.j2", rows=rows, total=len(known), wanted=wanted)


def _fits(record: TaskRecord, state: str, words: Words, wanted: str) -> bool:
    said = (record.task_id, record.name, record.scheme, state, words(f"state.{state}"))
    names = (party.name for party in record.participants)
    return any(wanted.casefold() in each.casefold() for each in (*said, *names))


routes = [Route("/", tasks, name="tasks")]
