"""A TCP proxy on loopback that breaks what passes through it, at a chosen byte or on command.

    collaborator ──▶ Proxy.port ──▶ the host's own port          UP: what the collaborator sends, DOWN: what it gets

It sees TLS records only: what it changes, the ends must notice. A fault that breaks happens once, the next connection
is whole again; a delay stays.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any

CHUNK = 1 << 14
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Way(str, Enum):
    """Which half of the stream."""

    UP = "up"
    DOWN = "down"


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


class _Connection:
    """One connection: the two sockets, and what is to happen to what passes."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.writers = {Way.UP: far, Way.DOWN: near}
        self.flows = asyncio.Event()
        self.flows.set()
        self.halves = 2
        self.dropping = dict.fromkeys(Way, 0)
        self.doubling: set[Way] = set()

    def write(self, way: Way, data: bytes) -> None:
        dropped = min(len(data), self.dropping[way])
        self.dropping[way] -= dropped
        if data and way in self.doubling:
            self.doubling.discard(way)
            data += data
        self.writers[way].write(data[dropped:])

    def end(self, kind: Kind) -> None:
        for writer in self.writers.values():
            if kind is Kind.FIN:
                writer.close()
            else:
                _reset(writer)


def _let_flow(connections: list[_Connection]) -> None:
    for connection in connections:
        connection.flows.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Proxy:
    """Forwards connections to a port on loopback, in a thread of its own.

    Args:
        target: the host's port.
        breaks: what is to happen by itself; each once.

    Attributes:
        port: where it listens.
        connections: accepted so far.
        bytes: forwarded so far, by way.
        done: the breaks that have happened.
    """

    def __init__(self, target: int, *breaks: Break) -> None:
        self.connections = 0
        self.bytes = dict.fromkeys(Way, 0)
        self.done: list[Break] = []
        self._target = target
        self._pending = list(breaks)
        self._delay = 0.0
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port = 0
        self._run(self._listen())

    def do(self, broken: Break) -> None:
        """Now, whatever its `after` says."""

        async def happen() -> None:
            self._happen(broken, list(self._open))

        self._run(happen())

    def close(self) -> None:
        """End everything."""
        if self._thread.is_alive():
            self._run(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._open:
            connection.end(Kind.RST)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            answers, far = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the host does not listen: the collaborator is to see what it would see without us
            _reset(near)
            return
        connection = _Connection(near, far)
        self._open.add(connection)
        for way, source in ((Way.UP, reader), (Way.DOWN, answers)):
            self._spawn(self._forward(connection, way, source))

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, connection: _Connection, way: Way, source: asyncio.StreamReader) -> None:
        writer = connection.writers[way]
        try:
            while chunk := await source.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await connection.flows.wait()
                while chunk and connection in self._open:
                    chunk = await self._pass(connection, way, chunk)
            if connection in self._open:
                writer.write_eof()
        except OSError:
            self._end(Kind.RST, [connection])
        connection.halves -= 1
        if not connection.halves:
            self._end(Kind.FIN, [connection])

    async def _pass(self, connection: _Connection, way: Way, chunk: bytes) -> bytes:
        """Forward up to the next fault; what is left of the chunk."""
        due = next((each for each in self._pending if each.way is way), None)
        part = chunk if due is None else chunk[: max(0, due.after - self.bytes[way])]
        self.bytes[way] += len(part)
        connection.write(way, part)
        await connection.writers[way].drain()
        if due is not None and self.bytes[way] >= due.after:
            self._pending.remove(due)
            self._happen(due, [connection])
            await connection.flows.wait()
        return chunk[len(part) :]

    def _happen(self, broken: Break, connections: list[_Connection]) -> None:
        self.done.append(broken)
        kind, way = broken.kind, broken.way
        if kind is Kind.DELAY:
            self._delay = broken.amount
        elif kind in (Kind.RST, Kind.FIN, Kind.CLOSED):
            if kind is Kind.CLOSED and self._server is not None:
                self._server.close()
                self._spawn(self._listen_again(broken.amount))
            self._end(kind, connections)
        elif kind is Kind.BLACK_HOLE:
            self._loop.call_later(broken.amount, _let_flow, connections)
        for connection in connections:
            if kind is Kind.TRUNCATE:
                connection.dropping[way] = int(broken.amount)
            elif kind is Kind.DUPLICATE:
                connection.doubling.add(way)
            elif kind in (Kind.SILENCE, Kind.BLACK_HOLE):
                connection.flows.clear()

    def _end(self, kind: Kind, connections: list[_Connection]) -> None:
        for connection in connections:
            self._open.discard(connection)
            connection.end(kind)
            connection.flows.set()

    async def _listen_again(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()
