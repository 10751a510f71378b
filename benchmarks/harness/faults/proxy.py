"""A proxy that breaks what passes through it, at a chosen byte or on command.

It sees TLS records only: what it changes, the ends must notice. A fault that breaks happens once, the next connection
is whole again; a delay stays.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from secure_hfl.bench.tcp_proxy import END, Connection, Direction, Stream, TcpProxy

CHUNK = 1 << 14
Way = Direction


class Kind(str, Enum):
    """What happens."""

    RST = "rst"  # both ends get a reset
    FIN = "fin"  # both ends get an orderly end
    SILENCE = "silence"  # nothing passes on this connection any more, and nobody is told
    DELAY = "delay"  # every chunk waits `amount` seconds from now on
    DUPLICATE = "duplicate"  # the chunk is sent twice
    TRUNCATE = "truncate"  # `amount` bytes are dropped, then the stream goes on
    BLACK_HOLE = "black hole"  # nothing passes for `amount` seconds, then what came meanwhile
    CLOSED = "closed"  # reset, and nobody can connect for `amount` seconds


@dataclass(frozen=True)
class Break:
    """One fault: when so many bytes have gone this way, over all connections."""

    kind: Kind
    after: int = 0
    way: Way = Way.UP
    amount: float = 0.0


class _Breakable(Connection):
    """One connection, and what is to happen to what passes."""

    def __init__(self, near: socket.socket, far: socket.socket, chunk: int, room: int) -> None:
        super().__init__(near, far, chunk, room)
        self.dropping = dict.fromkeys(Way, 0)
        self.doubling: set[Way] = set()
        self.waiting = dict.fromkeys(Way, b"")  # read, but after the byte at which everything stopped

    def pause(self, is_paused: bool) -> None:
        for stream in self.streams:
            stream.is_paused = is_paused

    def suffer(self, broken: Break, now: float) -> None:
        if broken.kind is Kind.FIN:
            for stream in self.streams:
                if stream.is_open:
                    stream.hold(now, END)
        elif broken.kind is Kind.TRUNCATE:
            self.dropping[broken.way] = int(broken.amount)
        elif broken.kind is Kind.DUPLICATE:
            self.doubling.add(broken.way)
        elif broken.kind in (Kind.SILENCE, Kind.BLACK_HOLE):
            self.pause(True)

    def changed(self, way: Way, data: bytes) -> bytes:
        dropped = min(len(data), self.dropping[way])
        self.dropping[way] -= dropped
        if data and way in self.doubling:
            self.doubling.discard(way)
            data += data
        return data[dropped:]


class Proxy(TcpProxy):
    """Forwards connections to a port on loopback until something breaks.

    Args:
        target: the host's port.
        breaks: what is to happen by itself; each once.

    Attributes:
        connections: accepted so far.
        bytes: read and let through so far, by way.
        done: the breaks that have happened.
    """

    def __init__(self, target: int, *breaks: Break) -> None:
        self.connections = 0
        self.bytes = dict.fromkeys(Way, 0)
        self.done: list[Break] = []
        self._pending = list(breaks)
        self._delay = 0.0
        super().__init__(target, CHUNK)

    def do(self, broken: Break) -> None:
        """Now, whatever its `after` says."""
        self.call(lambda: self._happen(broken, list(self._connections)))

    def connected(self, near: socket.socket, far: socket.socket) -> Connection:
        """One more, whole."""
        self.connections += 1
        return _Breakable(near, far, self._chunk, self._room)

    def forward(self, connection: Connection, stream: Stream, data: bytes | None, now: float) -> None:
        """Let through what comes before the next fault; then it happens."""
        assert isinstance(connection, _Breakable)
        if not data:
            stream.hold(now + self._delay, data)
        while data and connection in self._connections and stream.is_open:
            if stream.is_paused:
                connection.waiting[stream.direction] = data
                return
            data = self._pass(connection, stream, data, now)

    def _pass(self, connection: _Breakable, stream: Stream, data: bytes, now: float) -> bytes:
        """Hand on what comes before the next fault; what is left."""
        way = stream.direction
        due = next((each for each in self._pending if each.way is way), None)
        part = data if due is None else data[: max(0, due.after - self.bytes[way])]
        self.bytes[way] += len(part)
        if passing := connection.changed(way, part):
            stream.hold(now + self._delay, passing)
        if due is not None and self.bytes[way] >= due.after:
            with suppress(OSError):
                stream.deliver(now)
            self._pending.remove(due)
            self._happen(due, [connection])
        return data[len(part) :]

    def _happen(self, broken: Break, connections: list[Connection]) -> None:
        self.done.append(broken)
        kind, now = broken.kind, time.monotonic()
        if kind is Kind.DELAY:
            self._delay = broken.amount
        elif kind is Kind.CLOSED:
            self._stop_listening()
            self._call_at(now + broken.amount, self._listen)
        elif kind is Kind.BLACK_HOLE:
            self._call_at(now + broken.amount, lambda: self._resume(connections))
        for connection in connections:
            assert isinstance(connection, _Breakable)
            if kind in (Kind.RST, Kind.CLOSED):
                self._reset(connection)
            else:
                connection.suffer(broken, now)

    def _resume(self, connections: list[Connection]) -> None:
        for connection in connections:
            assert isinstance(connection, _Breakable)
            connection.pause(False)
            for stream in connection.streams:
                data, connection.waiting[stream.direction] = connection.waiting[stream.direction], b""
                if data:
                    self.forward(connection, stream, data, time.monotonic())
