"""Channels between processes, one of which is killed or ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from secure_hfl.errors import (
    ConnectionLost,
    PeerRefused,
)
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer
from tests.transport import parties
from tests.transport.loopback import ALICE, HOST, put
from tests.transport.messages import CATALOGUE, Note
from tests.transport.parties import TASK, TIMEOUT


def test_a_killed_collaborator_is_noticed_and_may_come_back(server: PartyServer) -> None:
    process, pipe = parties.start(parties.collaborator)
    certificate = pipe.recv()
    lobby = server.open_task(TASK, {"collaborator": certificate}, CATALOGUE)
    pipe.send((server.port, HOST.certificate_pem))
    channel = lobby.wait(TIMEOUT)["collaborator"]
    put(channel, Note(1, bytes(3_000_000)))
    assert channel.receive(TIMEOUT).message == Note(1, bytes(3_000_000))
    process.kill()
    with pytest.raises(ConnectionLost, match="collaborator"):
        channel.receive(TIMEOUT)
    with pytest.raises(PeerRefused, match="collaborator did not join"):
        lobby.wait(0)
    process.join(TIMEOUT)


def test_a_killed_host_is_noticed() -> None:
    process, pipe = parties.start(parties.host)
    pipe.send(ALICE.certificate_pem)
    port, certificate = pipe.recv()
    channel = connect(f"localhost:{port}", TASK, ALICE, certificate, TIMEOUT, "host", catalogue=CATALOGUE)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(channel.receive, TIMEOUT)
        process.kill()
        with pytest.raises(ConnectionLost, match="the connection to host broke"):
            waiting.result(TIMEOUT)
    channel.close(0)
    process.join(TIMEOUT)


def test_a_host_that_closes_and_exits_loses_nothing() -> None:
    process, pipe = parties.start(parties.host)
    pipe.send(ALICE.certificate_pem)
    port, certificate = pipe.recv()
    channel = connect(f"localhost:{port}", TASK, ALICE, certificate, TIMEOUT, "host", catalogue=CATALOGUE)
    pipe.send("send")
    assert channel.receive(TIMEOUT).message == Note(1, bytes(20_000_000))
    with pytest.raises(ConnectionLost, match="host has closed"):
        channel.receive(TIMEOUT)
    channel.close(TIMEOUT)
    process.join(TIMEOUT)
    assert process.exitcode == 0


def test_open_channels_do_not_keep_a_process_from_exiting() -> None:
    process, pipe = parties.start(parties.careless_host)
    pipe.send(ALICE.certificate_pem)
    port, certificate = pipe.recv()
    channel = connect(f"localhost:{port}", TASK, ALICE, certificate, TIMEOUT, "host", catalogue=CATALOGUE)
    pipe.send("leave")
    with pytest.raises(ConnectionLost):
        channel.receive(TIMEOUT)
    process.join(TIMEOUT)
    assert process.exitcode == 0
