"""The one-time address, and the way out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from secure_hfl.console.context import context_of, session_of
from secure_hfl.console.page import render


def sign_in(request: Request) -> Response:
    """Take the token of the printed address for a cookie.

    The page goes on by itself: a browser that came from elsewhere does not send a strict cookie with a redirect.
    """
    context, token = context_of(request), request.query_params.get("token")
    if token is None or request.method != "GET":  # HEAD: a program that looks where a link leads
        return render(request, "sign_in.html.j2", was_refused=False)
    cookie = context.sessions.sign_in(token)
    if cookie is None and session_of(request) is None:
        return render(request, "sign_in.html.j2", 401, was_refused=True)
    answer = render(request, "signed_in.html.j2")
    if cookie is not None:
        answer.set_cookie(context.cookie, cookie, httponly=True, samesite="strict", secure=context.is_secure)
        context.announce()
    return answer


def sign_out(request: Request) -> Response:
    """End this browser's session."""
    context = context_of(request)
    context.sessions.sign_out(request.cookies.get(context.cookie, ""))
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(context.cookie, httponly=True, samesite="strict", secure=context.is_secure)
    return answer


def health(request: Request) -> Response:
    """Whether the console answers, for who watches over it."""
    del request
    return PlainTextResponse("ok\n")


routes = [
    Route("/sign-in", sign_in),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/health", health),
]
