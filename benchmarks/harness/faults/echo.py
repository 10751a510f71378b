"""A server that answers with what it gets, and clients for what stands before it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Protocol

from benchmarks.harness.limits import seconds

DATA = bytes(range(256)) * 512
PATIENCE = seconds(10)


class Listening(Protocol):
    """A proxy or a link."""

    @property
    def port(self) -> int:
        """On loopback."""


class Echo:
    """Answers with what it gets, until the stream ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            while data := peer.recv(1 << 16):
                peer.sendall(data)

    def close(self) -> None:
        """Take nobody more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # also wakes the thread that accepts
        self._listener.close()


def connect(to: Listening) -> socket.socket:
    """A connection through something that listens on loopback."""
    return socket.create_connection(("127.0.0.1", to.port), PATIENCE)


def talk(through: Listening, data: bytes = DATA) -> bytes:
    """Send, end, and read to the end. Raises what the socket raises."""
    problems: list[OSError] = []
    with connect(through) as peer:

        def send() -> None:
            try:
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
            except OSError as error:  # a socket reports its error once
                problems.append(error)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            got = read_to_the_end(peer)
        finally:
            sender.join(PATIENCE)
        if problems:
            raise problems[0]
        return got


def read_to_the_end(peer: socket.socket) -> bytes:
    """What comes until the stream ends."""
    got = bytearray()
    while chunk := peer.recv(1 << 16):
        got += chunk
    return bytes(got)
