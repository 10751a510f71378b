"""One peer's ordered, bounded, two-way queue of messages. Knows nothing of gRPC: the stream is two iterators of frames.

    send ─▶ encode ─▶ outbound queue ─▶ outgoing()      taken by the stream's writer thread
    receive ◀─ decode ◀─ inbound queue ◀─ read_from()   run by the stream's reader thread

`Outbound` and `Inbound` are the two halves; `ChannelState`, which they share, knows how far the channel is. Both queues
are bounded by bytes. When the inbound one is full the reader stops reading, so that HTTP/2 flow control stops the peer;
when the outbound one is full `send` waits. An Abort does not queue: it poisons the channel when it arrives. Messages
count observers and sequence numbers in the order in which `send` and `receive` were called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import SecureHflError
from protocols.core.message import Message
from protocols.wire.codec import Catalogue
from secure_hfl.errors import ConnectionLost, PeerTimeout
from secure_hfl.transport.channel_state import ChannelState, MessageQueue
from secure_hfl.transport.inbound import Inbound
from secure_hfl.transport.outbound import Outbound
from secure_hfl.transport.traffic import Observer, Observers, Traffic


@dataclass(frozen=True)
class ChannelLimits:
    """Bounds, in bytes. A queue also takes one message that is longer than its bound, if it is empty."""

    message_bytes: int = 256 << 20
    inbound_bytes: int = 64 << 20
    outbound_bytes: int = 64 << 20


class Channel:
    """An open conversation with one peer. One thread at a time may receive; any thread may send, fail or close.

    Args:
        peer: The peer's name.
        catalogue: What may be sent and received.
        hang_up: Ends the stream at once. Called without locks, once, by `close`.
        limits: Bounds on memory.
    """

    def __init__(
        self, peer: str, catalogue: Catalogue, hang_up: Callable[[], None], limits: ChannelLimits | None = None
    ) -> None:
        limits = limits or ChannelLimits()
        self.peer = peer
        self._hang_up = hang_up
        self._state = state = ChannelState(peer)
        self._observers = Observers()
        common = state, catalogue, self._observers
        self._outbound = Outbound(*common, MessageQueue(state, limits.outbound_bytes), limits.message_bytes)
        self._inbound = Inbound(*common, MessageQueue(state, limits.inbound_bytes), limits.message_bytes)

    def __repr__(self) -> str:
        return f"Channel(peer={self.peer!r})"

    @property
    def observers(self) -> list[Observer]:
        """Functions that see every envelope, before it leaves or after it has come; what they raise ends the channel.

        Large ones are seen a little later: see `Observers`. An observed Abort may have overtaken messages that are not
        received yet.
        """
        return self._observers.functions

    def settle(self) -> None:
        """Until the observers have seen all that was sent and received so far. Raises what they raise."""
        self._observers.settle()

    @property
    def sent(self) -> Traffic:
        """What was queued for the peer."""
        return self._outbound.traffic

    @property
    def received(self) -> Traffic:
        """What of the peer's was received here."""
        return self._inbound.traffic

    @property
    def is_usable(self) -> bool:
        """Whether nothing has gone wrong and nobody has closed it, as far as is known here."""
        with self._state.lock:
            return not self._state.is_over()

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
        self._outbound.send(phase, round, batch, message, timeout)

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
        return self._inbound.receive(timeout)

    def wait_for_arrival(self, is_offline: bool, than: int, timeout: float | None) -> bool:
        """Until a message is there to be received that a thread of one lane waits for, or there is no use in waiting.

        That is when the channel is over, or so full that nothing more comes until something is received.

        Args:
            is_offline: which lane: messages of Phase.OFFLINE, or all others.
            than: more than so many of them are to have come since the channel was opened.
            timeout: Seconds to wait; None waits as long as it takes.

        Returns:
            Whether it came to that in time.
        """
        return self._inbound.wait_for_arrival(is_offline, than, timeout)

    def fail(self, error: SecureHflError) -> None:
        """Poison: every waiting and every later `send` and `receive` raises this error. The first error stays.

        What is queued for the peer still leaves, until `close`.
        """
        self._state.fail(error)

    def on_failure(self, callback: Callable[[SecureHflError], None]) -> None:
        """Call this once when the channel fails, from the thread that finds out; now, if it has failed already."""
        self._state.on_failure(callback)

    def close(self, flush_timeout: float) -> None:
        """Let what is queued reach the peer, then end the stream. What the peer still sends is dropped.

        A peer that has closed its side wants nothing more: what is queued may have reached it or not.

        Raises:
            PeerTimeout: The peer did not take it in time. (Not if the channel has failed before.)
            ConnectionLost: The stream broke while messages were queued. (Likewise.)
        """
        state = self._state
        with state.lock:
            if state.is_closed:
                return
            had_failed = state.error is not None
            state.close()
            self._inbound.clear()
            is_over = state.wait_for_end_of_stream(flush_timeout)
            is_complete = self._outbound.is_complete or state.is_closed_by_peer
        self._hang_up()
        if is_complete or had_failed:
            return
        if is_over:
            raise ConnectionLost(f"the connection to {self.peer} broke before everything was sent")
        raise PeerTimeout(f"{self.peer} did not read what was left to send within {flush_timeout:g} s")

    # What the stream's two threads call -----------------------------------------------------------------------------

    def outgoing(self) -> Iterator[bytes]:
        """The frames to send, as they come; ends when the channel is closed or the stream over."""
        return self._outbound.frames()

    def read_from(self, frames: Iterable[bytes]) -> None:
        """Take the peer's frames until the stream is over. A failed or closed channel drops them.

        Args:
            frames: Ends, or raises TransportError, when the stream does.
        """
        self._inbound.read(frames)
