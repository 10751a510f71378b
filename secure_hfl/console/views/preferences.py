"""How a person wants pages: light or dark, in which language."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from secure_hfl.console.context import context_of
from secure_hfl.console.forms import form_of, text_in
from secure_hfl.console.page import THEMES
from secure_hfl.console.words import LANGUAGES

_CHOICES = {"theme": THEMES, "lang": tuple(LANGUAGES)}
_YEAR = 365 * 24 * 3600


def prefer(request: Request) -> Response:
    """Keep a choice in a cookie, and go back."""
    form, context = form_of(request), context_of(request)
    answer = RedirectResponse(own_path(text_in(form, "back")), 303)
    for name, choices in _CHOICES.items():
        if (choice := text_in(form, name)) in choices:
            answer.set_cookie(name, choice, max_age=_YEAR, samesite="strict", secure=context.is_secure, httponly=True)
    return answer


def own_path(path: str) -> str:
    """A path of this console; the first page for what may lead elsewhere."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else "/"


routes = [Route("/preferences", prefer, methods=["POST"])]
