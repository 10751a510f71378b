"""Where a server for people's own programs listens: on this machine alone, unless both a person's word and TLS say
otherwise. Not for the parties' connections with each other (secure_hfl/transport/)."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from secure_hfl.errors import ConfigurationError

LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Place:
    """Where something listens.

    Attributes:
        address: of the interface.
        port: 0: any free one.
        tls_cert, tls_key: PEM files of a server's certificate and key, which clients must trust.
        allow_remote: other machines may reach it.
    """

    address: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_remote: bool = False

    @classmethod
    def parse(cls, text: str, tls_cert: Path | None, tls_key: Path | None, allow_remote: bool) -> Place:
        """From "address:port", "[v6]:port" or a port of loopback. Raises `ConfigurationError`."""
        address, _, port = text.rpartition(":")
        bare = address.removeprefix("[").removesuffix("]")
        is_right = port.isascii() and port.isdecimal() and int(port) < 1 << 16 and (":" in bare) == ("[" in address)
        if not is_right:
            raise ConfigurationError(f"{text!r} is no place to listen: write it as 127.0.0.1:8080 or [::1]:8080")
        return cls(bare or LOOPBACK_NAMES[0], int(port), tls_cert, tls_key, allow_remote)

    def check(self, danger: str) -> None:
        """Raise `ConfigurationError` unless it may listen there; `danger`: what others could do there."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key belong together: give both, or none")
        if not self.is_loopback and not (self.allow_remote and self.has_tls):
            raise ConfigurationError(
                f"{self.address} can be reached from other machines, and {danger}. If that is meant, say "
                "--allow-remote and give --tls-cert and --tls-key; from "
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
        """Whether clients connect over TLS."""
        return self.tls_cert is not None

    def _check_tls(self) -> None:
        if self.tls_cert is None or self.tls_key is None:
            return
        for option, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            try:
                path.read_bytes()
            except OSError as error:
                raise ConfigurationError(f"{option} {path}: {error.strerror}") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key, _no_password)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"--tls-cert {self.tls_cert} and --tls-key {self.tls_key} do not belong together, or one is no PEM file"
            ) from error

    def names(self) -> frozenset[str]:
        """What clients may call this server: this machine's names for itself, and those in its certificate.

        Raises:
            ConfigurationError: the certificate cannot be read.
        """
        if self.tls_cert is None:
            return frozenset(LOOPBACK_NAMES)
        return frozenset((*LOOPBACK_NAMES, *_names_in(self.tls_cert)))

    def url(self, port: int) -> str:
        """What clients connect to, where it listens on this port."""
        if self.is_loopback or not self.has_tls:
            shown = self.address
        else:
            shown = min(self.names() - {*LOOPBACK_NAMES}, default=self.address)
        name = f"[{shown}]" if ":" in shown else shown
        return f"{'https' if self.has_tls else 'http'}://{name}:{port}"

    def listen(self, what: str) -> socket.socket:
        """A socket that listens there; `what`: listens.

        Raises:
            ConfigurationError: it cannot, or its certificate and key cannot be used.
        """
        self._check_tls()
        try:
            family, kind, number, _, where = socket.getaddrinfo(self.address, self.port, type=socket.SOCK_STREAM)[0]
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
                f"{what} cannot listen on {self.address}, port {self.port}: {error.strerror}; is another one "
                "running? Port 0 is any free port"
            ) from error
        made.setblocking(False)
        return made


def _no_password() -> bytes:
    raise ConfigurationError("the key of --tls-key has a password; `openssl pkey` writes one without it")


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
