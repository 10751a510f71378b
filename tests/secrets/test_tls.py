"""TLS 1.3 is what parties speak: read off the wire, and what happens to those who would rather speak 1.2."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from secure_hfl.errors import PeerRefused
from secure_hfl.identity import TLS_NAME, Identity
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer
from tests.secrets.evidence import HOST, OTHER, RUNS, Evidence
from tests.secrets.keeping_proxy import KeepingProxy, negotiated_version
from tests.transport import parties
from tests.transport.messages import CATALOGUE
from tests.transport.parties import TASK, TIMEOUT

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
OFFER = bytes.fromhex("002b 0005 04 0304 0303")
"""supported_versions in a ClientHello: 1.3 or 1.2."""
CIPHERS = "GRPC_SSL_CIPHER_SUITES"
NO_ECDSA = "ECDHE-RSA-AES128-GCM-SHA256"
"""TLS 1.3's suites are always on; of 1.2's this leaves one that no party's certificate fits. See SECURITY.md."""

CLINIC, BANK = Identity.create("clinic"), Identity.create("bank")


@pytest.mark.parametrize("run", RUNS)
def test_parties_negotiate_1_3(evidence: Evidence, run: str) -> None:
    connections = evidence.proxies[run].connections
    versions = {negotiated_version(bytes(each.from_server)) for each in connections if each.from_server}
    assert versions == {TLS_1_3}


@pytest.mark.parametrize("run", RUNS)
def test_the_network_sees_no_certificate_and_no_name(evidence: Evidence, run: str) -> None:
    seen = evidence.places[f"{run}/tcp"]
    assert TLS_NAME.encode() in seen, "the one name that all certificates share is asked for in the clear"
    for name in (HOST, OTHER):
        assert name.encode() not in seen
    assert b"Exchange" not in seen


def test_who_strips_1_3_on_the_way_breaks_the_handshake() -> None:
    """The downgrade attack: the server takes 1.2 for all that the client knows, and the client sees that it does."""

    def strip(hello: bytes) -> bytes:
        assert hello.count(OFFER) == 1
        return hello.replace(OFFER, OFFER[:-4] + b"\x03\x03\x03\x03")

    with PartyServer("127.0.0.1:0", CLINIC) as server:
        server.open_task(TASK, {"bank": BANK.certificate_pem}, CATALOGUE)
        proxy = KeepingProxy(server.port, strip)
        with pytest.raises(PeerRefused, match="TLS13_DOWNGRADE"):
            connect(proxy.address, TASK, BANK, CLINIC.certificate_pem, 1.0, "clinic", catalogue=CATALOGUE)
        proxy.close()
    answers = [bytes(each.from_server) for each in proxy.connections if each.from_server]
    assert {negotiated_version(answer) for answer in answers} == {TLS_1_2}


@pytest.fixture(params=[False, True], ids=["as it comes", "1.3 only"])
def is_strict(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processes that a test starts have the setting of SECURITY.md."""
    if request.param:
        monkeypatch.setenv(CIPHERS, NO_ECDSA)
    return bool(request.param)


@pytest.fixture
def pems(tmp_path: Path) -> Iterator[Path]:
    """Bank's key and certificate in one file."""
    path = tmp_path / "bank.pem"
    path.write_bytes(BANK.private_key_pem + BANK.certificate_pem)
    yield path
    path.unlink()


def test_a_client_that_knows_1_2_only(is_strict: bool, pems: Path) -> None:
    """By itself gRPC accepts it, with an authenticated cipher and forward secrecy; with the setting it does not."""
    process, pipe = parties.start(parties.host)
    pipe.send(BANK.certificate_pem)
    port, certificate = pipe.recv()
    outcomes = {}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=certificate.decode())
        context.load_cert_chain(pems)
        context.set_alpn_protocols(["h2"])
        context.maximum_version = version
        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        try:
            with context.wrap_socket(plain, server_hostname=TLS_NAME) as stream:
                cipher = stream.cipher() or ("",)
                outcomes[version.name] = f"{stream.version()} {cipher[0]}" if stream.recv(1) else "hung up"
        except (ssl.SSLError, ConnectionError):
            outcomes[version.name] = "failed"
    assert outcomes["TLSv1_3"].startswith("TLSv1.3 TLS_")
    assert (outcomes["TLSv1_2"] == "failed") == is_strict
    assert is_strict or outcomes["TLSv1_2"].startswith("TLSv1.2 ECDHE-ECDSA-AES")
    _end(process)


def test_a_host_that_knows_1_2_only(is_strict: bool, pems: Path) -> None:
    process, pipe = parties.start(parties.collaborator)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pems)
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=pipe.recv().decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        pipe.send((listener.getsockname()[1], BANK.certificate_pem))
        plain, _ = listener.accept()
        if is_strict:
            with plain, pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
                context.wrap_socket(plain, server_side=True)
        else:
            with context.wrap_socket(plain, server_side=True) as stream:
                assert stream.version() == "TLSv1.2"
    _end(process)


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join(TIMEOUT)
