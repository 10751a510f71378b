"""Pages from templates. What a template shows is text on one line, unless another template made it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from secure_hfl.audit.report_text import size
from secure_hfl.console.context import context_of, session_of, task_of, words_of
from secure_hfl.console.words import LANGUAGES
from secure_hfl.errors import IdentityError
from secure_hfl.identity import PartyCertificate, check_certificate, directory_in
from secure_hfl.pages import templates_in
from secure_hfl.tasks.view import state_of
from secure_hfl.version import __version__

THEMES = ("auto", "light", "dark")
NAVIGATION = (
    ("tasks", "/"),
    ("create", "/create"),
    ("join", "/join"),
    ("identity", "/identity"),
    ("doctor", "/doctor"),
    ("bench", "/bench"),
)
"""Of every page: the name of its words and picture, and its path."""

TASK_TABS = (
    ("overview", ""),
    ("invite", "/invite"),
    ("privacy", "/privacy"),
    ("audit", "/audit"),
    ("results", "/results"),
    ("predict", "/predict"),
)
"""Of every page about a task. Those are shown that have a route "task.<name>"; the host gives invites."""

_TEMPLATES = Path(__file__).parent / "templates"


def render(request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page.

    Args:
        request: what asked for it.
        template: its name in templates/; it extends base.html.j2.
        status: of HTTP.
        values: what the template shows.
    """
    words, session = words_of(request), session_of(request)
    own = own_certificate(context_of(request).home) if session is not None else None
    text = (
        _environment()
        .get_template(template)
        .render(
            t=words,
            lang=words.language,
            languages=LANGUAGES,
            theme=theme_of(request),
            themes=THEMES,
            form_token=session.form_token if session else "",
            is_signed_in=session is not None,
            own=own,
            path=request.url.path,
            here=request.url.path + (f"?{urlencode(_query(request))}" if _query(request) else ""),
            version=__version__,
            navigation=NAVIGATION,
            **values,
        )
    )
    return HTMLResponse(text, status)


def render_task(request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page about the task that the path names; it extends task_frame.html.j2. Also shows `record` and `state`.

    Raises:
        TaskNotFound: there is none.
    """
    record = task_of(request)
    state = state_of(context_of(request).store, record)
    known = {route.name for route in request.app.routes}
    tabs = [
        (name, path)
        for name, path in TASK_TABS
        if f"task.{name}" in known and (name != "invite" or record.role == "host")
    ]
    return render(request, template, status, record=record, state=state, task_tabs=tabs, **values)


def fragment(request: Request, template: str, **values: object) -> Markup:
    """A part of a page, which is shown in it and sent again when it changes. Arguments as those of `render`."""
    words, session = words_of(request), session_of(request)
    text = (
        _environment()
        .get_template(template)
        .render(t=words, lang=words.language, form_token=session.form_token if session else "", **values)
    )
    return Markup(text)  # noqa: S704 - a template of ours, which has escaped what it was given


def theme_of(request: Request) -> str:
    """What was chosen: light, dark, or as the system has it."""
    wish = request.cookies.get("theme", "")
    return wish if wish in THEMES else THEMES[0]


def own_certificate(home: Path) -> PartyCertificate | None:
    """This party's certificate; None if it has no identity, or one that cannot be used."""
    try:
        return check_certificate((directory_in(home) / "certificate.pem").read_bytes())
    except (OSError, IdentityError):
        return None


def time(when: datetime) -> Markup:
    """A moment, in UTC until the browser puts it into local time."""
    utc = when.astimezone(timezone.utc)
    return Markup('<time datetime="{}">{} UTC</time>').format(utc.isoformat(), f"{utc:%Y-%m-%d %H:%M}")


def grouped(fingerprint: str) -> Markup:
    """A fingerprint in eight groups of four bytes, to be read out and compared."""
    pairs = fingerprint.split(":")
    groups = [":".join(pairs[at : at + 4]) for at in range(0, len(pairs), 4)]
    return Markup("<wbr>").join(Markup("<span>{}</span>").format(group) for group in groups)


def _query(request: Request) -> Mapping[str, str]:
    return {name: value for name, value in request.query_params.items() if name != "lang"}


@cache
def _environment() -> Environment:
    made = templates_in(_TEMPLATES)
    made.globals.update(time=time, size=size, grouped=grouped)
    return made
