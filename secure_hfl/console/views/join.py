"""Joining a task, in two pages: the invite and what the host has told; then its terms, to accept or refuse.

What an invite says is not shown before it was compared with what the host told: a copy of it would confirm nothing.
"""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from protocols.core.errors import SecureHflError
from secure_hfl.cli.identity import existing_identity
from secure_hfl.console.context import context_of
from secure_hfl.console.drafts import LIMITS, accepted_limits
from secure_hfl.console.forms import bytes_of, files_in, form_of, takes, text_in
from secure_hfl.console.page import render
from secure_hfl.console.statements import statement_of
from secure_hfl.errors import InvalidInvite
from secure_hfl.schemes import is_plaintext
from secure_hfl.tasks import Invite, check_fingerprint, check_pairing_code, join_task
from secure_hfl.tasks.invite import MAX_INVITE_BYTES

_FINGERPRINT_DIGITS = 64


def ask(request: Request) -> Response:
    """The first page, empty."""
    return render(request, "join.html.j2", told="", problem=None)


@takes(2 * MAX_INVITE_BYTES)
def join(request: Request) -> Response:
    """The second page, or the task."""
    form = form_of(request)
    told = text_in(form, "told")
    try:
        identity = existing_identity(context_of(request).home)
        invite = _sent(form)
        check_told(invite, told)
    except SecureHflError as error:
        return render(request, "join.html.j2", 400, told=told, problem=error)
    if text_in(form, "step") != "join":
        return _terms(request, invite, told, form)
    try:
        accepts = invite.scheme if text_in(form, "accepts_plain") == "yes" else None
        record = join_task(context_of(request).store, identity, invite, accepts, accepted_limits(form))
    except SecureHflError as error:
        return _terms(request, invite, told, form, error)
    return RedirectResponse(f"/tasks/{record.task_id}", 303)


def check_told(invite: Invite, told: str) -> None:
    """Compare the invite with what the host has told: the pairing code, or its fingerprint.

    Raises:
        InvalidInvite: nothing was told, or something else.
    """
    if not told:
        raise InvalidInvite(
            "an invite proves nothing about who wrote it: ask the host, by telephone, for the pairing code that its "
            "page shows, or for its fingerprint"
        )
    digits = "".join(each for each in told if each.isalnum())
    (check_fingerprint if len(digits) == _FINGERPRINT_DIGITS else check_pairing_code)(invite, told)


def _sent(form: FormData) -> Invite:
    """The invite: uploaded, or as the second page sent it back."""
    files = files_in(form, "invite")
    if files:
        return Invite.parse(bytes_of(files[0], MAX_INVITE_BYTES, "an invite"), files[0].filename or "invite")
    text = text_in(form, "invite")
    if not text:
        raise InvalidInvite("no file was chosen: the host sends you the invite, a file that ends in .json")
    return Invite.parse(text.encode("utf-8", "replace"))


def _terms(request: Request, invite: Invite, told: str, form: FormData, problem: Exception | None = None) -> Response:
    own = existing_identity(context_of(request).home).fingerprint
    names = [each.name for each in invite.collaborators]
    about = [each.name for each in invite.collaborators if each.fingerprint == own]
    planned = {"rounds": invite.terms.max_rounds, "width": invite.terms.max_width}
    values: dict[str, object] = {name: text_in(form, name) or planned.get(name) or "" for name in LIMITS}
    values["projection_lr"] = text_in(form, "projection_lr") or invite.terms.projection_lr or ""
    return render(
        request,
        "join_terms.html.j2",
        400 if problem else 200,
        invite=invite,
        text=invite.model_dump_json(),
        told=told,
        values=values,
        limits=LIMITS,
        needs_consent=is_plaintext(invite.scheme),
        statement=statement_of(invite.scheme, invite.host.name, names, invite.terms, about),
        problem=problem,
    )


routes = [Route("/join", ask, name="join"), Route("/join", join, methods=["POST"])]
