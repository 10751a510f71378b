"""The console as an ASGI application: the pages of views/, behind the guard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from protocols.core.errors import SecureHflError
from secure_hfl.console.context import Context
from secure_hfl.console.failures import shown
from secure_hfl.console.forms import with_checked_form
from secure_hfl.console.guard import Guard
from secure_hfl.console.sessions import Sessions
from secure_hfl.console.views import (
    audit,
    bench,
    create,
    doctor,
    identity,
    invite,
    join,
    predict,
    preferences,
    privacy,
    results,
    sign_in,
    task,
    tasks,
)
from secure_hfl.listening import LOOPBACK_NAMES

VIEWS = (
    sign_in,
    preferences,
    tasks,
    create,
    join,
    invite,
    identity,
    doctor,
    bench,
    task,
    privacy,
    audit,
    results,
    predict,
)
"""Modules with `routes`. The first route that fits a path has it."""

_STATIC = Path(__file__).parent / "static"


class Console(Starlette):
    """The pages. The guard stands before everything, the answer to an error of Starlette's included."""

    def build_middleware_stack(self) -> ASGIApp:
        """See Starlette."""
        return Guard(super().build_middleware_stack(), self.state.context)


def create_app(home: Path, names: Iterable[str] = LOOPBACK_NAMES, **options: Any) -> Console:
    """The console of a party.

    Args:
        home: its directory.
        names: what a browser may call this server.
        options: other fields of `Context`.
    """
    values: dict[str, Any] = {"sessions": Sessions(), **options}
    context = Context(home=home, names=frozenset(each.lower() for each in names), **values)
    routes: list[BaseRoute] = [_checked(route) for view in VIEWS for route in view.routes]
    routes.append(Mount("/static", StaticFiles(directory=_STATIC), name="static"))
    handlers = {SecureHflError: shown, HTTPException: shown, Exception: shown}
    app = Console(routes=routes, exception_handlers=handlers)
    app.state.context = context
    return app


def _checked(route: Route) -> Route:
    """Whatever a view does, its forms are looked at first."""
    return Route(
        route.path, with_checked_form(route.endpoint), methods=list(route.methods or ("GET",)), name=route.name
    )
