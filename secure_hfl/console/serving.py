"""Listening: on this machine alone, unless both a person's word and TLS say otherwise."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import closing, suppress
from html import escape
from pathlib import Path

import uvicorn

from secure_hfl.cli.output import console, plain
from secure_hfl.console.app import create_app
from secure_hfl.console.sessions import Sessions
from secure_hfl.home import home_directory, make_private_directory
from secure_hfl.listening import Place

_SHUTDOWN_SECONDS = 2


DANGER = "whoever is signed in to the console can do what this party can"


def serve(place: Place, open_browser: bool | None, scripts: Sequence[Path] = ()) -> None:
    """Run the console until it is interrupted.

    Args:
        place: where.
        open_browser: also open it. None: where there is a screen.
        scripts: folders whose scripts may be run; none: one of the party's own.

    Raises:
        ConfigurationError: it may not listen there, or cannot.
    """
    place.check(DANGER)
    names, home = place.names(), home_directory()
    with closing(place.listen("the console")) as listening:
        port = listening.getsockname()[1]
        sessions = Sessions()
        address = _Address(place, port, sessions, home)
        app = create_app(
            home,
            names,
            sessions=sessions,
            cookie=f"secure_hfl_console_{port}",
            is_secure=place.has_tls,
            scripts=tuple(scripts) or (_own_scripts(home),),
            announce=address.announce_another,
        )
        server = uvicorn.Server(_configuration(app, place))
        address.announce()
        if _has_screen() if open_browser is None else open_browser:
            address.open()
        try:
            server.run(sockets=[listening])
        finally:
            address.forget()


def _own_scripts(home: Path) -> Path:
    """Where a person may put scripts without being asked where they are."""
    folder = home / "scripts"
    make_private_directory(folder)
    return folder


class _Address:
    """The one-time address, on the terminal and, where it is wanted, in a browser."""

    def __init__(self, place: Place, port: int, sessions: Sessions, home: Path) -> None:
        self._base = f"{place.url(port)}/sign-in"
        self._sessions = sessions
        self._page = home / "open-console.html"
        self._now = ""

    def announce(self) -> None:
        """Print a new address."""
        self._now = f"{self._base}?token={self._sessions.new_address_token()}"
        out = console()
        out.print(plain("The console is at this address, which works once. Ctrl-C ends it."))
        out.print(plain(self._now), soft_wrap=True)

    def announce_another(self) -> None:
        """The same, for the next browser."""
        self.forget()
        self._now = f"{self._base}?token={self._sessions.new_address_token()}"
        console().print(plain(f"Signed in. For another browser: {self._now}"), soft_wrap=True)

    def open(self) -> None:
        """In the browser, by way of a file: other users of this machine can read the arguments of its processes."""
        self.forget()
        descriptor = os.open(self._page, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            link = escape(self._now)
            file.write(f'<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">secure-hfl</a>\n')
        with suppress(webbrowser.Error):
            webbrowser.open(self._page.as_uri())

    def forget(self) -> None:
        """Remove that file."""
        self._page.unlink(missing_ok=True)


def _configuration(app: object, place: Place) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        access_log=False,  # addresses hold tokens
        log_config=None,  # the process has its own handlers, which another configuration would close
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        ssl_certfile=None if place.tls_cert is None else str(place.tls_cert),
        ssl_keyfile=None if place.tls_key is None else str(place.tls_key),
    )


def _has_screen() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
