"""A TCP proxy on loopback, in one thread: what reads, waits and writes, for proxies that do something to what passes.

    client ──▶ TcpProxy.port ──▶ the target port          UP: what the client sends, DOWN: what it gets

A subclass overrides `forward`: it decides what is delivered, and when. An end and a reset pass like bytes, so that they
come after the bytes before them. A stream holds little: a sender that is faster than its receiver has to wait.
"""

from __future__ import annotations

import math
import queue
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from typing import TypeVar

_Proxy = TypeVar("_Proxy", bound="TcpProxy")

CHUNK = 1 << 16
CHUNKS_HELD = 4
"""At least: with fewer, a stream stands still while the next chunk is fetched."""

CONNECT_SECONDS = 5.0
CALL_SECONDS = 60.0
"""After which a proxy whose thread does not answer counts as broken; it never waits for anything but its sockets."""

LINGER_AND_RESET = struct.pack("ii", 1, 0)
END = b""


class Direction(str, Enum):
    """Which half of a connection."""

    UP = "up"
    DOWN = "down"


class Stream:
    """One half of one connection: what was read and has not been delivered.

    Attributes:
        source: where bytes come from.
        sink: where they go.
        chunk: how many bytes are read at once.
        room: how many bytes may be held.
        is_open: whether the source may have more to say.
        is_paused: nothing is read until this is false again; what is held is delivered all the same.
        is_blocked: the sink has to take something first.
        has_ended: the end was delivered.
    """

    def __init__(self, direction: Direction, source: socket.socket, sink: socket.socket, chunk: int, room: int) -> None:
        self.direction, self.source, self.sink, self.chunk, self.room = direction, source, sink, chunk, room
        self._held: deque[tuple[float, bytes | memoryview | None]] = deque()
        self._held_bytes = 0
        self.is_open = True
        self.is_paused = self.is_blocked = self.has_ended = False

    @property
    def has_room(self) -> bool:
        """Whether to read more."""
        return self.is_open and not self.is_paused and self._held_bytes + self.chunk <= self.room

    @property
    def due(self) -> float:
        """When there is something to deliver next; never, if the sink has to take something first."""
        return self._held[0][0] if self._held and not self.is_blocked else math.inf

    def hold(self, due: float, data: bytes | None) -> None:
        """Deliver this at a time, after what is held already. Nothing follows `END`, or None, which is a reset."""
        self.is_open = self.is_open and bool(data)
        self._held_bytes += len(data or END)
        self._held.append((due, data))

    def deliver(self, now: float) -> int:
        """Write what is due, as far as the sink takes it; how many bytes.

        Raises:
            OSError: one of the two ends is gone, or a reset was due.
        """
        delivered = 0
        self.is_blocked = False
        while self._held and self._held[0][0] <= now:
            due, data = self._held.popleft()
            if data is None:
                raise ConnectionResetError
            if not data:
                self.has_ended = True
                self.sink.shutdown(socket.SHUT_WR)
                break
            try:
                count = self.sink.send(data)
            except BlockingIOError:
                count = 0
            delivered += count
            if count < len(data):
                self._held.appendleft((due, memoryview(data)[count:]))
                self.is_blocked = True
                break
        self._held_bytes -= delivered
        return delivered


class Connection:
    """Two streams between one client and the target."""

    def __init__(self, near: socket.socket, far: socket.socket, chunk: int, room: int) -> None:
        self.streams = (
            Stream(Direction.UP, near, far, chunk, room),
            Stream(Direction.DOWN, far, near, chunk, room),
        )

    def reset(self) -> None:
        """Both ends see a reset; what is held is lost."""
        for stream in self.streams:
            with suppress(OSError):
                stream.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AND_RESET)
            stream.source.close()

    def close(self) -> None:
        """Both ends see an end."""
        for stream in self.streams:
            stream.source.close()


