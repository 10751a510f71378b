"""Attacks on a port: raw sockets, TLS with and without a key that the task knows, HTTP/2 frames made by hand.

Those of `STRANGERS` need nothing but the address. Those of `INSIDERS` hold the key of a participant of the task, who
is named in the task but has not joined. Every attack returns what it holds open, so that the victim is looked at, and
served from, while it goes on.
"""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.harness.limits import START, Limit, seconds
from protocols.wire.frames import CHUNK_BYTES
from secure_hfl.identity import TLS_NAME, Identity
from secure_hfl.transport.client import CLIENT_OPTIONS
from secure_hfl.transport.tls import (
    METHOD,
    SERVICE,
    TASK_ID_KEY,
    channel_credentials,
)

QUIET = 20.0
"""Seconds of a quiet machine for whatever a victim does at once."""

FLOOD = 200
_UNLIMITED = ("grpc.max_send_message_length", -1)
PATH = f"/{SERVICE}/{METHOD}"


@dataclass(frozen=True)
class Target:
    """Who is attacked, and by whom.

    Args:
        port: on loopback.
        task_id: an open task.
        host_pem: the victim's certificate.
        insider: a participant of the task.
        stranger: somebody else.
    """

    port: int
    task_id: str
    host_pem: bytes
    insider: Identity
    stranger: Identity

    @property
    def address(self) -> tuple[str, int]:
        """For sockets."""
        return "127.0.0.1", self.port


def wait_for_port(port: int) -> None:
    """Until somebody listens there."""
    limit = Limit(START)
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), seconds(QUIET)).close()
        except ConnectionRefusedError:
            if not limit.left():
                raise
            time.sleep(0.05)


# Sockets and TLS -----------------------------------------------------------------------------------------------------


def _plain(target: Target) -> socket.socket:
    return socket.create_connection(target.address, timeout=seconds(QUIET))


def _context(target: Target, identity: Identity | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=target.host_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "both.pem"
            path.write_bytes(identity.private_key_pem + identity.certificate_pem)
            context.load_cert_chain(path)
    return context


def _tls(target: Target, identity: Identity | None) -> ssl.SSLSocket:
    return _context(target, identity).wrap_socket(_plain(target), server_hostname=TLS_NAME)


def _hello_bytes(target: Target) -> bytes:
    """A ClientHello."""
    outgoing = ssl.MemoryBIO()
    client = _context(target, None).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=TLS_NAME)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def is_dropped(connection: socket.socket, within: float | None = None) -> bool:
    """Whether the other side ends the connection in time, whatever it says before."""
    deadline = time.monotonic() + (seconds(QUIET) if within is None else within)
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            if not connection.recv(1 << 16):
                return True
        except TimeoutError:
            return False
        except (ssl.SSLError, OSError):
            return True
    return False


# HTTP/2 by hand ------------------------------------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def h2(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(value: bytes) -> bytes:
    assert len(value) < 127 + 128
    return (bytes((len(value),)) if len(value) < 127 else bytes((127, len(value) - 127))) + value


