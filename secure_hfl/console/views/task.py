"""One task: where it stands, what can be done about it, and what happens, as it happens."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import escape
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from protocols.core.errors import SecureHflError
from secure_hfl.console.context import context_of, task_of
from secure_hfl.console.downloads import attachment
from secure_hfl.console.feed import Look, Shown, follow, position
from secure_hfl.console.forms import count_in, form_of, lines_in, text_in
from secure_hfl.console.log_tail import LogTail
from secure_hfl.console.page import render_task
from secure_hfl.console.task_parts import TaskParts
from secure_hfl.errors import ConfigurationError
from secure_hfl.supervision.data_check import DataCheckRun
from secure_hfl.supervision.local_party import LocalParty, StartOptions
from secure_hfl.supervision.script_folders import Choice, ScriptFolders
from secure_hfl.supervision.table_script import TableScriptRun


def task(request: Request) -> Response:
    """The first tab."""
    return _page(request)


def _page(request: Request, problem: Exception | None = None) -> Response:
    parts = TaskParts(request, task_of(request).task_id)
    seen = parts.look()
    log = log_of(request)
    text, _ = log.read()
    return render_task(
        request,
        "task.html.j2",
        400 if problem else 200,
        parts=parts.draw(seen),
        position=position(parts.reader.position, log),
        problem=problem,
        log=text,
        lines=escape,
    )


# What happens --------------------------------------------------------------------------------------------------------


async def events(request: Request) -> Response:
    """Parts that have changed and lines of the log, as server-sent events."""
    return await run_in_threadpool(lambda: follow(request, *source(request)))


def source(request: Request) -> tuple[Look, LogTail]:
    """What the page is sent."""
    parts = TaskParts(request, task_of(request).task_id)

    def look() -> Shown:
        seen = parts.look()
        return Shown(parts.draw(seen), parts.reader.position, seen.is_quiet)

    return look, log_of(request)


def log_of(request: Request) -> LogTail:
    """What the process printed; of a run from elsewhere, what the engine has kept."""
    context, record = context_of(request), task_of(request)
    party = LocalParty(context.store, record.task_id)
    return LogTail((party.process.log, context.store.log_file(record.task_id)))


def log_file(request: Request) -> Response:
    """The whole log, to keep."""
    path = log_of(request).path
    data = b"" if path is None else path.read_bytes()
    return attachment(data, f"{task_of(request).name}-log.txt", "text/plain; charset=utf-8")


# What can be done ----------------------------------------------------------------------------------------------------


def start(request: Request) -> Response:
    """Start or resume this party."""

    def act() -> None:
        form = form_of(request)
        rounds = count_in(form, "rounds")
        if rounds < 0:
            raise ConfigurationError("rounds: a number from 1, or nothing")
        options = StartOptions(
            resume=text_in(form, "resume") == "1",
            rounds=rounds or None,
            keep_for_judge=text_in(form, "keep_for_judge") == "1",
        )
        _party(request).start(_script(request), options)

    return _then_back(request, act)


def check(request: Request) -> Response:
    """Try this party's script out."""

    def act() -> None:
        run = DataCheckRun(context_of(request).store, task_of(request).task_id)
        run.start(_script(request), lines_in(form_of(request), "ids"))

    return _then_back(request, act)


def table(request: Request) -> Response:
    """Make a script from a table."""

    def act() -> None:
        context, form = context_of(request), form_of(request)
        chosen = ScriptFolders(context.scripts).find_table(text_in(form, "table"))
        run = TableScriptRun(context.store, task_of(request).task_id)
        run.start(chosen, text_in(form, "id_column"), text_in(form, "label"))

    return _then_back(request, act)


def pause(request: Request) -> Response:
    """End this party after its next checkpoint."""
    return _then_back(request, lambda: _party(request).pause())


def stop(request: Request) -> Response:
    """End the task for all."""
    return _then_back(request, lambda: _party(request).stop())


def kill(request: Request) -> Response:
    """End a process that does not stop."""
    return _then_back(request, lambda: _party(request).kill())


def _party(request: Request) -> LocalParty:
    return LocalParty(context_of(request).store, task_of(request).task_id)


def _script(request: Request) -> Choice:
    folders = ScriptFolders(context_of(request).scripts)
    return folders.find(text_in(form_of(request), "script"), task_of(request))


def _then_back(request: Request, act: Callable[[], object]) -> Response:
    """Do it, and show the task again; with what went wrong, if anything did."""
    record = task_of(request)
    try:
        act()
    except SecureHflError as error:
        return _page(request, error)
    return RedirectResponse(f"/tasks/{record.task_id}", 303)


routes = [
    Route("/tasks/{task}", task, name="task.overview"),
    Route("/tasks/{task}/events", events),
    Route("/tasks/{task}/log", log_file),
    *(
        Route(f"/tasks/{{task}}/{act.__name__}", act, methods=["POST"], name=f"task.{act.__name__}")
        for act in (start, check, table, pause, stop, kill)
    ),
]
