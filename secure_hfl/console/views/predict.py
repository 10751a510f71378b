"""Use what a task has trained: the host asks for predictions, a collaborator serves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from protocols.core.errors import SecureHflError
from secure_hfl.console.context import context_of, task_of
from secure_hfl.console.feed import Look, Shown, follow, position
from secure_hfl.console.forms import bytes_of, files_in, form_of, lines_in, takes, text_in
from secure_hfl.console.log_tail import LogTail
from secure_hfl.console.page import fragment, render_task
from secure_hfl.errors import TaskError
from secure_hfl.prediction.budget import PLACE, BudgetUse, PredictionBudget
from secure_hfl.supervision.predictions import PredictionRun, ServingRun, Work, last_script
from secure_hfl.supervision.script_folders import Choice, ScriptFolders
from secure_hfl.tasks import TaskRecord
from secure_hfl.tasks.record import utc_now

MAX_IDS = 64 << 20
SHOWN_ROWS = 200


class PredictParts:
    """What the page shows of one task.

    Args:
        request: whose language it is, and which task.
    """

    def __init__(self, request: Request) -> None:
        context, self._record = context_of(request), task_of(request)
        self._request, self._scripts = request, ScriptFolders(context.scripts)
        self._store = context.store
        self._is_host = self._record.role == "host"
        self._predicting = PredictionRun(self._store, self._record.task_id)
        self._serving = ServingRun(self._store, self._record.task_id)
        process = self._predicting.process if self._is_host else self._serving.process
        self.log = LogTail((process.log,))
        self._last = process
        self._counted = _Counted(self._store.directory(self._record.task_id), self._record)
        self._drawn: tuple[object, Markup] | None = None

    def look(self) -> Shown:
        """As it is now."""
        run = self._predicting if self._is_host else self._serving
        state, reason = run.state()
        last = self._last.last()
        use = None if self._is_host else self._counted.use()
        key = state, reason, last, use
        if self._drawn is None or self._drawn[0] != key:
            table = self._predicting.table(SHOWN_ROWS) if self._is_host and state is Work.DONE else None
            values = {
                "record": self._record,
                "state": state.value,
                "reason": reason,
                "use": use,
                "last": last,
                "table": table,
                "choices": self._scripts.choices(self._record),
                "folders": self._scripts.folders,
                "chosen": last_script(self._store, self._record.task_id, self._last),
            }
            template = "part_prediction.html.j2" if self._is_host else "part_serving.html.j2"
            self._drawn = key, fragment(self._request, template, **values)
        return Shown({"predict": self._drawn[1]}, state.value, state is not Work.RUNNING)


class _Counted:
    """A collaborator's counts, read again when they have changed or another day has begun."""

    def __init__(self, directory: Path, record: TaskRecord) -> None:
        self._path = directory / PLACE
        self._budget = PredictionBudget(self._path, record.party, record.limits.limits)
        self._read: tuple[object, BudgetUse | None] | None = None

    def use(self) -> BudgetUse | None:
        """What was used; None: nobody can say."""
        status = self._path.stat() if self._path.exists() else None
        key = utc_now().date(), status and (status.st_mtime_ns, status.st_size)
        if self._read is None or self._read[0] != key:
            try:
                self._read = key, self._budget.use()
            except TaskError:
                self._read = key, None
        return self._read[1]


def predict(request: Request) -> Response:
    """The page."""
    return _page(request)


def _page(request: Request, problem: Exception | None = None) -> Response:
    parts = PredictParts(request)
    shown = parts.look()
    text, _ = parts.log.read()
    return render_task(
        request,
        "predict.html.j2",
        400 if problem else 200,
        parts=shown.parts,
        position=position(shown.position, parts.log),
        problem=problem,
        log=text,
        lines=escape,
    )


async def events(request: Request) -> Response:
    """The page's part and log, as they change."""

    def source() -> tuple[Look, LogTail]:
        parts = PredictParts(request)
        return parts.look, parts.log

    return await run_in_threadpool(lambda: follow(request, *source()))


@takes(MAX_IDS)
def ask(request: Request) -> Response:
    """Predict the ids that were typed or uploaded."""

    def act() -> None:
        form = form_of(request)
        files = files_in(form, "file")
        if files:
            data, kind = bytes_of(files[0], MAX_IDS, "a list of ids"), PurePath(files[0].filename or "").suffix.lower()
        else:
            data, kind = lines_in(form, "ids"), ".txt"
        PredictionRun(context_of(request).store, task_of(request).task_id).start(_script(request), data, kind)

    return _then_back(request, act)


def table(request: Request) -> Response:
    """The last table, to keep."""
    record = task_of(request)
    run = PredictionRun(context_of(request).store, record.task_id)
    if not run.table_file.exists():
        raise HTTPException(404)
    return FileResponse(run.table_file, media_type="text/csv", filename="predictions.csv")


def serve(request: Request) -> Response:
    """Begin to answer the host."""
    run = ServingRun(context_of(request).store, task_of(request).task_id)
    return _then_back(request, lambda: run.start(_script(request)))


def stop(request: Request) -> Response:
    """End that."""
    return _then_back(request, ServingRun(context_of(request).store, task_of(request).task_id).stop)


def _script(request: Request) -> Choice:
    return ScriptFolders(context_of(request).scripts).find(text_in(form_of(request), "script"), task_of(request))


def _then_back(request: Request, act: Callable[[], object]) -> Response:
    record = task_of(request)
    try:
        act()
    except SecureHflError as error:
        return _page(request, error)
    return RedirectResponse(f"/tasks/{record.task_id}/predict", 303)


routes = [
    Route("/tasks/{task}/predict", predict, name="task.predict"),
    Route("/tasks/{task}/predict/events", events),
    Route("/tasks/{task}/predict/ask", ask, methods=["POST"]),
    Route("/tasks/{task}/predict/table", table),
    Route("/tasks/{task}/predict/serve", serve, methods=["POST"]),
    Route("/tasks/{task}/predict/stop", stop, methods=["POST"]),
]
