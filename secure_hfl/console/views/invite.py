"""The invite of a task that this party hosts: the file to send, and what to tell on the telephone."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocols.core.sentence import say
from secure_hfl.console.context import task_of
from secure_hfl.console.downloads import attachment
from secure_hfl.console.page import render_task
from secure_hfl.errors import TaskError
from secure_hfl.tasks import Invite, pairing_code


def invite(request: Request) -> Response:
    """What to do with it."""
    return render_task(request, "invite.html.j2", code=pairing_code(_invite(request)))


def download(request: Request) -> Response:
    """The file."""
    made = _invite(request)
    return attachment(made.model_dump_json(indent=2).encode() + b"\n", f"{made.name}.invite.json", "application/json")


def _invite(request: Request) -> Invite:
    record = task_of(request)
    if record.role != "host":
        raise TaskError(
            say(
                "task {task_id} is hosted by {name!r}; only the host gives invites",
                task_id=record.task_id,
                name=record.host.name,
            )
        )
    return Invite.of(record)


routes = [
    Route("/tasks/{task}/invite", invite, name="task.invite"),
    Route("/tasks/{task}/invite/file", download),
]
