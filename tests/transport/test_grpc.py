"""Channels over real gRPC and mutual TLS on loopback, some of them between processes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
    IdentityError,
    MessageTooLarge,
    PeerAborted,
    PeerRefused,
    PeerTimeout,
    TransportError,
)
from secure_hfl.identity import TLS_NAME, Identity
from secure_hfl.transport.channel import Channel, ChannelLimits
from secure_hfl.transport.client import connect
from secure_hfl.transport.secure_hfl_pb2 import Frame
from secure_hfl.transport.secure_hfl_pb2_grpc import PartyStub
from secure_hfl.transport.server import Lobby, PartyServer, listen_address
from secure_hfl.transport.tls import CLIENT_OPTIONS, TASK_ID_KEY, channel_credentials
from tests.transport import parties
from tests.transport.messages import CATALOGUE, Empty, Note
from tests.transport.parties import TASK, TIMEOUT

HOST, ALICE, BOB, STRANGER = (Identity.create(name) for name in ("host", "alice", "bob", "stranger"))
PARTICIPANTS = {"alice": ALICE.certificate_pem, "bob": BOB.certificate_pem}
BRIEFLY = 0.5
LIMITS = ChannelLimits(message_bytes=32 << 20, inbound_bytes=2 << 20, outbound_bytes=2 << 20)


@pytest.fixture
def server() -> Iterator[PartyServer]:
    running = PartyServer("localhost:0", HOST)
    yield running
    running.stop(0)


@pytest.fixture
def lobby(server: PartyServer) -> Lobby:
    return server.open_task(TASK, {"alice": ALICE.certificate_pem}, CATALOGUE, LIMITS)


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


@pytest.fixture
def ends(server: PartyServer, lobby: Lobby) -> Iterator[tuple[Channel, Channel]]:
    """The host's and Alice's end of a channel."""
    ours = join(server, ALICE)
    theirs = lobby.wait(TIMEOUT)["alice"]
    yield theirs, ours
    for channel in (theirs, ours):
        channel.fail(SecureHflError("the test is over"))
        channel.close(0)


def put(channel: Channel, message: Message, timeout: float = TIMEOUT) -> None:
    """Send at some place."""
    channel.send(Phase.TRAIN, 1, 2, message, timeout)


def put_all(channel: Channel, messages: Iterable[Message], timeout: float = TIMEOUT) -> None:
    """Send one after the other."""
    for message in messages:
        put(channel, message, timeout)


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


# Who gets in ---------------------------------------------------------------------------------------------------------


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


def test_wait_names_who_is_missing(server: PartyServer) -> None:
    lobby = server.open_task(TASK, PARTICIPANTS, CATALOGUE)
    join(server, ALICE)
    with pytest.raises(PeerRefused, match=r"^bob did not join task task-1"):
        lobby.wait(BRIEFLY)


def refused(server: PartyServer, identity: Identity, task: str = TASK, timeout: float = TIMEOUT) -> str:
    """The error of somebody who must not get in, after checking what every such error says."""
    with pytest.raises(PeerRefused) as caught:
        join(server, identity, task, timeout)
    text = str(caught.value)
    for part in (HOST.fingerprint, identity.fingerprint, task, f"localhost:{server.port}"):
        assert part in text
    return text


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


def test_a_closed_task_admits_nobody(server: PartyServer, lobby: Lobby) -> None:
    with lobby:
        first = join(server, ALICE)
    put(first, Note(1))
    assert lobby.wait(TIMEOUT)["alice"].receive(TIMEOUT).message == Note(1)
    server.open_task("task-2", {"alice": ALICE.certificate_pem}, CATALOGUE)
    refused(server, ALICE)


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


# TLS -----------------------------------------------------------------------------------------------------------------


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


# Peers that do not keep to the rules ----------------------------------------------------------------------------------


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


# Processes -----------------------------------------------------------------------------------------------------------


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
