"""What went over one channel: counters for each direction, and those who look on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from protocols.core.envelope import Envelope
from protocols.core.message import Message
from protocols.wire.frames import wire_size
from protocols.wire.varint import Buffer
from secure_hfl.work_clock import span


class Direction(Enum):
    """Which way a message went, seen from here."""

    SENT = "sent"
    RECEIVED = "received"


Observer: TypeAlias = Callable[[Direction, Envelope, Buffer], None]
"""Called with every envelope and its bytes, before it is queued or after it is received; never two at a time."""


class Observers:
    """Those who see every envelope of a channel, in the order in which they were added.

    Attributes:
        functions: may be added to at any time.
    """

    def __init__(self) -> None:
        self.functions: list[Observer] = []
        self._lock = threading.RLock()

    def show(self, direction: Direction, envelope: Envelope, data: Buffer) -> None:
        """Show them an envelope. What one raises, the caller gets."""
        with span("transcript"), self._lock:
            for observer in self.functions:
                observer(direction, envelope, data)


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
