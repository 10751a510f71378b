"""What a page that is open is sent: its parts as they change and its log as it grows, as server-sent events.

The id of each event says how far the log was read. A browser that comes again, to this console or to one that was
started in its place, sends the last id, and is sent what it has missed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from secure_hfl.console.context import context_of, session_of
from secure_hfl.console.log_tail import LogTail

PAUSE, QUIET_PAUSE = 0.5, 1.5
"""Seconds between two looks, while something goes on and while nothing does."""

RETRY = 1500
"""Milliseconds after which a browser tries again."""

_LONGEST = 17
"""Digits of a place in a log."""


@dataclass(frozen=True)
class Shown:
    """A page's parts at a moment.

    Attributes:
        parts: by name.
        position: changes with them.
        is_quiet: nothing goes on that could change them soon.
    """

    parts: Mapping[str, Markup]
    position: str
    is_quiet: bool


Look = Callable[[], Shown]


def follow(request: Request, look: Look, log: LogTail) -> Response:
    """The stream of one browser."""
    came_with = request.headers.get("last-event-id") or request.query_params.get("after", "")
    return EventSourceResponse(Feed(request, look, log, came_with).events(), ping=15)


def position(of_parts: str, log: LogTail) -> str:
    """An event's id."""
    return f"{of_parts}.{max(log.offset, 0)}"


class Feed:
    """One browser's.

    Args:
        request: of the browser.
        look: gives the parts as they are now.
        log: what grows.
        came_with: the id of the last event that the browser had; empty: none.
    """

    def __init__(self, request: Request, look: Look, log: LogTail, came_with: str) -> None:
        self._request, self._look, self._log = request, look, log
        offset = came_with.rpartition(".")[2]
        if offset.isdecimal() and len(offset) <= _LONGEST:
            log.offset = int(offset)
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
        shown = self._look()
        self._is_quiet = shown.is_quiet
        drawn = {name: str(text) for name, text in shown.parts.items()}
        changed = {name: text for name, text in drawn.items() if self._sent.get(name) != text}
        self._sent = drawn
        text, begins_anew = self._log.read()
        at = position(shown.position, self._log)
        if changed:
            yield ServerSentEvent(event="parts", data=json.dumps(changed), id=at)
        if text or begins_anew:
            yield ServerSentEvent(event="log", data=json.dumps({"text": text, "anew": begins_anew}), id=at)

    def _is_welcome(self) -> bool:
        session = session_of(self._request)
        return session is not None and context_of(self._request).sessions.is_open(session)
