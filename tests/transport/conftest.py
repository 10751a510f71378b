"""A server of this process, and a task that waits for Alice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secure_hfl.transport.server import Lobby, PartyServer
from tests.transport.loopback import ALICE, HOST, LIMITS
from tests.transport.messages import CATALOGUE
from tests.transport.parties import TASK


@pytest.fixture
def server() -> Iterator[PartyServer]:
    running = PartyServer("localhost:0", HOST)
    yield running
    running.stop(0)


@pytest.fixture
def lobby(server: PartyServer) -> Lobby:
    return server.open_task(TASK, {"alice": ALICE.certificate_pem}, CATALOGUE, LIMITS)
