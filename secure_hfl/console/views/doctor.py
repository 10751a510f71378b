"""Is this machine ready to run a task, and if not, what would help."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from secure_hfl.cli.doctor_checks import check_all
from secure_hfl.cli.doctor_row import Row
from secure_hfl.console.context import context_of
from secure_hfl.console.page import render

ORDER = ("fail", "warn", "ok")


def ask(request: Request) -> Response:
    """What would be looked at."""
    return render(request, "doctor.html.j2", rows=None)


def check(request: Request) -> Response:
    """What was found, the worst first."""
    context = context_of(request)
    rows = context.apart(checked, context.home)
    return render(
        request, "doctor.html.j2", rows={status: [row for row in rows if row.status == status] for status in ORDER}
    )


def checked(home: Path) -> list[Row]:
    """Every check. Some load PyTorch, so this is done in a process of its own."""
    return list(check_all(home))


routes = [Route("/doctor", ask, name="doctor"), Route("/doctor", check, methods=["POST"])]
