"""The sending half of a channel: messages become numbered bytes, wait in a queue, and leave as frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import SecureHflError
from protocols.core.message import Message
from protocols.task.abort import Abort
from protocols.wire.codec import Catalogue, encode
from protocols.wire.frames import END_FRAME, cut
from protocols.wire.varint import Buffer
from secure_hfl.errors import MessageTooLarge, PeerTimeout
from secure_hfl.transport.channel_state import ChannelState, MessageQueue
from secure_hfl.transport.traffic import Direction, Observers, Traffic
from secure_hfl.work_clock import span


class Outbound:
    """What goes to the peer.

    Args:
        state: of the channel.
        catalogue: what may be sent.
        observers: see every envelope before it leaves.
        queue: where messages wait for the stream.
        max_message_bytes: of one message.

    Attributes:
        traffic: what was queued. Its count of messages is the next one's sequence number.
    """

    def __init__(
        self,
        state: ChannelState,
        catalogue: Catalogue,
        observers: Observers,
        queue: MessageQueue[bytes],
        max_message_bytes: int,
    ) -> None:
        self.traffic = Traffic()
        self._state = state
        self._catalogue = catalogue
        self._observers = observers
        self._queue = queue
        self._max_message_bytes = max_message_bytes
        observers.wake, observers.drop = self._wake, self._drop
        self._turn = threading.Lock()
        self._is_flushed = False

    @property
    def is_complete(self) -> bool:
        """Whether everything that was queued has left. Whoever asks holds the state's lock."""
        return self._is_flushed or self._queue.first() is None

    def send(self, phase: Phase, round: int, batch: int, message: Message, timeout: float | None) -> None:
        """See `Channel.send`."""
        state, is_last = self._state, type(message) is Abort
        deadline = None if timeout is None else time.monotonic() + timeout
        with state.lock:
            state.check_sendable(is_last)
        if not self._turn.acquire(blocking=False):
            self._wait_for_turn(timeout)
        try:
            envelope = Envelope(self.traffic.messages, phase, round, batch, message)
            with span("serialise"):
                data = encode(envelope, self._catalogue)
            if len(data) > self._max_message_bytes:
                limit = self._max_message_bytes
                raise MessageTooLarge(f"{type(message).__name__} has {len(data)} bytes: {limit} is the limit")
            with state.lock:
                if not (is_last or self._queue.wait_for_room(len(data), deadline)):
                    raise self._took_nothing(timeout)
                state.check_sendable(is_last)
            self.traffic.add(message, len(data))
            self._observers.show(Direction.SENT, envelope, data)
            with state.lock:
                state.check_sendable(is_last)  # the writer may have failed to record it by now
                self._queue.put(data)
        finally:
            self._turn.release()

    def frames(self) -> Iterator[bytes]:
        """See `Channel.outgoing`."""
        state = self._state
        while True:
            with state.lock:
                self._queue.wait_for_message(lambda: state.is_ending() or self._observers.is_behind)
                if state.is_stream_over:
                    return
                data, is_ending = self._queue.first(), state.is_ending()
            if not self._has_been_seen() or (data is None and not is_ending):
                continue
            if data is None:
                yield END_FRAME
                with state.lock:
                    self._is_flushed = True
                return
            yield from cut(data)
            with state.lock:
                if self._queue.first() is data:  # only now: what is on its way takes room
                    self._queue.take()

    def _wake(self) -> None:
        """Something waits to be seen by the observers."""
        with self._state.lock:
            self._queue.wake()

    def _drop(self, data: Buffer, error: SecureHflError) -> None:
        """This was not recorded: it does not leave, whether it is queued or about to be."""
        self._state.fail(error)
        with self._state.lock:
            self._queue.discard(data)

    def _has_been_seen(self) -> bool:
        """Show the observers what they have not seen yet; False if they fail, which has ended the channel."""
        try:
            self._observers.settle()
        except SecureHflError:
            return False
        return True

    def _wait_for_turn(self, timeout: float | None) -> None:
        with span("wait"):
            has_turn = self._turn.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        if not has_turn:
            raise self._took_nothing(timeout)

    def _took_nothing(self, timeout: float | None) -> PeerTimeout:
        return PeerTimeout(f"{self._state.peer} took nothing for {timeout:g} s; is it still running?")