class TcpProxy:
    """Forwards connections to a port on loopback, in a thread of its own, unchanged and at once.

    Methods whose names begin with an underscore, `forward` and `connected` run in that thread.

    Args:
        target_port: where to.
        chunk: how many bytes of a stream are read at once.
        room: how many bytes of a stream are held at most; by default, some chunks.
        receive_buffer: the system's buffer of each socket; by default, one that grows by itself.

    Attributes:
        port: where it listens.
        delivered: bytes so far; exact after `close`.
    """

    def __init__(
        self, target_port: int, chunk: int = CHUNK, room: int | None = None, receive_buffer: int | None = None
    ) -> None:
        self.delivered = dict.fromkeys(Direction, 0)
        self._target, self._chunk, self._receive_buffer = target_port, chunk, receive_buffer
        self._room = CHUNKS_HELD * chunk if room is None else room
        self._connections: list[Connection] = []
        self._calls: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._stops = False
        self._bell, self._ear = socket.socketpair()
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()
        self._thread = threading.Thread(target=self._serve, name="tcp-proxy", daemon=True)
        self._thread.start()

    def connected(self, near: socket.socket, far: socket.socket) -> Connection:
        """A new connection, to be kept by a subclass that wants to."""
        return Connection(near, far, self._chunk, self._room)

    def forward(self, connection: Connection, stream: Stream, data: bytes | None, now: float) -> None:
        """What to do with something that was read; `END` is the end, and None a reset."""
        stream.hold(now, data)

    def call(self, function: Callable[[], None]) -> None:
        """Run something in the proxy's thread, and wait for it. Raises what it raises."""
        done: Future[None] = Future()
        self._calls.put((function, done))
        self._bell.send(b"x")
        done.result(CALL_SECONDS)

    def close(self) -> None:
        """Reset all connections and listen no more."""
        if self._thread.is_alive():
            self.call(self._stop)
            self._thread.join()
            self._bell.close()

    def __enter__(self: _Proxy) -> _Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        self._stops = True

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        if self._receive_buffer is not None:
            # Before a connection exists, or TCP has promised more.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _call_at(self, due: float, function: Callable[[], None]) -> None:
        self._timers.append((due, function))

    def _reset(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            connection.reset()

    def _serve(self) -> None:
        while not self._stops:
            due = min(self._run_timers(time.monotonic()), self._deliver(time.monotonic()))
            owners = {stream: connection for connection in self._connections for stream in connection.streams}
            sources = {stream.source: stream for stream in owners if stream.has_room}
            listening = [] if self._listener is None else [self._listener]
            # Not epoll: in Python its timeout is rounded up to a millisecond, as long as a fast link's round trip.
            readable, _, _ = select.select(
                [self._ear, *listening, *sources],
                [stream.sink for stream in owners if stream.is_blocked],
                [],
                None if due == math.inf else max(0.0, due - time.monotonic()),
            )
            now = time.monotonic()
            for ready in readable:
                if ready is self._ear:
                    self._answer_calls()
                elif self._listener is not None and ready is self._listener:
                    self._accept(self._listener)
                elif (stream := sources.get(ready)) and owners[stream] in self._connections:
                    self._read(owners[stream], stream, now)
        for connection in self._connections:
            connection.reset()
        self._stop_listening()
        self._ear.close()

    def _run_timers(self, now: float) -> float:
        """Whatever is due; when the next one is."""
        ripe = [timer for timer in self._timers if timer[0] <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for _, function in ripe:
            function()
        return min((due for due, _ in self._timers), default=math.inf)

    def _answer_calls(self) -> None:
        self._ear.recv(CHUNK)
        while not self._calls.empty():
            function, done = self._calls.get()
            try:
                function()
            except Exception as error:  # it is the caller's
                done.set_exception(error)
            else:
                done.set_result(None)

    def _read(self, connection: Connection, stream: Stream, now: float) -> None:
        data: bytes | None
        try:
            data = stream.source.recv(stream.chunk)
        except BlockingIOError:
            return
        except OSError:
            data = None
        self.forward(connection, stream, data, now)

    def _deliver(self, now: float) -> float:
        """Whatever is due; when the next chunk is."""
        for connection in list(self._connections):
            try:
                for stream in connection.streams:
                    self.delivered[stream.direction] += stream.deliver(now)
            except OSError:
                self._reset(connection)
                continue
            if all(stream.has_ended for stream in connection.streams):
                self._connections.remove(connection)
                connection.close()
        return min((stream.due for each in self._connections for stream in each.streams), default=math.inf)

    def _accept(self, listener: socket.socket) -> None:
        try:
            near, _ = listener.accept()
        except OSError:  # gone again
            return
        far = socket.socket()
        if self._receive_buffer is not None:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        far.settimeout(CONNECT_SECONDS)
        try:
            far.connect(("127.0.0.1", self._target))
        except OSError:  # nobody listens: whoever connected is to see what it would see without us
            Connection(near, far, self._chunk, self._room).reset()
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(self.connected(near, far))
