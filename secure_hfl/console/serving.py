"""Listening: on this machine alone, unless both a person's word and TLS say otherwise."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path

import uvicorn
from cryptography import x509

from secure_hfl.cli.output import console, plain
from secure_hfl.console.app import LOOPBACK_NAMES, create_app
from secure_hfl.console.sessions import Sessions
from secure_hfl.errors import ConfigurationError
from secure_hfl.home import home_directory, make_private_directory

_SHUTDOWN_SECONDS = 2


@dataclass(frozen=True)
class Place:
    """Where the console listens.

    Attributes:
        address: of the interface.
        port: 0: any free one.
        tls_cert, tls_key: PEM files of a server's certificate and key, which the browser must trust.
        allow_remote: other machines may reach it.
    """

    address: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_remote: bool = False

    def check(self) -> None:
        """Raise `ConfigurationError` unless it may listen there."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key belong together: give both, or none")
        if not self.is_loopback and not (self.allow_remote and self.has_tls):
            raise ConfigurationError(
                f"{self.address} can be reached from other machines, and whoever is signed in to the console can do "
                "what this party can. If that is meant, say --allow-remote and give --tls-cert and --tls-key; from "
                f"elsewhere, `ssh -L {self.port}:127.0.0.1:{self.port}` to this machine does without"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.address == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    @property
    def has_tls(self) -> bool:
        """Whether browsers connect over TLS."""
        return self.tls_cert is not None

    def names(self) -> frozenset[str]:
        """What browsers may call this server: this machine's names for itself, and those in its certificate.

        Raises:
            ConfigurationError: the certificate cannot be read.
        """
        if self.tls_cert is None:
            return frozenset(LOOPBACK_NAMES)
        return frozenset((*LOOPBACK_NAMES, *_names_in(self.tls_cert)))


def serve(place: Place, open_browser: bool | None, scripts: Sequence[Path] = ()) -> None:
    """Run the console until it is interrupted.

    Args:
        place: where.
        open_browser: also open it. None: where there is a screen.
        scripts: folders whose scripts may be run; none: one of the party's own.

    Raises:
        ConfigurationError: it may not listen there, or cannot.
    """
    place.check()
    names, home = place.names(), home_directory()
    with closing(_listen(place)) as listening:
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
        shown = (
            place.address if place.is_loopback or not place.has_tls else sorted(place.names() - {*LOOPBACK_NAMES})[0]
        )
        name = f"[{shown}]" if ":" in shown else shown
        self._base = f"{'https' if place.has_tls else 'http'}://{name}:{port}/sign-in"
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
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        ssl_certfile=None if place.tls_cert is None else str(place.tls_cert),
        ssl_keyfile=None if place.tls_key is None else str(place.tls_key),
    )


def _listen(place: Place) -> socket.socket:
    try:
        family, kind, number, _, where = socket.getaddrinfo(place.address, place.port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, number)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(where)
            made.listen()
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"the console cannot listen on {place.address}, port {place.port}: {error.strerror}; is another one "
            "running? Give --port 0 for any free port"
        ) from error
    made.setblocking(False)
    return made


def _names_in(certificate: Path) -> list[str]:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        raise ConfigurationError(f"--tls-cert {certificate}: {error.strerror}") from error
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ConfigurationError(
            f"--tls-cert {certificate} is no certificate that says for which names it is"
        ) from error
    addresses = (str(each) for each in names.get_values_for_type(x509.IPAddress))
    return [*(name.lower() for name in names.get_values_for_type(x509.DNSName)), *addresses]


def _has_screen() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
