"""What went over one channel: counters for each direction, and those who look on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from protocols.core.envelope import Envelope
from protocols.core.errors import SecureHflError
from protocols.core.message import Message
from protocols.wire.frames import wire_size
from protocols.wire.varint import Buffer
from secure_hfl.work_clock import span


class Direction(Enum):
    """Which way a message went, seen from here."""

    SENT = "sent"
    RECEIVED = "received"


Observer: TypeAlias = Callable[[Direction, Envelope, Buffer], None]
"""Called with every envelope and its bytes, before it leaves or after it is received; never two at a time."""

LARGE_BYTES = 1 << 15
"""A message from here on is left to who has the time: to hash it takes longer than to hand it over."""

MUCH_BYTES = 1 << 20
"""From here on the stream's writer is woken for what was received."""


class Observers:
    """Those who see every envelope of a channel, in the order in which they were added.

    They see envelopes in the order of the calls of `show`, but large ones a little later, and small ones that are sent
    behind them. A small one that is received is seen at once: signed heads are about all that came before them.
    Before anything leaves, the stream's writer has all before it seen: it is awake then, and to wake a thread takes
    longer than a hash. What was only received is seen by then, or when its receiver begins to wait.

    Args:
        limit: bytes that may wait to be seen.

    Attributes:
        functions: may be added to at any time.
        wake: called when much waits to be seen.
        drop: called with the bytes of an envelope that an observer has failed on, and how: it must not leave any more.
    """

    def __init__(self, limit: int = 1 << 24) -> None:
        self.functions: list[Observer] = []
        self.wake: Callable[[], None] = lambda: None
        self.drop: Callable[[Buffer, SecureHflError], None] = lambda data, error: None
        self._limit = limit
        self._lock = threading.RLock()
        self._waiting: deque[tuple[Direction, Envelope, Buffer]] = deque()

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be seen."""
        return bool(self._waiting)

    def show(self, direction: Direction, envelope: Envelope, data: Buffer) -> None:
        """Have an envelope seen, now or soon. What an observer raises of it or of one before it, the caller may get."""
        self._waiting.append((direction, envelope, data))
        size, is_small = len(self._waiting) * len(data), len(data) < LARGE_BYTES
        if size > self._limit or (is_small and (direction is Direction.RECEIVED or size == len(data))):
            with span("transcript"):
                self.settle()
        elif direction is Direction.RECEIVED and size >= MUCH_BYTES:
            self.wake()

    def catch_up(self) -> None:
        """For a thread that begins to wait: have what was received seen. What is to leave is left to the writer."""
        waiting = tuple(self._waiting)
        if not waiting or any(direction is Direction.SENT for direction, *_ in waiting):
            return
        if self._lock.acquire(blocking=False):
            try:
                with span("transcript"):
                    self.settle()
            finally:
                self._lock.release()

    def settle(self) -> None:
        """Until all that were shown have been seen. What one raises, the caller gets; that envelope is seen no more."""
        with self._lock:
            while self._waiting:
                seen = self._waiting.popleft()
                try:
                    for observer in self.functions:
                        observer(*seen)
                except SecureHflError as error:
                    self.drop(seen[2], error)
                    raise


@dataclass
class Traffic:
    """What went one way: bytes as `frames.wire_size` counts them, and (count, bytes) by the name of the type."""

    messages: int = 0
    bytes: int = 0
    by_type: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, message: Message, length: int) -> None:
        """Count one message."""
        name, size = type(message).__name__, wire_size(length)
        count, total = self.by_type.get(name, (0, 0))
        self.by_type[name] = (count + 1, total + size)
        self.messages += 1
        self.bytes += size
