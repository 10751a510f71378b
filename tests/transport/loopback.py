"""A server and its clients in one process: what the tests over real gRPC share."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from protocols.core.envelope import Phase
from protocols.core.message import Message
from secure_hfl.errors import (
    PeerRefused,
)
from secure_hfl.identity import Identity
from secure_hfl.transport.channel import Channel, ChannelLimits
from secure_hfl.transport.client import connect
from secure_hfl.transport.server import PartyServer
from tests.transport.messages import CATALOGUE
from tests.transport.parties import TASK, TIMEOUT

HOST, ALICE, BOB, STRANGER = (Identity.create(name) for name in ("host", "alice", "bob", "stranger"))
BRIEFLY = 0.5
LIMITS = ChannelLimits(message_bytes=32 << 20, inbound_bytes=2 << 20, outbound_bytes=2 << 20)


def join(server: PartyServer, identity: Identity, task: str = TASK, timeout: float = TIMEOUT) -> Channel:
    """Connect to a server of this process."""
    return connect(
        f"localhost:{server.port}",
        task,
        identity,
        HOST.certificate_pem,
        timeout,
        "host",
        limits=LIMITS,
        catalogue=CATALOGUE,
    )


def put(channel: Channel, message: Message, timeout: float = TIMEOUT) -> None:
    """Send at some place."""
    channel.send(Phase.TRAIN, 1, 2, message, timeout)


def put_all(channel: Channel, messages: Iterable[Message], timeout: float = TIMEOUT) -> None:
    """Send one after the other."""
    for message in messages:
        put(channel, message, timeout)


def refused(server: PartyServer, identity: Identity, task: str = TASK, timeout: float = TIMEOUT) -> str:
    """The error of somebody who must not get in, after checking what every such error says."""
    with pytest.raises(PeerRefused) as caught:
        join(server, identity, task, timeout)
    text = str(caught.value)
    for part in (HOST.fingerprint, identity.fingerprint, task, f"localhost:{server.port}"):
        assert part in text
    return text
