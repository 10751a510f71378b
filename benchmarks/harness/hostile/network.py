"""Attacks on a port: raw sockets, TLS with and without a key that the task knows, HTTP/2 frames made by hand.

Those of `STRANGERS` need nothing but the address. Those of `INSIDERS` hold the key of a participant of the task, who
is named in the task but has not joined. Every attack returns what it holds open, so that the victim is looked at, and
served from, while it goes on.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.harness.hostile.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    PATH,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call,
    data_frames,
    h2,
    header_text,
    headers,
    http2,
)
from benchmarks.harness.hostile.sockets import QUIET, Target, hello_bytes, plain, tls
from benchmarks.harness.limits import seconds
from protocols.wire.frames import CHUNK_BYTES
from secure_hfl.transport.tls import (
    CLIENT_OPTIONS,
    TASK_ID_KEY,
    channel_credentials,
)

FLOOD = 200
_UNLIMITED = ("grpc.max_send_message_length", -1)

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
    return [tls(target, None) for _ in range(20)]


def _wrong_certificate(target: Target) -> Held:
    return [tls(target, target.stranger) for _ in range(20)]


def _bytewise_handshake(target: Target) -> Held:
    connection, hello = plain(target), hello_bytes(target)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(len(hello) - 1):
        connection.sendall(hello[at : at + 1])
    return [connection]


def _flood(target: Target) -> Held:
    return [plain(target) for _ in range(FLOOD)]


def _flood_of_hellos(target: Target) -> Held:
    hello = hello_bytes(target)
    held = _flood(target)
    for connection in held:
        with suppress(OSError):
            connection.sendall(hello[: len(hello) // 2])
    return held


STRANGERS: dict[str, Attack] = {
    "random bytes": _say(plain, bytes(range(7, 256)) * 1000),
    "HTTP/1": _say(plain, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10),
    "plaintext HTTP/2": _say(plain, PREFACE + h2(SETTINGS) * 100),
    "no certificate": _no_certificate,
    "wrong certificate": _wrong_certificate,
    "handshake byte by byte": _bytewise_handshake,
    "flood of connections": _flood,
    "flood of half handshakes": _flood_of_hellos,
}


def _tls_then_silence(target: Target) -> Held:
    return [tls(target, target.insider) for _ in range(10)]


def _insiders(count: int, *texts: bytes) -> Attack:
    def attack(target: Target) -> Held:
        held: Held = []
        for _ in range(count):
            connection = http2(target)
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
            connection = http2(target)
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
        yield data_frames(1, bytes(CHUNK_BYTES))


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
    block = b"\0" + header_text(b"x-long") + header_text(b"v" * 200)
    for _ in range(2000):
        yield h2(CONTINUATION, 0, 1, block * 70)


def _large_metadata(target: Target) -> Iterator[bytes]:
    block = headers(target) + (b"\0" + header_text(b"x-long") + header_text(b"v" * 200)) * 60
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
        connection = http2(target)
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
    "HTTP/1 in TLS": _say(lambda target: tls(target, target.insider), b"GET / HTTP/1.1\r\n\r\n" * 10),
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
