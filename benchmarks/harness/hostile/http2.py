"""HTTP/2 frames made by hand."""

from __future__ import annotations

import ssl
import struct

from benchmarks.harness.hostile.sockets import Target, tls
from secure_hfl.identity import TLS_NAME
from secure_hfl.transport.tls import (
    METHOD,
    SERVICE,
    TASK_ID_KEY,
)

PATH = f"/{SERVICE}/{METHOD}"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def h2(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def header_text(value: bytes) -> bytes:
    """A name or value of a header block."""
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
    return b"".join(b"\0" + header_text(name.encode()) + header_text(value.encode()) for name, value in fields.items())


def call(target: Target, stream: int = 1, **more: str) -> bytes:
    """The frames that start a call."""
    return h2(HEADERS, END_HEADERS, stream, headers(target, **more))


def data_frames(stream: int, payload: bytes) -> bytes:
    """A call's bytes."""
    return b"".join(h2(DATA, 0, stream, payload[at : at + 16384]) for at in range(0, len(payload), 16384))


def http2(target: Target) -> ssl.SSLSocket:
    """A participant's connection, open for calls."""
    connection = tls(target, target.insider)
    connection.sendall(PREFACE + h2(SETTINGS))
    return connection
