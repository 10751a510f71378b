"""Errors as pages: what was wrong, and what to do."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from protocols.core.errors import SecureHflError
from secure_hfl.console.context import words_of
from secure_hfl.console.page import render
from secure_hfl.errors import TaskNotFound


def failure_page(request: Request, error: Exception) -> Response:
    """The page for an error of ours, or of HTTP; of any other it says no more than that there is one."""
    problem: SecureHflError | None
    if isinstance(error, SecureHflError):
        status, problem = (404 if isinstance(error, TaskNotFound) else 400), error
    else:
        status, problem = (error.status_code if isinstance(error, HTTPException) else 500), None
    if status == 401:
        return render(request, "sign_in.html.j2", status, was_refused=False)
    words = words_of(request)
    kind = str(status) if words.has(f"failure.{status}") else "other"
    return render(request, "failure.html.j2", status, kind=kind, problem=problem)


async def shown(request: Request, error: Exception) -> Response:
    """The same, as Starlette calls it."""
    return failure_page(request, error)
