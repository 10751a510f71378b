"""Several tasks of one process at one address."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.harness.limits import seconds
from benchmarks.harness.ports import free_ports
from protocols.task.messages import COMMON_MESSAGES
from protocols.wire.codec import Catalogue
from secure_hfl.errors import ConnectionLost, PeerRefused, TransportError
from secure_hfl.identity import Identity
from secure_hfl.transport.client import connect
from secure_hfl.transport.shared import shared_server

CATALOGUE = Catalogue(COMMON_MESSAGES)
QUIET = 20.0


def identities(*names: str) -> list[Identity]:
    """New ones."""
    return [Identity.create(name) for name in names]


def test_the_last_task_stops_the_server() -> None:
    host, alice, bob = identities("host", "alice", "bob")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    first = shared_server(address, host)
    second = shared_server(address, host)
    assert first.port == second.port
    first.open_task("a", {"alice": alice.certificate_pem}, CATALOGUE)
    lobby = second.open_task("b", {"bob": bob.certificate_pem}, CATALOGUE)
    first.stop()
    first.stop()
    channel = connect(address, "b", bob, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE)
    assert lobby.wait(seconds(QUIET))["bob"].is_usable
    channel.close(seconds(QUIET))
    second.stop()
    with pytest.raises(PeerRefused, match=r"no connection .*refused"):
        connect(address, "b", bob, host.certificate_pem, 0.3, "host", catalogue=CATALOGUE)
    with shared_server(address, alice) as third:
        assert third.port == first.port, "whoever comes next may be somebody else"


def test_a_finished_tasks_participants_are_strangers() -> None:
    """Beside a task that goes on: who is under way is dropped, and who comes again fails in the handshake."""
    host, alice, bob = identities("host", "alice", "bob")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with shared_server(address, host) as first, shared_server(address, host) as second:
        ours = first.open_task("a", {"alice": alice.certificate_pem}, CATALOGUE)
        second.open_task("b", {"bob": bob.certificate_pem}, CATALOGUE)
        with pytest.raises(PeerRefused, match="no open task with this id lists your certificate"):
            connect(address, "b", alice, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE)
        late = connect(address, "a", alice, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE)
        assert list(ours.arrived()) == ["alice"]
        first.stop()
        with pytest.raises(ConnectionLost):  # broken or closed, whichever gets there first
            late.receive(seconds(QUIET))
        with pytest.raises(PeerRefused, match="no connection to host within"):
            connect(address, "a", alice, host.certificate_pem, 0.3, "host", catalogue=CATALOGUE)
        connect(address, "b", bob, host.certificate_pem, seconds(QUIET), "host", catalogue=CATALOGUE).close(
            seconds(QUIET)
        )


def test_another_identity_at_the_address_is_refused() -> None:
    host, other = identities("host", "other")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with shared_server(address, host):
        with pytest.raises(TransportError, match="give the parties different ports"):
            shared_server(address, other)
        with pytest.raises(TransportError, match="give both tasks the same address"):
            shared_server(address.replace("127.0.0.1", "[::]"), host)


def test_many_tasks_come_and_go_at_one_address() -> None:
    host, alice = identities("host", "alice")
    address = f"127.0.0.1:{free_ports(1)[0]}"

    def use(number: int) -> int:
        with shared_server(address, host) as server:
            server.open_task(f"task{number}", {"alice": alice.certificate_pem}, CATALOGUE)
            return server.port

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(64))) == {int(address.rpartition(":")[2])}
