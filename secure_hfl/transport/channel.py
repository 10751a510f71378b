"""One peer's ordered, bounded, two-way queue of messages. Knows nothing of gRPC: the stream is two iterators of frames.

    send ─▶ encode ─▶ outbound queue ─▶ outgoing()      taken by the stream's writer thread
    receive ◀─ decode ◀─ inbound queue ◀─ read_from()   run by the stream's reader thread

Both queues are bounded by bytes. When the inbound one is full the reader stops reading, so that HTTP/2 flow control
stops the peer; when the outbound one is full `send` waits. An Abort does not queue: it poisons the channel when it
arrives. Messages count observers and sequence numbers in the order in which `send` and `receive` were called.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import AnnouncedTooLarge, MessageOutOfOrder, PeerViolation, SecureHflError
from protocols.core.message import Message
from protocols.task.abort import Abort
from protocols.wire.codec import Catalogue, decode, encode, peek
from protocols.wire.frames import END_FRAME, Assembler, cut, wire_size
from protocols.wire.varint import Buffer
from secure_hfl.errors import ConnectionLost, MessageTooLarge, PeerAborted, PeerTimeout, TransportError
from secure_hfl.work_clock import span


class Direction(Enum):
    """Which way a message went, seen from here."""

    SENT = "sent"
    RECEIVED = "received"


Observer: TypeAlias = Callable[[Direction, Envelope, Buffer], None]
"""Called with every envelope and its bytes, before it is queued or after it is received; never two at a time."""


@dataclass(frozen=True)
class ChannelLimits:
    """Bounds, in bytes. A queue also takes one message that is longer than its bound, if it is empty."""

    message_bytes: int = 256 << 20
    inbound_bytes: int = 64 << 20
    outbound_bytes: int = 64 << 20


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


class Channel:
    """An open conversation with one peer. One thread at a time may receive; any thread may send, fail or close.

    Args:
        peer: The peer's name.
        catalogue: What may be sent and received.
        hang_up: Ends the stream at once. Called without locks, once, by `close`.
        limits: Bounds on memory.

    Attributes:
        observers: Functions that see every envelope. An observed Abort may have overtaken messages not yet received.
        sent, received: Counters.
    """

    def __init__(
        self, peer: str, catalogue: Catalogue, hang_up: Callable[[], None], limits: ChannelLimits | None = None
    ) -> None:
        self.peer = peer
        self.observers: list[Observer] = []
        self.sent = Traffic()
        self.received = Traffic()
        self._catalogue = catalogue
        self._hang_up = hang_up
        self._limits = limits or ChannelLimits()
        self._send_lock = threading.Lock()
        self._observe_lock = threading.RLock()
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._inbound_room = threading.Condition(self._lock)
        self._queued = threading.Condition(self._lock)
        self._outbound_room = threading.Condition(self._lock)
        self._finished = threading.Condition(self._lock)
        self._inbound: deque[Buffer] = deque()
        self._inbound_bytes = 0
        self._arrivals = 0
        self._outbound: deque[bytes] = deque()
        self._outbound_bytes = 0
        self._failure_callbacks: list[Callable[[SecureHflError], None]] = []
        self._error: SecureHflError | None = None
        self._closed = False
        self._stream_over = False
        self._flushed = False

    def __repr__(self) -> str:
        return f"Channel(peer={self.peer!r})"

    @property
    def bytes_sent(self) -> int:
        """Bytes on the wire towards the peer."""
        return self.sent.bytes

    @property
    def bytes_received(self) -> int:
        """Bytes on the wire from the peer, in messages that were received here."""
        return self.received.bytes

    @property
    def is_usable(self) -> bool:
        """Whether nothing has gone wrong and nobody has closed it, as far as is known here."""
        with self._lock:
            return self._error is None and not self._closed and not self._stream_over

    # What a link calls ----------------------------------------------------------------------------------------------

    def send(self, phase: Phase, round: int, batch: int, message: Message, timeout: float | None) -> None:
        """Queue a message for the peer. Returns when it is queued, not when it has arrived.

        An Abort is queued even when the channel has failed, so that the peer learns why, and when the queue is full.

        Args:
            timeout: Seconds to wait for room in the queue; None waits as long as it takes.

        Raises:
            PeerTimeout: The peer did not read for that long. The message was not queued.
            MessageTooLarge: The message is longer than the limit.
            InvalidInput: The message cannot be encoded.
            SecureHflError: What the channel failed with: PeerAborted, ConnectionLost, ...
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        is_last = type(message) is Abort
        self._check_sendable(is_last)
        with span("wait"):
            has_turn = self._send_lock.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        if not has_turn:
            raise self._took_nothing(timeout)
        try:
            envelope = Envelope(self.sent.messages, phase, round, batch, message)
            with span("serialise"):
                data = encode(envelope, self._catalogue)
            if len(data) > self._limits.message_bytes:
                limit = self._limits.message_bytes
                raise MessageTooLarge(f"{type(message).__name__} has {len(data)} bytes: {limit} is the limit")
            remaining = None if deadline is None else deadline - time.monotonic()
            if not self._wait_for_outbound_room(0 if is_last else len(data), remaining):
                raise self._took_nothing(timeout)
            self._check_sendable(is_last)
            self.sent.add(message, len(data))
            self._observe(Direction.SENT, envelope, data)
            with self._lock:
                self._outbound.append(data)
                self._outbound_bytes += len(data)
                self._queued.notify()
        finally:
            self._send_lock.release()

    def receive(self, timeout: float | None) -> Envelope:
        """The next message of the peer.

        Args:
            timeout: Seconds to wait for it; None waits as long as it takes.

        Raises:
            PeerTimeout: Nothing came. The channel stays usable.
            PeerViolation: What came is malformed or out of order. The channel has failed.
            ConnectionLost: The peer has closed the channel, or the stream broke.
            SecureHflError: What the channel failed with: PeerAborted, MessageTooLarge, ...
        """
        with self._lock:
            with span("wait"):
                has_arrived = self._arrived.wait_for(self._has_something_to_receive, timeout)
            if not has_arrived:
                raise PeerTimeout(f"{self.peer} sent nothing for {timeout:g} s; is it still running?")
            self._check_usable()
            if not self._inbound:
                raise ConnectionLost(f"{self.peer} has closed the connection")
            data = self._inbound.popleft()
            self._inbound_bytes -= len(data)
            self._inbound_room.notify_all()
        try:
            envelope = self._open(data, self.received.messages)
        except PeerViolation as error:
            self.fail(error)
            raise
        self.received.add(envelope.message, len(data))
        self._observe(Direction.RECEIVED, envelope, data)
        return envelope

    def fail(self, error: SecureHflError) -> None:
        """Poison: every waiting and every later `send` and `receive` raises this error. The first error stays.

        What is queued for the peer still leaves, until `close`.
        """
        with self._lock:
            if self._error is not None or self._closed:
                return
            self._error = error
            self._wake_all()
            callbacks, self._failure_callbacks = self._failure_callbacks, []
        for callback in callbacks:
            callback(error)

    def on_failure(self, callback: Callable[[SecureHflError], None]) -> None:
        """Call this once when the channel fails, from the thread that finds out; now, if it has failed already."""
        with self._lock:
            error = self._error
            if error is None:
                self._failure_callbacks.append(callback)
        if error is not None:
            callback(error)

    def close(self, flush_timeout: float) -> None:
        """Let what is queued reach the peer, then end the stream. What the peer still sends is dropped.

        Raises:
            PeerTimeout: The peer did not take it in time. (Not if the channel has failed before.)
            ConnectionLost: The stream broke while messages were queued. (Likewise.)
        """
        with self._lock:
            if self._closed:
                return
            had_failed = self._error is not None
            self._closed = True
            self._inbound.clear()
            self._wake_all()
            self._finished.wait_for(lambda: self._stream_over, flush_timeout)
            is_over, is_complete = self._stream_over, self._flushed or not self._outbound
        self._hang_up()
        if is_complete or had_failed:
            return
        if is_over:
            raise ConnectionLost(f"the connection to {self.peer} broke before everything was sent")
        raise PeerTimeout(f"{self.peer} did not read what was left to send within {flush_timeout:g} s")

    # What the stream's two threads call -----------------------------------------------------------------------------

    def outgoing(self) -> Iterator[bytes]:
        """The frames to send, as they come; ends when the channel is closed or the stream over."""
        while True:
            with self._lock:
                self._queued.wait_for(lambda: self._outbound or self._closed or self._stream_over)
                if self._stream_over:
                    return
                data = self._outbound[0] if self._outbound else None
            if data is None:
                yield END_FRAME
                with self._lock:
                    self._flushed = True
                return
            yield from cut(data)
            with self._lock:
                self._outbound.popleft()
                self._outbound_bytes -= len(data)
                self._outbound_room.notify_all()

    def read_from(self, frames: Iterable[bytes]) -> None:
        """Take the peer's frames until the stream is over. A failed or closed channel drops them.

        Args:
            frames: Ends, or raises TransportError, when the stream does.
        """
        assembler = Assembler(self._limits.message_bytes)
        cause: SecureHflError = ConnectionLost(f"the connection to {self.peer} broke; is it still running?")
        try:
            for frame in frames:
                if self._error is None and not self._closed:
                    self._take(assembler, frame)
        except TransportError as error:
            cause = error
        finally:
            if not assembler.ended:
                self.fail(cause)
            with self._lock:
                self._stream_over = True
                self._wake_all()

    def _take(self, assembler: Assembler, frame: bytes) -> None:
        try:
            is_first = not assembler.announced
            message = assembler.add(frame)
            if message is not None and peek(message, self._catalogue) is Abort:
                return self._take_abort(message)
        except AnnouncedTooLarge as error:
            return self.fail(MessageTooLarge(f"{self.peer} sent too much: {error}"))
        except PeerViolation as error:
            return self.fail(error)
        with self._lock:
            if is_first:
                size = assembler.announced if message is None else len(message)
                self._inbound_room.wait_for(lambda: self._fits_inbound(size) or self._error or self._closed)
            if message is not None and self._error is None and not self._closed:
                self._inbound.append(message)
                self._inbound_bytes += len(message)
                self._arrivals += 1
                self._arrived.notify()
        return None

    def _take_abort(self, data: Buffer) -> None:
        envelope = self._open(data, self._arrivals)
        assert isinstance(envelope.message, Abort)  # noqa: S101 - peeked
        self._observe(Direction.RECEIVED, envelope, data)
        self.fail(PeerAborted(envelope.message.party, envelope.message.reason, envelope.message.code))

    # Inner parts ----------------------------------------------------------------------------------------------------

    def _open(self, data: Buffer, sequence: int) -> Envelope:
        with span("serialise"):
            envelope = decode(data, self._catalogue)
        if envelope.sequence != sequence:
            raise MessageOutOfOrder(f"message {envelope.sequence} came instead of message {sequence}")
        return envelope

    def _observe(self, direction: Direction, envelope: Envelope, data: Buffer) -> None:
        with span("transcript"), self._observe_lock:
            for observer in self.observers:
                observer(direction, envelope, data)

    def _wait_for_outbound_room(self, size: int, timeout: float | None) -> bool:
        """Whether there is room, or no use in waiting for it. A size of 0 always fits."""

        def can_go_on() -> bool:
            fits = not (size and self._outbound) or self._outbound_bytes + size <= self._limits.outbound_bytes
            return fits or self._error is not None or self._closed or self._stream_over

        with self._lock, span("wait"):
            return self._outbound_room.wait_for(can_go_on, timeout)

    def _took_nothing(self, timeout: float | None) -> PeerTimeout:
        return PeerTimeout(f"{self.peer} took nothing for {timeout:g} s; is it still running?")

    def _fits_inbound(self, size: int) -> bool:
        return not self._inbound or self._inbound_bytes + size <= self._limits.inbound_bytes

    def _has_something_to_receive(self) -> bool:
        return bool(self._inbound) or self._error is not None or self._closed or self._stream_over

    def _check_sendable(self, is_last: bool) -> None:
        with self._lock:
            if not is_last:
                self._check_usable()
            if self._closed or self._stream_over:
                raise ConnectionLost(f"{self.peer} cannot be sent anything: the connection is closed")

    def _check_usable(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise ConnectionLost(f"the connection to {self.peer} was closed on this side")

    def _wake_all(self) -> None:
        for condition in (self._arrived, self._inbound_room, self._queued, self._outbound_room, self._finished):
            condition.notify_all()
