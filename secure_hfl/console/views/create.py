"""A new task, in two pages: what it is, with the certificates; then the fingerprints, and what it discloses."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from protocols.core.errors import SecureHflError
from protocols.core.sentence import say
from secure_hfl.cli.identity import existing_identity
from secure_hfl.console.context import context_of
from secure_hfl.console.drafts import Collaborator, planned_terms, reviewed, uploaded
from secure_hfl.console.forms import form_of, takes, text_in
from secure_hfl.console.page import render
from secure_hfl.console.statements import statement_of
from secure_hfl.errors import TaskError
from secure_hfl.schemes import scheme_names
from secure_hfl.tasks import create_task

PORT = 9500
FIELDS = ("name", "address", "scheme", "max_rounds", "max_width", "projection_lr", "fusion")
FIRST_OFFERED = ("bfv", "masked", "paillier", "plain")
_UPLOADS = 2 << 20
"""64 certificates and the rest of the form."""


def ask(request: Request) -> Response:
    """The first page, empty."""
    values = {"address": f"{socket.gethostname()}:{PORT}", "scheme": FIRST_OFFERED[0], "fusion": "separate"}
    return _first(request, values)


@takes(_UPLOADS)
def create(request: Request) -> Response:
    """The second page, or the task."""
    form = form_of(request)
    values = {name: text_in(form, name) for name in FIELDS}
    if text_in(form, "step") != "create":
        try:
            return _second(request, values, uploaded(form), form)
        except SecureHflError as error:
            return _first(request, values, error)
    collaborators = reviewed(form)
    try:
        return _created(request, values, collaborators, form)
    except SecureHflError as error:
        return _second(request, values, collaborators, form, error)


def _first(request: Request, values: dict[str, str], problem: Exception | None = None) -> Response:
    status = 400 if problem else 200
    values = {name: values.get(name, "") for name in FIELDS}
    return render(request, "create.html.j2", status, values=values, schemes=offered(), problem=problem)


def _second(
    request: Request,
    values: dict[str, str],
    collaborators: list[Collaborator],
    form: FormData,
    problem: Exception | None = None,
) -> Response:
    identity = existing_identity(context_of(request).home)
    names = [each.name for each in collaborators]
    return render(
        request,
        "create_review.html.j2",
        400 if problem else 200,
        values=values,
        collaborators=collaborators,
        statement=statement_of(values["scheme"], identity.name, names, planned_terms(form, collaborators)),
        problem=problem,
    )


def _created(request: Request, values: dict[str, str], collaborators: list[Collaborator], form: FormData) -> Response:
    context = context_of(request)
    record, _ = create_task(
        store=context.store,
        identity=existing_identity(context.home),
        name=values["name"],
        address=values["address"],
        scheme=values["scheme"],
        collaborators=_by_name(collaborators),
        terms=planned_terms(form, collaborators),
    )
    return RedirectResponse(f"/tasks/{record.task_id}/invite", 303)


def _by_name(collaborators: Sequence[Collaborator]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for each in collaborators:
        if each.name in found:
            raise TaskError(say("two collaborators are called {name!r}; give each a name of its own", name=each.name))
        found[each.name] = each.pem.encode("ascii", "replace")
    return found


def offered() -> list[str]:
    """All schemes, ours first."""
    known = scheme_names()
    return [*(name for name in FIRST_OFFERED if name in known), *(name for name in known if name not in FIRST_OFFERED)]


routes = [Route("/create", ask, name="create"), Route("/create", create, methods=["POST"])]
