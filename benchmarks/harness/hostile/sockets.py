"""The address of a victim, and raw sockets and TLS to it."""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.limits import START, Limit, seconds
from secure_hfl.identity import TLS_NAME, Identity

QUIET = 20.0
"""Seconds of a quiet machine for whatever a victim does at once."""


@dataclass(frozen=True)
class Target:
    """Who is attacked, and by whom.

    Args:
        port: on loopback.
        task_id: an open task.
        host_pem: the victim's certificate.
        insider: a participant of the task.
        stranger: somebody else.
    """

    port: int
    task_id: str
    host_pem: bytes
    insider: Identity
    stranger: Identity

    @property
    def address(self) -> tuple[str, int]:
        """For sockets."""
        return "127.0.0.1", self.port


def wait_for_port(port: int) -> None:
    """Until somebody listens there."""
    limit = Limit(START)
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), seconds(QUIET)).close()
        except ConnectionRefusedError:
            if not limit.left():
                raise
            time.sleep(0.05)


def plain(target: Target) -> socket.socket:
    """A connection that has said nothing."""
    return socket.create_connection(target.address, timeout=seconds(QUIET))


def _context(target: Target, identity: Identity | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=target.host_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "both.pem"
            path.write_bytes(identity.private_key_pem + identity.certificate_pem)
            context.load_cert_chain(path)
    return context


def tls(target: Target, identity: Identity | None) -> ssl.SSLSocket:
    """A connection after the handshake, with this certificate or none."""
    return _context(target, identity).wrap_socket(plain(target), server_hostname=TLS_NAME)


def hello_bytes(target: Target) -> bytes:
    """A ClientHello."""
    outgoing = ssl.MemoryBIO()
    client = _context(target, None).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=TLS_NAME)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def is_dropped(connection: socket.socket, within: float | None = None) -> bool:
    """Whether the other side ends the connection in time, whatever it says before."""
    deadline = time.monotonic() + (seconds(QUIET) if within is None else within)
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            if not connection.recv(1 << 16):
                return True
        except TimeoutError:
            return False
        except (ssl.SSLError, OSError):
            return True
    return False
