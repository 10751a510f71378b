"""Channels over real gRPC and mutual TLS on loopback, also with a peer that does not keep to the rules."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import MalformedMessage, MessageOutOfOrder, SecureHflError
from protocols.core.message import Message
from protocols.task.abort import Abort
from protocols.wire.codec import encode
from protocols.wire.frames import CHUNK_BYTES
from secure_hfl.errors import (
    ConnectionLost,
    MessageTooLarge,
    PeerAborted,
    PeerTimeout,
)
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.secure_hfl_pb2 import Frame
from secure_hfl.transport.secure_hfl_pb2_grpc import PartyStub
from secure_hfl.transport.server import Lobby, PartyServer
from secure_hfl.transport.tls import CLIENT_OPTIONS, TASK_ID_KEY, channel_credentials
from tests.transport.loopback import ALICE, BRIEFLY, HOST, LIMITS, join, put, put_all
from tests.transport.messages import CATALOGUE, Empty, Note
from tests.transport.parties import TASK, TIMEOUT


@pytest.fixture
def ends(server: PartyServer, lobby: Lobby) -> Iterator[tuple[Channel, Channel]]:
    """The host's and Alice's end of a channel."""
    ours = join(server, ALICE)
    theirs = lobby.wait(TIMEOUT)["alice"]
    yield theirs, ours
    for channel in (theirs, ours):
        channel.fail(SecureHflError("the test is over"))
        channel.close(0)


def test_both_directions(ends: tuple[Channel, Channel]) -> None:
    messages: list[Message] = [Note(1, bytes(20_000_000)), Empty(), Note(2, b"x")]
    for here, there in (ends, ends[::-1]):
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(put_all, here, messages)
            received = [there.receive(TIMEOUT) for _ in messages]
            sending.result(TIMEOUT)
        assert [envelope.message for envelope in received] == messages
        assert there.received.bytes == here.sent.bytes


@pytest.mark.parametrize("closer", [0, 1], ids=["host", "collaborator"])
def test_closing_delivers_what_was_sent(ends: tuple[Channel, Channel], closer: int) -> None:
    here, there = ends[closer], ends[1 - closer]
    put(here, Note(1, bytes(1_500_000)))
    put(here, Note(2))
    here.close(TIMEOUT)
    assert [there.receive(TIMEOUT).message for _ in range(2)] == [Note(1, bytes(1_500_000)), Note(2)]
    with pytest.raises(ConnectionLost, match=r"(host|alice) has closed the connection"):
        there.receive(TIMEOUT)
    there.close(TIMEOUT)


@pytest.mark.parametrize("sender", [0, 1], ids=["host", "collaborator"])
def test_an_abort_reaches_a_waiting_peer(ends: tuple[Channel, Channel], sender: int) -> None:
    here, there = ends[sender], ends[1 - sender]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(there.receive, TIMEOUT)
        here.fail(SecureHflError("something local"))
        put(here, Abort("out of range", "alice", "OutOfRange"))
        here.close(TIMEOUT)
        error = waiting.exception(TIMEOUT)
    assert isinstance(error, PeerAborted)
    assert (error.party, error.reason, error.code) == ("alice", "out of range", "OutOfRange")


def test_a_peer_that_does_not_receive_stops_the_sender(ends: tuple[Channel, Channel]) -> None:
    """What is under way is bounded by the two queues and by what HTTP/2 lets pass, and none of it is lost."""
    here, there = ends
    message = Note(1, bytes(CHUNK_BYTES))
    with pytest.raises(PeerTimeout, match="alice took nothing"):
        put_all(here, [message] * 1000, BRIEFLY)
    assert here.sent.bytes < 64 << 20
    assert there._inbound._queue.bytes <= LIMITS.inbound_bytes
    sent = here.sent.messages
    assert [there.receive(TIMEOUT).sequence for _ in range(sent)] == list(range(sent))
    put(here, message)


class RawPeer:
    """Alice's certificate, but frames of the test's choice, through the generated stub."""

    def __init__(self, server: PartyServer) -> None:
        self.frames: SimpleQueue[Frame | None] = SimpleQueue()
        credentials = channel_credentials(ALICE, HOST.certificate_pem)
        self.grpc_channel = grpc.secure_channel(f"localhost:{server.port}", credentials, options=CLIENT_OPTIONS)
        self.call: Any = PartyStub(self.grpc_channel).Exchange(
            iter(self.frames.get, None), metadata=((TASK_ID_KEY, TASK),)
        )

    def send(self, *frames: Frame) -> None:
        """Queue frames."""
        for frame in frames:
            self.frames.put(frame)

    def send_message(self, message: Message, sequence: int) -> None:
        """A correct message with any number."""
        data = encode(Envelope(sequence, Phase.TRAIN, 1, 0, message), CATALOGUE)
        self.send(Frame(message_length=len(data), chunk=data))


@pytest.fixture
def raw(server: PartyServer, lobby: Lobby) -> Iterator[RawPeer]:
    peer = RawPeer(server)
    yield peer
    peer.frames.put(None)
    peer.grpc_channel.close()


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([Frame(message_length=LIMITS.message_bytes + 1, chunk=bytes(CHUNK_BYTES))], MessageTooLarge),
        ([Frame(message_length=CHUNK_BYTES + 1, chunk=bytes(CHUNK_BYTES)), Frame(chunk=b"xx")], MalformedMessage),
        ([Frame(message_length=3, chunk=b"\xff\xff\xff")], MalformedMessage),
        ([Frame()], MalformedMessage),
        ([Frame(message_length=1 << 62, chunk=b"x")], MessageTooLarge),
        ([Frame(message_length=2 << 20, chunk=bytes(2 << 20))], ConnectionLost),
    ],
    ids=["announced too large", "overrun", "invalid protobuf", "empty", "announced 2^62", "frame too large"],
)
def test_bad_frames(lobby: Lobby, raw: RawPeer, frames: list[Frame], error: type[SecureHflError]) -> None:
    channel = lobby.wait(TIMEOUT)["alice"]
    raw.send(*frames)
    with pytest.raises(error):
        channel.receive(TIMEOUT)


@pytest.mark.parametrize("sequence", [0, 2], ids=["replay", "gap"])
def test_bad_sequence(lobby: Lobby, raw: RawPeer, sequence: int) -> None:
    channel = lobby.wait(TIMEOUT)["alice"]
    raw.send_message(Note(1), 0)
    raw.send_message(Note(1), sequence)
    assert channel.receive(TIMEOUT).message == Note(1)
    with pytest.raises(MessageOutOfOrder):
        channel.receive(TIMEOUT)


def test_a_stream_that_stops_without_an_end_is_lost(lobby: Lobby, raw: RawPeer) -> None:
    channel = lobby.wait(TIMEOUT)["alice"]
    raw.frames.put(None)
    with pytest.raises(ConnectionLost, match="alice"):
        channel.receive(TIMEOUT)
