"""Parties that run in a process of their own, started by `multiprocessing` with the spawn method."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.harness.limits import seconds
from protocols.core.envelope import Phase
from protocols.core.errors import SecureHflError
from secure_hfl.identity import Identity
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer
from tests.transport.messages import CATALOGUE, Note

TASK = "task-1"
TIMEOUT = seconds(30)


def start(target: Any) -> tuple[BaseProcess, Connection]:
    """Run one of the functions below; the other end of its pipe."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def collaborator(pipe: Connection) -> None:
    """Echo every note until the host closes the channel."""
    identity = Identity.create("collaborator")
    pipe.send(identity.certificate_pem)
    port, host_certificate = pipe.recv()
    channel = connect(f"localhost:{port}", TASK, identity, host_certificate, TIMEOUT, "host", catalogue=CATALOGUE)
    try:
        while True:
            envelope = channel.receive(TIMEOUT)
            channel.send(envelope.phase, envelope.round, envelope.batch, envelope.message, TIMEOUT)
    except SecureHflError as error:
        pipe.send(str(error))
    channel.close(TIMEOUT)


def host(pipe: Connection) -> None:
    """Send one large note, close, and leave without waiting for anything."""
    identity = Identity.create("host")
    with PartyServer("localhost:0", identity) as server:
        lobby = server.open_task(TASK, {"collaborator": pipe.recv()}, CATALOGUE)
        pipe.send((server.port, identity.certificate_pem))
        channel = lobby.wait(TIMEOUT)["collaborator"]
        if pipe.recv() == "send":
            channel.send(Phase.TRAIN, 1, 0, Note(1, bytes(20_000_000)), TIMEOUT)
            channel.close(TIMEOUT)


def careless_host(pipe: Connection) -> None:
    """Return with everything still open."""
    identity = Identity.create("host")
    server = PartyServer("localhost:0", identity)
    lobby = server.open_task(TASK, {"collaborator": pipe.recv()}, CATALOGUE)
    pipe.send((server.port, identity.certificate_pem))
    lobby.wait(TIMEOUT)
    pipe.recv()