def headers(target: Target, **more: str) -> bytes:
    """A header block of a call, uncompressed."""
    fields = {
        ":method": "POST",
        ":scheme": "https",
        ":path": PATH,
        ":authority": TLS_NAME,
        "te": "trailers",
        "content-type": "application/grpc",
        TASK_ID_KEY: target.task_id,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return b"".join(b"\0" + _text(name.encode()) + _text(value.encode()) for name, value in fields.items())


def call(target: Target, stream: int = 1, **more: str) -> bytes:
    """The frames that start a call."""
    return h2(HEADERS, END_HEADERS, stream, headers(target, **more))


def grpc_message(payload: bytes, compressed: bool = False) -> bytes:
    """With gRPC's prefix."""
    return bytes((compressed,)) + struct.pack(">I", len(payload)) + payload


def _data(stream: int, payload: bytes) -> bytes:
    return b"".join(h2(DATA, 0, stream, payload[at : at + 16384]) for at in range(0, len(payload), 16384))


def _h2(target: Target) -> ssl.SSLSocket:
    connection = _tls(target, target.insider)
    connection.sendall(PREFACE + h2(SETTINGS))
    return connection


Held = list[socket.socket]
Attack = Callable[[Target], Held]


def _say(make: Callable[[Target], socket.socket], *texts: bytes) -> Attack:
    def attack(target: Target) -> Held:
        connection = make(target)
        with suppress(OSError, ssl.SSLError):
            for text in texts:
                connection.sendall(text)
        return [connection]

    return attack


def _no_certificate(target: Target) -> Held:
    return [_tls(target, None) for _ in range(20)]


def _wrong_certificate(target: Target) -> Held:
    return [_tls(target, target.stranger) for _ in range(20)]


def _bytewise_handshake(target: Target) -> Held:
    connection, hello = _plain(target), _hello_bytes(target)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(len(hello) - 1):
        connection.sendall(hello[at : at + 1])
    return [connection]


def _flood(target: Target) -> Held:
    return [_plain(target) for _ in range(FLOOD)]


def _flood_of_hellos(target: Target) -> Held:
    hello = _hello_bytes(target)
    held = _flood(target)
    for connection in held:
        with suppress(OSError):
            connection.sendall(hello[: len(hello) // 2])
    return held


STRANGERS: dict[str, Attack] = {
    "random bytes": _say(_plain, bytes(range(7, 256)) * 1000),
    "HTTP/1": _say(_plain, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10),
    "plaintext HTTP/2": _say(_plain, PREFACE + h2(SETTINGS) * 100),
    "no certificate": _no_certificate,
    "wrong certificate": _wrong_certificate,
    "handshake byte by byte": _bytewise_handshake,
    "flood of connections": _flood,
    "flood of half handshakes": _flood_of_hellos,
}


def _tls_then_silence(target: Target) -> Held:
    return [_tls(target, target.insider) for _ in range(10)]


def _insiders(count: int, *texts: bytes) -> Attack:
    def attack(target: Target) -> Held:
        held: Held = []
        for _ in range(count):
            connection = _h2(target)
            held.append(connection)
            with suppress(OSError, ssl.SSLError):
                for text in texts:
                    connection.sendall(text)
        return held

    return attack


def _with_call(count: int, make: Callable[[Target], Iterator[bytes]]) -> Attack:
    def attack(target: Target) -> Held:
        held: Held = []
        for _ in range(count):
            connection = _h2(target)
            held.append(connection)
            connection.settimeout(2.0)  # a victim that reads no more has had enough
            with suppress(OSError, ssl.SSLError):
                for text in make(target):
                    connection.sendall(text)
        return held

    return attack


def _rpcs(count: int, **metadata: str) -> Attack:
    """Calls through gRPC that are to be refused."""

    def attack(target: Target) -> Held:
        credentials = channel_credentials(target.insider, target.host_pem)
        options = (*CLIENT_OPTIONS, ("grpc.max_metadata_size", 1 << 20))
        with grpc.secure_channel(f"127.0.0.1:{target.port}", credentials, options=options) as channel:
            exchange = channel.stream_stream(PATH, None, None)
            given = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
            calls: list[Any] = [exchange(iter(()), metadata=given, timeout=seconds(QUIET)) for _ in range(count)]
            codes = {each.code() for each in calls}
        assert grpc.StatusCode.OK not in codes, codes
        return []

    return attack


def _bomb(target: Target) -> Held:
    """Messages that gzip makes a thousand times as long, once the seat is free."""
    credentials = channel_credentials(target.insider, target.host_pem)
    options = (*(option for option in CLIENT_OPTIONS if "message_length" not in option[0]), _UNLIMITED)
    with grpc.secure_channel(f"127.0.0.1:{target.port}", credentials, options=options) as channel:
        exchange = channel.stream_stream(PATH, None, None)
        code = grpc.StatusCode.ALREADY_EXISTS
        while code is grpc.StatusCode.ALREADY_EXISTS:
            bomb: Any = exchange(
                iter([bytes(60 << 20)] * 4),
                metadata=((TASK_ID_KEY, target.task_id),),
                compression=grpc.Compression.Gzip,
                timeout=seconds(QUIET),
            )
            code = bomb.code()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, code
    return []


def _huge_frame(target: Target) -> Iterator[bytes]:
    yield call(target)
    yield h2(DATA, 0, 1, struct.pack(">BI", 0, 0xFFFFFFFF) + bytes(10_000))
    for _ in range(100):
        yield _data(1, bytes(CHUNK_BYTES))


def _half_a_frame(target: Target) -> Iterator[bytes]:
    yield call(target)
    yield h2(DATA, 0, 1, struct.pack(">BI", 0, CHUNK_BYTES) + bytes(10_000))


def _many_streams(target: Target) -> Iterator[bytes]:
    for stream in range(1, 4001, 2):
        yield call(target, stream)


def _rapid_reset(target: Target) -> Iterator[bytes]:
    for stream in range(1, 20001, 2):
        yield call(target, stream) + h2(RST_STREAM, 0, stream, struct.pack(">I", 8))


def _header_flood(target: Target) -> Iterator[bytes]:
    yield h2(HEADERS, 0, 1, headers(target))
    block = b"\0" + _text(b"x-long") + _text(b"v" * 200)
    for _ in range(2000):
        yield h2(CONTINUATION, 0, 1, block * 70)


def _large_metadata(target: Target) -> Iterator[bytes]:
    block = headers(target) + (b"\0" + _text(b"x-long") + _text(b"v" * 200)) * 60
    yield h2(HEADERS, END_HEADERS, 1, block)


def _settings_flood(target: Target) -> Iterator[bytes]:
    for _ in range(200):
        yield h2(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)) * 100


def _ping_flood(target: Target) -> Iterator[bytes]:
    for _ in range(200):
        yield h2(PING, 0, 0, bytes(8)) * 100


def _deaf(target: Target) -> Iterator[bytes]:
    """Calls whose answers the caller never lets through."""
    yield h2(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    for stream in range(1, 9, 2):
        yield call(target, stream)


def _reconnecting(target: Target) -> Held:
    """Takes the seat and leaves it, over and over."""
    for _ in range(100):
        connection = _h2(target)
        with suppress(OSError, ssl.SSLError):
            connection.sendall(call(target))
            connection.recv(100)
        connection.close()
    return []


INSIDERS: dict[str, Attack] = {
    "TLS, then silence": _tls_then_silence,
    "HTTP/2, then silence": _insiders(20),
    "other task": _rpcs(100, task_id="other"),
    "no task": _rpcs(10),
    "metadata of 100 kB": _rpcs(3, task_id="other", x_long="v" * 100_000),
    "metadata of 12 kB": _with_call(1, _large_metadata),
    "endless headers": _with_call(1, _header_flood),
    "frame of 4 GB": _with_call(1, _huge_frame),
    "half a frame, then silence": _with_call(1, _half_a_frame),
    "gzip bomb": _bomb,
    "thousands of streams": _with_call(1, _many_streams),
    "rapid reset": _with_call(1, _rapid_reset),
    "settings": _with_call(1, _settings_flood),
    "pings": _with_call(1, _ping_flood),
    "answers not read": _with_call(1, _deaf),
    "in and out": _reconnecting,
    "HTTP/1 in TLS": _say(lambda target: _tls(target, target.insider), b"GET / HTTP/1.1\r\n\r\n" * 10),
}


@dataclass(frozen=True)
class Use:
    """What a process takes."""

    rss_mb: float
    peak_mb: float
    threads: int
    descriptors: int


def use_of(pid: int) -> Use:
    """By /proc."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.count(":") == 1
    )
    return Use(
        int(status["VmRSS"].split()[0]) / 1024,
        int(status["VmHWM"].split()[0]) / 1024,
        int(status["Threads"]),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


@contextmanager
def attacked(attack: Attack, target: Target) -> Iterator[Held]:
    """The attack, for as long as the block runs."""
    with ExitStack() as stack:
        held = attack(target)
        for connection in held:
            stack.enter_context(connection)
        yield held
