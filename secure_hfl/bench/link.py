"""A network link on loopback: a TCP proxy that makes a connection as slow, and as late, as a `LinkProfile` says.

    collaborator ──▶ ShapedLink.port ──▶ the host's port      up: what the collaborator sends, down: what it gets

Each way has a rate and a delay. A chunk's last byte leaves when all bytes before it have left and its own have passed
at the link's rate, and arrives half a round trip later. These times are computed, not measured, so that waking up late
delays one chunk and never adds up. A way holds little more than what a real link would have in flight: a sender that is
faster has to wait.

All bytes of a connection count, TLS and HTTP/2 framing included. Not modelled: headers of TCP and IP, loss, slow start,
and the round trip of TCP's own handshake; a real link of the same name is a little slower.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress

from secure_hfl.bench.model import LinkProfile

SMALLEST_CHUNK, LARGEST_CHUNK = 1 << 14, 1 << 16
CHUNK_SECONDS = 1e-3
CHUNKS_HELD = 4
"""At least: with fewer, the link stands still while the next chunk is fetched."""

MOST_HELD = 1 << 24
"""Of a way with a delay and no rate."""

SOCKET_BUFFER = 1 << 18
"""Receive buffers that grow by themselves would hold megabytes, and a sender would not feel the link. Less than a few
of loopback's segments of 64 KiB would make TCP itself wait."""

CONNECT_SECONDS = 5.0
RESET = struct.pack("ii", 1, 0)
END = b""


class Shaper:
    """When bytes arrive at the other end of one way of a link. The caller brings the time.

    Attributes:
        chunk: how many bytes to offer at once: a millisecond's, within bounds.
        room: how many bytes of a connection may be on their way.
    """

    def __init__(self, profile: LinkProfile) -> None:
        self._seconds_per_byte = 0.0 if profile.megabits is None else 8e-6 / profile.megabits
        round_trip = (profile.round_trip_milliseconds or 0.0) / 1e3
        self._delay = round_trip / 2
        self._left = -math.inf
        self.chunk, self.room = LARGEST_CHUNK, CHUNKS_HELD * LARGEST_CHUNK
        if self._seconds_per_byte:
            rate = 1 / self._seconds_per_byte
            self.chunk = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, int(rate * CHUNK_SECONDS)))
            self.room = max(CHUNKS_HELD * self.chunk, int(2 * rate * round_trip))
        elif round_trip:
            self.room = MOST_HELD

    def arrival(self, now: float, size: int) -> float:
        """Put bytes on the link; the time at which the last of them arrives. Never earlier than what came before.

        Args:
            now: seconds; not less than the last time.
            size: bytes.
        """
        self._left = max(now, self._left) + size * self._seconds_per_byte
        return self._left + self._delay


class _Way:
    """One way of one connection: what was read and has not arrived."""

    def __init__(self, source: socket.socket, sink: socket.socket, shaper: Shaper) -> None:
        self.source, self.sink, self._shaper = source, sink, shaper
        self._held: deque[tuple[float, bytes | memoryview | None]] = deque()
        self._held_bytes = 0
        self._open = True
        self.is_blocked = False
        self.has_ended = False

    @property
    def has_room(self) -> bool:
        """Whether to read more."""
        return self._open and self._held_bytes + self._shaper.chunk <= self._shaper.room

    @property
    def due(self) -> float:
        """When there is something to deliver next; never, if the sink has to take something first."""
        return self._held[0][0] if self._held and not self.is_blocked else math.inf

    def take(self, now: float) -> None:
        """Read a chunk. An end or a reset travels like one."""
        data: bytes | None
        try:
            data = self.source.recv(self._shaper.chunk)
        except BlockingIOError:
            return
        except OSError:
            data = None
        self._open = bool(data)
        size = len(data or END)
        self._held_bytes += size
        self._held.append((self._shaper.arrival(now, size), data))

    def deliver(self, now: float) -> int:
        """Write what has arrived, as far as the sink takes it; how many bytes.

        Raises:
            OSError: one of the two ends is gone.
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


class ShapedLink:
    """Forwards connections to a port on loopback over one link, which they share, in a thread of its own.

    Args:
        target_port: the host's.
        profile: how slow, and how late.

    Attributes:
        port: where it listens.
        bytes_up: delivered to the target so far; exact after `close`.
        bytes_down: delivered to those who connected; likewise.
    """

    def __init__(self, target_port: int, profile: LinkProfile) -> None:
        self._target = target_port
        self._up, self._down = Shaper(profile), Shaper(profile)
        self.bytes_up = self.bytes_down = 0
        self._connections: list[tuple[_Way, _Way]] = []
        self._bell, self._ear = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Before a connection exists, or TCP has promised more.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Reset all connections and listen no more."""
        if self._thread.is_alive():
            self._bell.send(b"x")
            self._thread.join()
            self._bell.close()

    def __enter__(self) -> ShapedLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            due = self._deliver(time.monotonic())
            ways = [way for connection in self._connections for way in connection]
            sources = {way.source: way for way in ways if way.has_room}
            # Not epoll: in Python its timeout is rounded up to a millisecond, as long as a fast link's round trip.
            readable, _, _ = select.select(
                [self._ear, self._listener, *sources],
                [way.sink for way in ways if way.is_blocked],
                [],
                None if due == math.inf else max(0.0, due - time.monotonic()),
            )
            if self._ear in readable:
                break
            now = time.monotonic()
            for ready in readable:
                if ready is self._listener:
                    self._accept()
                else:
                    sources[ready].take(now)
        for connection in self._connections:
            _reset(connection)
        self._listener.close()
        self._ear.close()

    def _deliver(self, now: float) -> float:
        """Whatever has arrived; when the next chunk will."""
        for connection in list(self._connections):
            up, down = connection
            try:
                self.bytes_up += up.deliver(now)
                self.bytes_down += down.deliver(now)
            except OSError:
                self._connections.remove(connection)
                _reset(connection)
                continue
            if up.has_ended and down.has_ended:
                self._connections.remove(connection)
                up.source.close()
                up.sink.close()
        return min((way.due for connection in self._connections for way in connection), default=math.inf)

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:  # gone again
            return
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        far.settimeout(CONNECT_SECONDS)
        up, down = _Way(near, far, self._up), _Way(far, near, self._down)
        try:
            far.connect(("127.0.0.1", self._target))
        except OSError:  # nobody listens: whoever connected is to see what it would see without us
            _reset((up, down))
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append((up, down))


def _reset(connection: tuple[_Way, _Way]) -> None:
    for way in connection:
        with suppress(OSError):
            way.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        way.source.close()
