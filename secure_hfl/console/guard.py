"""What holds for everything that the console is asked, and for everything that it answers.

A page of another site that a person has open may send requests to this machine. So:

    Host is a name of this console       against DNS names that an attacker points here (DNS rebinding)
    a session for all but sign-in        the cookie is not sent from other sites (SameSite=Strict)
    forms from our own pages only        Origin and Sec-Fetch-Site where the browser says them; a token in each form
    bodies no longer than the page takes

And answers: nothing is kept in caches, framed, or guessed to be of another type; scripts, styles and connections are
our own files and this console only; no address of ours reaches another site.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secure_hfl.console.context import Context
from secure_hfl.console.failures import failure_page
from secure_hfl.console.words import Words, chosen

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without any, browsers send forms with "Origin: null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer. A page may say a stricter policy of its own."""

PUBLIC = ("/sign-in", "/static/", "/health")
METHODS = ("GET", "HEAD", "POST")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")


class Guard:
    """Stands before the console's pages.

    Args:
        app: the pages.
        context: the console.
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or let through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        state = scope.setdefault("state", {})
        state["session"] = self._context.sessions.find(request.cookies.get(self._context.cookie, ""))
        state["words"] = Words(
            chosen(
                request.query_params.get("lang"), request.cookies.get("lang"), request.headers.get("accept-language")
            )
        )
        refusal = self._refusal(request)
        answer = self._app if refusal is None else failure_page(request, refusal)
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> HTTPException | None:
        if not is_own_name(self._context, request.headers.get("host", "")):
            return HTTPException(421)
        if request.method not in METHODS:
            return HTTPException(405)
        if request.method == "POST" and not _is_same_origin(request.headers):
            return HTTPException(403)
        is_public = request.url.path.startswith(PUBLIC)
        return HTTPException(401) if request.scope["state"]["session"] is None and not is_public else None


def is_own_name(context: Context, host: str) -> bool:
    """Whether a browser that sends this Host means this console. The port says nothing: no name decides over it."""
    match = _HOST.fullmatch(host.lower())
    name = "" if match is None else match[1] or match[2]
    return name in context.names or f"*.{name.partition('.')[2]}" in context.names


def _is_same_origin(headers: Headers) -> bool:
    """Whether a form comes from a page of this console, as far as the browser says."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
