"""What a page's form sends. Nothing is done for a form before its size and its token have been looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from protocols.core.sentence import say
from secure_hfl.console.context import context_of, session_of
from secure_hfl.console.sessions import is_own_form
from secure_hfl.errors import ConfigurationError
from secure_hfl.home import check_private

FORM_TOKEN = "form_token"  # noqa: S105 - the field's name
TOKEN_HEADER = "x-form-token"  # noqa: S105
MAX_BODY = 1 << 20
MAX_FILES, MAX_FIELDS = 80, 300

Endpoint = Callable[[Request], Any]
E = TypeVar("E", bound=Endpoint)


def takes(most_bytes: int) -> Callable[[E], E]:
    """For a page whose form may be longer than 1 MiB: a file is uploaded."""

    def mark(endpoint: E) -> E:
        endpoint.most_bytes = most_bytes  # type: ignore[attr-defined]
        return endpoint

    return mark


def with_checked_form(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """A page that reads no form which did not come from this session's own pages.

    A script may send the token in a header, with no form.
    """
    most = getattr(endpoint, "most_bytes", MAX_BODY)

    @wraps(endpoint)
    async def checked(request: Request) -> Response:
        if request.method != "POST":
            return await _call(endpoint, request)
        limited = Request(request.scope, _at_most(request.receive, request.headers.get("content-length"), most))
        async with limited.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=most) as sent:
            token = request.headers.get(TOKEN_HEADER) or text_in(sent, FORM_TOKEN)
            session = session_of(request)
            if session is None or not is_own_form(session, token):
                raise HTTPException(403)
            check_private(context_of(request).home)
            request.state.form = sent
            return await _call(endpoint, request)

    return checked


async def _call(endpoint: Endpoint, request: Request) -> Response:
    if iscoroutinefunction(endpoint):
        answer: Response = await endpoint(request)
        return answer
    return await run_in_threadpool(endpoint, request)


def _at_most(receive: Receive, declared: str | None, most: int) -> Receive:
    """The body, as long as it is no longer than it may be."""
    if declared is not None and (not declared.isdecimal() or int(declared) > most):
        raise HTTPException(413)
    received = 0

    async def receiving() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413)
        return message

    return receiving


def form_of(request: Request) -> FormData:
    """What was sent; its token was right."""
    found: FormData = request.state.form
    return found


def text_in(form: FormData, name: str) -> str:
    """A field, without spaces at its ends; "" if it was not sent, or is a file."""
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def lines_in(form: FormData, name: str) -> bytes:
    """What was typed, a line each, without spaces at their ends and without empty ones."""
    lines = (line.strip() for line in text_in(form, name).splitlines())
    return "\n".join(line for line in lines if line).encode()


def count_in(form: FormData, name: str) -> int:
    """A whole number; 0 where nothing was typed. Raises `ConfigurationError`."""
    text = text_in(form, name)
    try:
        return int(text or 0)
    except ValueError:
        raise ConfigurationError(
            say("{field}: {text!r} is no whole number; 0 or nothing: any", field=name.replace("_", " "), text=text)
        ) from None


def rate_in(form: FormData, name: str) -> float:
    """A number; 0 where nothing was typed. Raises `ConfigurationError`."""
    text = text_in(form, name)
    try:
        return float(text or 0)
    except ValueError:
        raise ConfigurationError(
            say("{field}: {text!r} is no number; 0 or nothing: any", field=name.replace("_", " "), text=text)
        ) from None


def files_in(form: FormData, name: str) -> list[UploadFile]:
    """The files of a field; none where nobody chose one."""
    return [each for each in form.getlist(name) if isinstance(each, UploadFile) and each.filename]


def bytes_of(file: UploadFile, most: int, what: str) -> bytes:
    """An uploaded file.

    Raises:
        ConfigurationError: it is longer.
    """
    data = file.file.read(most + 1)
    if len(data) > most:
        raise ConfigurationError(
            say("{file}: {what} has at most {most:,} bytes, this has more", file=file.filename, what=what, most=most)
        )
    return data
