"""A proxy that keeps what passes, and may change what a client says first."""

from __future__ import annotations

import socket
from collections.abc import Callable

from secure_hfl.bench.tcp_proxy import Connection, Direction, Stream, TcpProxy

SERVER_HELLO = 2
SUPPORTED_VERSIONS = 43


def unchanged(data: bytes) -> bytes:
    """The default for `change`."""
    return data


class KeptConnection(Connection):
    """One connection, and the bytes that went each way."""

    def __init__(self, near: socket.socket, far: socket.socket, chunk: int, room: int) -> None:
        super().__init__(near, far, chunk, room)
        self.from_client, self.from_server = bytearray(), bytearray()


class KeepingProxy(TcpProxy):
    """Listens on a loopback port and passes every connection on to another.

    Args:
        port: where to.
        change: of the client's first bytes.

    Attributes:
        connections: all so far.
    """

    def __init__(self, port: int, change: Callable[[bytes], bytes] = unchanged) -> None:
        self.connections: list[KeptConnection] = []
        self._change = change
        super().__init__(port)
        self.address = f"127.0.0.1:{self.port}"

    def connected(self, near: socket.socket, far: socket.socket) -> Connection:
        """One more to keep."""
        self.connections.append(KeptConnection(near, far, self._chunk, self._room))
        return self.connections[-1]

    def forward(self, connection: Connection, stream: Stream, data: bytes | None, now: float) -> None:
        """Keep it as it is passed on."""
        assert isinstance(connection, KeptConnection)
        is_up = stream.direction is Direction.UP
        if data and is_up and not connection.from_client:
            data = self._change(data)
        kept = connection.from_client if is_up else connection.from_server
        kept += data or b""
        stream.hold(now, data)


def negotiated_version(from_server: bytes) -> int:
    """The version of TLS that a ServerHello names: RFC 8446, sections 4.1.3 and 4.2.1; 5246 without the extension."""
    assert from_server[0] == 22, "the server must begin with a handshake record"
    hello = from_server[5 : 5 + int.from_bytes(from_server[3:5], "big")]
    assert hello[0] == SERVER_HELLO
    at = 4 + 2 + 32
    at += 1 + hello[at] + 2 + 1
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at < end:
        kind, length = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        if kind == SUPPORTED_VERSIONS:
            return int.from_bytes(hello[at + 4 : at + 4 + length], "big")
        at += 4 + length
    return int.from_bytes(hello[4:6], "big")
