"""A TCP proxy on loopback that keeps what passes, and may change what a client says first."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

SERVER_HELLO = 2
SUPPORTED_VERSIONS = 43


def unchanged(data: bytes) -> bytes:
    """The default for `change`."""
    return data


@dataclass
class Connection:
    """The bytes that went each way."""

    from_client: bytearray = field(default_factory=bytearray)
    from_server: bytearray = field(default_factory=bytearray)


class TcpProxy:
    """Listens on a loopback port and passes every connection on to another.

    Args:
        port: where to.
        change: of the client's first bytes.
    """

    def __init__(self, port: int, change: Callable[[bytes], bytes] = unchanged) -> None:
        self.connections: list[Connection] = []
        self._target, self._change = port, change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:  # the host is not up yet; the client comes again
            client.close()
            return
        connection = Connection()
        self.connections.append(connection)
        for one, other, kept, change in (
            (client, server, connection.from_client, self._change),
            (server, client, connection.from_server, unchanged),
        ):
            threading.Thread(target=_pass_on, args=(one, other, kept, change), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray, change: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if not kept:
                data = change(data)
            kept += data
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


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
