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

from secure_hfl.bench.model import LinkProfile
from secure_hfl.bench.tcp_proxy import CHUNKS_HELD, END, Connection, Direction, Stream, TcpProxy

SMALLEST_CHUNK, LARGEST_CHUNK = 1 << 14, 1 << 16
CHUNK_SECONDS = 1e-3
MOST_HELD = 1 << 24
"""Of a way with a delay and no rate."""

SOCKET_BUFFER = 1 << 18
"""Receive buffers that grow by themselves would hold megabytes, and a sender would not feel the link. Less than a few
of loopback's segments of 64 KiB would make TCP itself wait."""


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


class ShapedLink(TcpProxy):
    """Forwards connections to a port on loopback over one link, which they share.

    Args:
        target_port: the host's.
        profile: how slow, and how late.
    """

    def __init__(self, target_port: int, profile: LinkProfile) -> None:
        self._shapers = {direction: Shaper(profile) for direction in Direction}
        shaper = self._shapers[Direction.UP]
        super().__init__(target_port, shaper.chunk, shaper.room, SOCKET_BUFFER)

    def forward(self, connection: Connection, stream: Stream, data: bytes | None, now: float) -> None:
        """Everything arrives when its way lets it, an end and a reset like a chunk."""
        stream.hold(self._shapers[stream.direction].arrival(now, len(data or END)), data)
