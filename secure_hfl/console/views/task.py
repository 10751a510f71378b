"""One task: where it stands, what can be done about it, and what happens, as it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

from markupsafe import Markup, escape
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from protocols.core.errors import SecureHflError
from secure_hfl.console.context import context_of, session_of, task_of
from secure_hfl.console.downloads import attachment
from secure_hfl.console.forms import count_in, form_of, text_in
from secure_hfl.console.log_tail import LogTail
from secure_hfl.console.page import render_task
from secure_hfl.console.task_parts import TaskParts
from secure_hfl.errors import ConfigurationError
from secure_hfl.supervision.data_check import DataCheckRun
from secure_hfl.supervision.local_party import LocalParty, StartOptions
from secure_hfl.supervision.script_folders import Choice, ScriptFolders

PAUSE, QUIET_PAUSE = 0.5, 1.5
"""Seconds between two looks at a task, while something goes on and while nothing does."""

RETRY = 1500
"""Milliseconds after which a browser tries again."""


def task(request: Request) -> Response:
    """The first tab."""
    return _page(request)


def _page(request: Request, problem: str = "") -> Response:
    parts = TaskParts(request, task_of(request).task_id)
    seen = parts.look()
    log = _log(request, None)
    text, _ = log.read()
    return render_task(
        request,
        "task.html.j2",
        400 if problem else 200,
        parts=parts.draw(seen),
        position=_position(parts, log),
        problem=problem,
        log=text,
        lines=lambda text: Markup("{}").format(escape(text)),
    )


# What happens --------------------------------------------------------------------------------------------------------


async def events(request: Request) -> Response:
    """Parts that have changed and lines of the log, as server-sent events.

    The id of each says how far the log was read. A browser that comes again, to this console or to one that was started
    in its place, sends the last one, and is sent what it has missed.
    """
    record = await run_in_threadpool(task_of, request)
    came_with = request.headers.get("last-event-id") or request.query_params.get("after", "")
    feed = Feed(request, record.task_id, came_with)
    return EventSourceResponse(feed.events(), ping=15)


class Feed:
    """One browser's.

    Args:
        request: of the browser.
        task_id: the task's full id.
        came_with: the id of the last event that it had; empty: none.
    """

    def __init__(self, request: Request, task_id: str, came_with: str) -> None:
        self._request = request
        self._parts = TaskParts(request, task_id)
        offset = came_with.rpartition(".")[2]
        self._log = _log(request, int(offset) if offset.isdecimal() and len(offset) < 18 else None)
        self._sent: dict[str, str] = {}
        self._is_quiet = False

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Until the browser goes, or its session ends."""
        yield ServerSentEvent(comment="here", retry=RETRY)
        while self._is_welcome():
            for event in await run_in_threadpool(lambda: list(self.news())):
                yield event
            await asyncio.sleep(QUIET_PAUSE if self._is_quiet else PAUSE)

    def news(self) -> Iterator[ServerSentEvent]:
        """What has changed since the last time."""
        seen = self._parts.look()
        self._is_quiet = seen.is_quiet
        drawn = {name: str(text) for name, text in self._parts.draw(seen).items()}
        changed = {name: text for name, text in drawn.items() if self._sent.get(name) != text}
        self._sent = drawn
        text, begins_anew = self._log.read()
        position = _position(self._parts, self._log)
        if changed:
            yield ServerSentEvent(event="parts", data=json.dumps(changed), id=position)
        if text or begins_anew:
            lines = json.dumps({"text": text, "anew": begins_anew})
            yield ServerSentEvent(event="log", data=lines, id=position)

    def _is_welcome(self) -> bool:
        session = session_of(self._request)
        return session is not None and context_of(self._request).sessions.is_open(session)


def _position(parts: TaskParts, log: LogTail) -> str:
    return f"{parts.reader.position}.{max(log.offset, 0)}"


def _log(request: Request, offset: int | None) -> LogTail:
    """What the process printed; of a run from elsewhere, what the engine has kept."""
    context, record = context_of(request), task_of(request)
    party = LocalParty(context.store, record.task_id)
    return LogTail((party.process.log, context.store.log_file(record.task_id)), offset)


def log_file(request: Request) -> Response:
    """The whole log, to keep."""
    path = _log(request, None).path
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
        ids = "\n".join(text_in(form_of(request), "ids").split()).encode()
        DataCheckRun(context_of(request).store, task_of(request).task_id).start(_script(request), ids)

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
        return _page(request, str(error))
    return RedirectResponse(f"/tasks/{record.task_id}", 303)


routes = [
    Route("/tasks/{task}", task, name="task.overview"),
    Route("/tasks/{task}/events", events),
    Route("/tasks/{task}/log", log_file),
    *(
        Route(f"/tasks/{{task}}/{act.__name__}", act, methods=["POST"], name=f"task.{act.__name__}")
        for act in (start, check, pause, stop, kill)
    ),
]
