"""Who this party is: made once, shown large, given to the others as a file."""

from __future__ import annotations

import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from protocols.core.sentence import say
from secure_hfl.console.context import context_of
from secure_hfl.console.downloads import attachment
from secure_hfl.console.forms import form_of, text_in
from secure_hfl.console.page import render
from secure_hfl.errors import IdentityError
from secure_hfl.identity import (
    Identity,
    check_certificate,
    directory_in,
    fingerprint_of,
    valid_until,
    validity_problem,
)


def identity(request: Request) -> Response:
    """The fingerprint to read out, and the certificate; or the form that makes them."""
    home = context_of(request).home
    if not directory_in(home).exists():
        return render(request, "identity_new.html.j2")
    pem = certificate(request)
    shown = fingerprint_of(pem)
    return render(
        request,
        "identity.html.j2",
        fingerprint=shown,
        code=qr_code(shown),
        until=valid_until(pem),
        problem=validity_problem(pem),
    )


def make(request: Request) -> Response:
    """A new identity, under the name that was typed."""
    Identity.load_or_create(context_of(request).home, text_in(form_of(request), "name"))
    return RedirectResponse("/identity", 303)


def download(request: Request) -> Response:
    """The certificate, which the others need."""
    pem = certificate(request)
    return attachment(pem, f"{check_certificate(pem).name}.pem", "application/x-pem-file")


def certificate(request: Request) -> bytes:
    """This party's, in PEM.

    Raises:
        IdentityError: it has none.
    """
    path = directory_in(context_of(request).home) / "certificate.pem"
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(
            say("{path}: {error}; make an identity first, on the page Identity", path=path, error=error.strerror)
        ) from error


def qr_code(text: str) -> Markup:
    """A drawing that a telephone reads, dark on light in both themes."""
    drawn = segno.make(text.replace(":", ""), error="m", micro=False)
    # Our own numbers and the program's own markup; the text is in neither.
    return Markup(drawn.svg_inline(svgclass="qr", lineclass=None, omitsize=True, dark="#000", light="#fff", border=3))  # noqa: S704


routes = [
    Route("/identity", identity, name="identity"),
    Route("/identity", make, methods=["POST"]),
    Route("/identity/certificate.pem", download),
]
