"""Who gets in at a server, and who is told why not."""

from __future__ import annotations

import queue
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from secure_hfl.errors import (
    ConnectionLost,
    IdentityError,
    PeerRefused,
    TransportError,
)
from secure_hfl.identity import Identity
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import Lobby, PartyServer, listen_address
from tests.transport.loopback import ALICE, BOB, BRIEFLY, HOST, STRANGER, join, put, refused
from tests.transport.messages import CATALOGUE, Note
from tests.transport.parties import TASK, TIMEOUT

PARTICIPANTS = {"alice": ALICE.certificate_pem, "bob": BOB.certificate_pem}


def test_everybody_is_seated_under_the_tasks_name(server: PartyServer) -> None:
    """Certificates may all say the same name."""
    twins = {f"party {number}": Identity.create("twin") for number in range(3)}
    lobby = server.open_task(TASK, {name: twin.certificate_pem for name, twin in twins.items()}, CATALOGUE)
    ours = {name: join(server, twins[name]) for name in reversed(twins)}
    theirs = lobby.wait(TIMEOUT)
    assert list(theirs) == list(twins)
    for number, name in enumerate(twins):
        put(ours[name], Note(number))
        assert theirs[name].receive(TIMEOUT).message == Note(number)
        assert theirs[name].peer == name


def test_who_comes_and_who_goes_is_told(server: PartyServer) -> None:
    lobby, told = server.open_task(TASK, PARTICIPANTS, CATALOGUE), queue.SimpleQueue[tuple[str, bool]]()
    lobby.on_change = lambda name, is_here: told.put((name, is_here))
    channel = join(server, BOB)
    assert told.get(timeout=TIMEOUT) == ("bob", True)
    channel.close(TIMEOUT)
    assert told.get(timeout=TIMEOUT) == ("bob", False)


def test_wait_names_who_is_missing(server: PartyServer) -> None:
    lobby = server.open_task(TASK, PARTICIPANTS, CATALOGUE)
    join(server, ALICE)
    with pytest.raises(PeerRefused, match=r"^bob did not join task task-1"):
        lobby.wait(BRIEFLY)


def test_a_stranger_fails_in_the_handshake(server: PartyServer, lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(server, "_admit", calls.append)
    assert refused(server, STRANGER, timeout=BRIEFLY).startswith("no connection to host within 0.5 s (")
    assert calls == []


def test_a_participant_of_another_task_is_refused(server: PartyServer, lobby: Lobby) -> None:
    server.open_task("task-2", {"bob": BOB.certificate_pem}, CATALOGUE)
    wrong_task = refused(server, BOB)
    no_task = refused(server, BOB, "task-3")
    assert "no open task with this id lists your certificate" in wrong_task
    assert no_task == wrong_task.replace(TASK, "task-3")


def test_a_closed_task_admits_nobody(server: PartyServer, lobby: Lobby, caplog: pytest.LogCaptureFixture) -> None:
    """Who comes back to one is not warned of: a collaborator that serves predictions always does."""
    with lobby:
        first = join(server, ALICE)
    put(first, Note(1))
    assert lobby.wait(TIMEOUT)["alice"].receive(TIMEOUT).message == Note(1)
    server.open_task("task-2", {"alice": ALICE.certificate_pem}, CATALOGUE)
    refused(server, ALICE)
    assert not [each for each in caplog.messages if "refused certificate" in each]
    refused(server, ALICE, "task-3")
    assert [each for each in caplog.messages if "refused certificate" in each]


def test_a_second_connection_is_refused_while_the_first_lives(server: PartyServer, lobby: Lobby) -> None:
    first = join(server, ALICE)
    assert "connected already" in refused(server, ALICE)
    earlier = lobby.wait(TIMEOUT)["alice"]
    first.close(TIMEOUT)
    with pytest.raises(ConnectionLost):
        earlier.receive(TIMEOUT)
    second = join(server, ALICE)
    again = lobby.wait(TIMEOUT)["alice"]
    put(again, Note(7))
    assert second.receive(TIMEOUT).message == Note(7)


def test_another_hosts_certificate_is_refused(server: PartyServer, lobby: Lobby) -> None:
    with pytest.raises(PeerRefused, match=r"no connection .*certificate"):
        connect(f"localhost:{server.port}", TASK, ALICE, STRANGER.certificate_pem, BRIEFLY, "host", catalogue=CATALOGUE)


def test_nobody_listening(server: PartyServer) -> None:
    port = server.port
    server.stop(0)
    with pytest.raises(PeerRefused, match=r"no connection .*refused"):
        connect(f"127.0.0.1:{port}", TASK, ALICE, HOST.certificate_pem, BRIEFLY, "host", catalogue=CATALOGUE)


def test_a_host_that_comes_up_later_is_found() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(connect, address, TASK, ALICE, HOST.certificate_pem, TIMEOUT, "host", catalogue=CATALOGUE)
        with pytest.raises(PeerRefused):
            connect(address, TASK, BOB, HOST.certificate_pem, BRIEFLY, "host", catalogue=CATALOGUE)
        with PartyServer(address, HOST) as server:
            lobby = server.open_task(TASK, {"alice": ALICE.certificate_pem}, CATALOGUE)
            joining.result(TIMEOUT).close(TIMEOUT)
            assert lobby.task_id == TASK


def test_a_taken_port_is_an_error(server: PartyServer) -> None:
    with pytest.raises(TransportError, match=f"cannot listen on localhost:{server.port}"):
        PartyServer(f"localhost:{server.port}", HOST)


def test_open_task_refuses_doubles(server: PartyServer, lobby: Lobby) -> None:
    with pytest.raises(TransportError, match="open on this server already"):
        server.open_task(TASK, PARTICIPANTS, CATALOGUE)
    with pytest.raises(IdentityError, match="same certificate"):
        server.open_task("task-2", {"alice": ALICE.certificate_pem, "bob": ALICE.certificate_pem}, CATALOGUE)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("host.example:5000", "[::]:5000"),
        ("192.0.2.1:5000", "[::]:5000"),
        ("localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_listen_address(address: str, expected: str) -> None:
    assert listen_address(address) == expected


def test_an_internal_error_keeps_its_text(server: PartyServer, lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: object) -> None:
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr(server, "_admit", broken)
    text = refused(server, ALICE)
    assert "the host failed; its log says why" in text
    assert "secret" not in text
