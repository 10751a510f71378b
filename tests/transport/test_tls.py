"""Clients that are not gRPC at a server that pins its clients' certificates."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from secure_hfl.identity import TLS_NAME, Identity
from secure_hfl.transport.secure_hfl_pb2_grpc import PartyStub
from secure_hfl.transport.server import Lobby, PartyServer
from secure_hfl.transport.tls import TASK_ID_KEY
from tests.transport.loopback import ALICE, HOST, STRANGER
from tests.transport.parties import TASK, TIMEOUT


def tls_socket(server: PartyServer, tmp_path: Path, identity: Identity | None) -> ssl.SSLSocket:
    """A client that is not gRPC."""
    context = ssl.create_default_context(cadata=HOST.certificate_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        path = tmp_path / "both.pem"
        path.write_bytes(identity.private_key_pem + identity.certificate_pem)
        context.load_cert_chain(path)
    plain = socket.create_connection(("localhost", server.port), timeout=TIMEOUT)
    return context.wrap_socket(plain, server_hostname=TLS_NAME)


def test_tls_1_3_is_spoken(server: PartyServer, lobby: Lobby, tmp_path: Path) -> None:
    with tls_socket(server, tmp_path, ALICE) as stream:
        assert stream.version() == "TLSv1.3"
        assert stream.recv(1)


@pytest.mark.parametrize("identity", [None, STRANGER], ids=["no certificate", "unknown certificate"])
def test_tls_without_a_pinned_certificate_ends(
    server: PartyServer, lobby: Lobby, tmp_path: Path, identity: Identity | None
) -> None:
    with tls_socket(server, tmp_path, identity) as stream:
        assert ended(lambda: stream.recv(1))


def ended(read: Callable[[], bytes]) -> bool:
    """Whether the other side has ended the connection, politely or not."""
    try:
        return read() == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_plaintext_is_refused(server: PartyServer, lobby: Lobby) -> None:
    with grpc.insecure_channel(f"localhost:{server.port}") as channel:
        call = PartyStub(channel).Exchange(iter(()), metadata=((TASK_ID_KEY, TASK),), timeout=TIMEOUT)
        assert call.code() is grpc.StatusCode.UNAVAILABLE
