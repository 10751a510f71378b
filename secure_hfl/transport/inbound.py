"""The receiving half of a channel: frames become bytes, wait in a queue, and are opened in order.

An Abort does not wait: it ends the channel when it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocols.core.envelope import Envelope
from protocols.core.errors import AnnouncedTooLarge, MessageOutOfOrder, PeerViolation, SecureHflError
from protocols.task.abort import Abort
from protocols.wire.codec import Catalogue, decode, peek
from protocols.wire.frames import END_FRAME, Assembler
from protocols.wire.varint import Buffer
from secure_hfl.errors import ConnectionLost, MessageTooLarge, PeerAborted, PeerTimeout, TransportError
from secure_hfl.transport.arrivals import Arrivals
from secure_hfl.transport.channel_state import ChannelState, MessageQueue
from secure_hfl.transport.traffic import Direction, Observers, Traffic
from secure_hfl.work_clock import span


class Inbound:
    """What comes from the peer.

    Args:
        state: of the channel.
        catalogue: what may be received.
        observers: see every envelope after it is received.
        queue: where messages wait to be received.
        max_message_bytes: of one message.

    Attributes:
        traffic: what was received. Its count of messages is the sequence number that the next one must have.
    """

    def __init__(
        self,
        state: ChannelState,
        catalogue: Catalogue,
        observers: Observers,
        queue: MessageQueue[Buffer],
        max_message_bytes: int,
    ) -> None:
        self.traffic = Traffic()
        self._state = state
        self._catalogue = catalogue
        self._observers = observers
        self._queue = queue
        self._max_message_bytes = max_message_bytes
        self._arrivals = Arrivals(state, lambda: queue.is_full)

    def wait_for_arrival(self, is_offline: bool, than: int, timeout: float | None) -> bool:
        """See `Channel.wait_for_arrival`."""
        self._catch_up()
        with self._state.lock:
            return self._arrivals.wait_for_more(is_offline, than, timeout)

    def receive(self, timeout: float | None) -> Envelope:
        """See `Channel.receive`."""
        state = self._state
        self._catch_up()
        with state.lock:
            if not self._queue.wait_for_message(state.is_over, timeout):
                raise PeerTimeout(f"{state.peer} sent nothing for {timeout:g} s; is it still running?")
            state.check_usable()
            data = self._queue.take()
            if data is None:
                raise ConnectionLost(f"{state.peer} has closed the connection")
        try:
            envelope = self._open(data, self.traffic.messages)
        except PeerViolation as error:
            state.fail(error)
            raise
        self.traffic.add(envelope.message, len(data))
        self._observers.show(Direction.RECEIVED, envelope, data)
        return envelope

    def _catch_up(self) -> None:
        if self._queue.first() is None:  # or else there is something better to do
            self._observers.catch_up()

    def clear(self) -> None:
        """Drop what waits. Whoever calls holds the state's lock."""
        self._queue.clear()

    def read(self, frames: Iterable[bytes]) -> None:
        """See `Channel.read_from`."""
        state, assembler = self._state, Assembler(self._max_message_bytes)
        cause: SecureHflError = ConnectionLost(f"the connection to {state.peer} broke; is it still running?")
        is_closed_by_peer = False
        try:
            for frame in frames:
                is_closed_by_peer = frame == END_FRAME
                if state.error is None and not state.is_closed:
                    self._take(assembler, frame)
        except TransportError as error:
            cause = error
        finally:
            if not assembler.ended:
                state.fail(cause)
            state.end_stream(is_closed_by_peer)

    def _take(self, assembler: Assembler, frame: bytes) -> None:
        state = self._state
        try:
            is_first = not assembler.announced
            message = assembler.add(frame)
            if message is not None and peek(message, self._catalogue) is Abort:
                return self._take_abort(message)
        except AnnouncedTooLarge as error:
            return state.fail(MessageTooLarge(f"{state.peer} sent too much: {error}"))
        except PeerViolation as error:
            return state.fail(error)
        with state.lock:
            if is_first:
                size = assembler.announced if message is None else len(message)
                if not self._queue.fits(size):
                    self._arrivals.make_room()
                self._queue.wait_for_room(size)
            if message is not None and state.error is None and not state.is_closed:
                self._queue.put(message)
                self._arrivals.count(message)
        return None

    def _take_abort(self, data: Buffer) -> None:
        envelope = self._open(data, self._arrivals.total)
        assert isinstance(envelope.message, Abort)  # noqa: S101 - peeked
        self._observers.show(Direction.RECEIVED, envelope, data)
        self._state.fail(PeerAborted(envelope.message.party, envelope.message.reason, envelope.message.code))

    def _open(self, data: Buffer, sequence: int) -> Envelope:
        with span("serialise"):
            envelope = decode(data, self._catalogue)
        if envelope.sequence != sequence:
            raise MessageOutOfOrder(f"message {envelope.sequence} came instead of message {sequence}")
        return envelope
