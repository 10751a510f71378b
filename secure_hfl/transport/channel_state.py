"""How far a channel is, and its queues: one lock for all. Whoever waits is woken when the channel comes to an end.

    open ──▶ failed (the first error stays) ──▶ closed (on this side)

The stream itself may be over at any time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from protocols.core.errors import SecureHflError
from secure_hfl.errors import ConnectionLost
from secure_hfl.work_clock import span

BytesT = TypeVar("BytesT", bytes, bytes | memoryview)

MANY = 256
"""Messages in a queue: no conversation has as many under way."""


class ChannelState:
    """What has become of a channel.

    Args:
        peer: the peer's name.

    Attributes:
        lock: whoever reads or changes anything here holds it, except to call `fail`, `on_failure` or `end_stream`.
        error: what the channel failed with.
        is_closed: on this side.
        is_closed_by_peer: the stream is over because the peer has closed it, with nothing left to say.
        is_stream_over: nothing more goes either way.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.lock = threading.Lock()
        self.error: SecureHflError | None = None
        self.is_closed = False
        self.is_closed_by_peer = False
        self.is_stream_over = False
        self._conditions: list[threading.Condition] = []
        self._finished = self.condition()
        self._callbacks: list[Callable[[SecureHflError], None]] = []

    def __repr__(self) -> str:
        return f"ChannelState(peer={self.peer!r})"

    def condition(self) -> threading.Condition:
        """To wait for something; also woken when the channel fails, is closed, or its stream is over."""
        condition = threading.Condition(self.lock)
        self._conditions.append(condition)
        return condition

    def is_ending(self) -> bool:
        """Whether nothing more will be queued for the peer."""
        return self.is_closed or self.is_stream_over

    def is_over(self) -> bool:
        """Whether it has failed, or is ending."""
        return self.error is not None or self.is_closed or self.is_stream_over

    def check_usable(self) -> None:
        """Raise what it failed with, or `ConnectionLost` if it was closed on this side."""
        if self.error is not None:
            raise self.error
        if self.is_closed:
            raise ConnectionLost(f"the connection to {self.peer} was closed on this side")

    def check_sendable(self, is_last: bool) -> None:
        """Raise unless a message may be queued. `is_last`: an Abort, which may be sent after a failure too."""
        if not is_last:
            self.check_usable()
        if self.is_closed or self.is_stream_over:
            raise ConnectionLost(f"{self.peer} cannot be sent anything: the connection is closed")

    def fail(self, error: SecureHflError) -> None:
        """See `Channel.fail`."""
        with self.lock:
            if self.error is not None or self.is_closed:
                return
            self.error = error
            self._wake_all()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(error)

    def on_failure(self, callback: Callable[[SecureHflError], None]) -> None:
        """See `Channel.on_failure`."""
        with self.lock:
            error = self.error
            if error is None:
                self._callbacks.append(callback)
        if error is not None:
            callback(error)

    def close(self) -> None:
        """On this side."""
        self.is_closed = True
        self._wake_all()

    def end_stream(self, is_closed_by_peer: bool) -> None:
        """Nothing more goes either way, because the peer has closed it or for another reason."""
        with self.lock:
            self.is_stream_over, self.is_closed_by_peer = True, is_closed_by_peer
            self._wake_all()

    def wait_for_end_of_stream(self, timeout: float) -> bool:
        """Whether it came within so many seconds."""
        return self._finished.wait_for(lambda: self.is_stream_over, timeout)

    def _wake_all(self) -> None:
        for condition in self._conditions:
            condition.notify_all()


class MessageQueue(Generic[BytesT]):
    """The messages that wait to go one way, bounded by bytes. Whoever calls holds the state's lock.

    One thread at a time waits for a message, and one for room.

    Args:
        state: of the channel.
        limit: bytes. One message that is longer still finds room if it is alone.

    Attributes:
        bytes: in the queue.
    """

    def __init__(self, state: ChannelState, limit: int) -> None:
        self.bytes = 0
        self._limit = limit
        self._wanted = 0  # bytes that somebody waits for room for
        self._messages: deque[BytesT] = deque()
        self._state = state
        self._filled = state.condition()
        self._emptied = state.condition()

    def __repr__(self) -> str:
        return f"<MessageQueue of {self._state.peer}: {len(self._messages)} messages, {self.bytes} bytes>"

    def put(self, data: BytesT) -> None:
        """Behind the others."""
        self._messages.append(data)
        self.bytes += len(data)
        self._filled.notify()

    def wake(self) -> None:
        """Who waits for a message looks again whether there is use in it."""
        self._filled.notify()

    def first(self) -> BytesT | None:
        """It stays in the queue; None if there is none."""
        return self._messages[0] if self._messages else None

    def take(self) -> BytesT | None:
        """The first, which leaves the queue; None if there is none."""
        if not self._messages:
            return None
        data = self._messages.popleft()
        self.bytes -= len(data)
        self._emptied.notify()
        return data

    def clear(self) -> None:
        """Drop all."""
        self._messages.clear()
        self.bytes = 0

    def discard(self, data: object) -> None:
        """Drop this one, if it is there."""
        for index, each in enumerate(self._messages):
            if each is data:
                del self._messages[index]
                self.bytes -= len(each)
                return self._emptied.notify()
        return None

    def wait_for_message(self, is_given_up: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until one is there, or there is no use in waiting; False after so many seconds."""
        if self._messages:
            return True
        with span("wait"):
            return self._filled.wait_for(lambda: bool(self._messages) or is_given_up(), timeout)

    @property
    def is_full(self) -> bool:
        """Whether somebody waits for room, or so many messages wait that nobody seems to take them."""
        return len(self._messages) > MANY or (self._wanted > 0 and not self.fits(self._wanted))

    def wait_for_room(self, size: int, deadline: float | None = None) -> bool:
        """Wait until so many bytes fit in, or the channel is over; False after `deadline` (of time.monotonic)."""
        if self.fits(size):
            return True
        timeout = None if deadline is None else deadline - time.monotonic()
        self._wanted = size
        try:
            with span("wait"):
                return self._emptied.wait_for(lambda: self.fits(size) or self._state.is_over(), timeout)
        finally:
            self._wanted = 0

    def fits(self, size: int) -> bool:
        """Whether there is room for so many bytes."""
        return not self._messages or self.bytes + size <= self._limit
