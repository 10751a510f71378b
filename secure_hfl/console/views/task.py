"""One task: where it stands."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from secure_hfl.console.page import render_task


def task(request: Request) -> Response:
    """The first tab."""
    return render_task(request, "task.html.j2")


routes = [Route("/tasks/{task}", task, name="task.overview")]
