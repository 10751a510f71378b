"""Channels without gRPC: two of them joined by queues, and one whose peer is the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest

from benchmarks.harness.limits import seconds
from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import InvalidInput, MalformedMessage, MessageOutOfOrder, SecureHflError
from protocols.core.message import Message
from protocols.task.abort import Abort
from protocols.wire.codec import encode
from protocols.wire.frames import CHUNK_BYTES, END_FRAME, cut, wire_size
from protocols.wire.varint import Buffer
from secure_hfl.errors import ConnectionLost, MessageTooLarge, PeerAborted, PeerTimeout, TransportError
from secure_hfl.transport.channel import Channel, ChannelLimits
from secure_hfl.transport.traffic import LARGE_BYTES, Direction
from tests.transport.messages import CATALOGUE, Empty, Note

TIMEOUT = seconds(20)
SMALL = ChannelLimits(message_bytes=4 << 20, inbound_bytes=2000, outbound_bytes=2000)
STOP = Abort("the disk is full", "host", "TaskFailed")


class Wire:
    """A channel whose stream ends in this test: `incoming` is what the peer sends, `outgoing` what it would get."""

    def __init__(self, limits: ChannelLimits | None = None) -> None:
        self.hung_up = threading.Event()
        self.incoming: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self.channel = Channel("bob", CATALOGUE, self._hang_up, limits)
        self.outgoing: Iterator[bytes] = self.channel.outgoing()
        self.reader = threading.Thread(target=self.channel.read_from, args=(self._frames(),), daemon=True)
        self.reader.start()

    def _hang_up(self) -> None:
        self.hung_up.set()
        self.incoming.put(None)

    def _frames(self) -> Iterator[bytes]:
        while (item := self.incoming.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def deliver(self, message: Message, sequence: int) -> None:
        """The peer sends this."""
        for data in cut(encode(Envelope(sequence, Phase.TRAIN, 1, 0, message), CATALOGUE)):
            self.incoming.put(data)

    def end(self) -> None:
        """The peer closes, and the stream is over."""
        self.incoming.put(END_FRAME)
        self.incoming.put(None)
        self.reader.join(TIMEOUT)


def join(limits: ChannelLimits | None = None) -> tuple[Channel, Channel]:
    """Two channels that are each other's peer."""
    wires = Wire(limits), Wire(limits)
    for wire, other in (wires, wires[::-1]):

        def carry(source: Wire = wire, target: Wire = other) -> None:
            for data in source.outgoing:
                target.incoming.put(data)
            target.incoming.put(None)

        threading.Thread(target=carry, daemon=True).start()
    return wires[0].channel, wires[1].channel


def put(channel: Channel, message: Message, timeout: float | None = TIMEOUT) -> None:
    """Send at some place."""
    channel.send(Phase.TRAIN, 1, 2, message, timeout)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_messages_arrive_in_order_with_their_place() -> None:
    alice, bob = join()
    sent = [Note(20 + number, b"x" * size) for number, size in enumerate((0, 1, 3 * CHUNK_BYTES, 5))]
    for batch, message in enumerate(sent):
        alice.send(Phase.TEST, 7, batch, message, TIMEOUT)
    for batch, message in enumerate(sent):
        assert bob.receive(TIMEOUT) == Envelope(batch, Phase.TEST, 7, batch, message)


def test_both_ends_count_the_same_and_observe_the_same_bytes() -> None:
    alice, bob = join()
    seen: dict[Direction, list[tuple[Envelope, bytes]]] = {Direction.SENT: [], Direction.RECEIVED: []}

    def observe(direction: Direction, envelope: Envelope, data: Buffer) -> None:
        seen[direction].append((envelope, bytes(data)))

    alice.observers.append(observe)
    bob.observers.append(observe)
    for message in (Note(1, b"x"), Empty(), Note(2, b"x" * 2 * CHUNK_BYTES)):
        put(alice, message)
        bob.receive(TIMEOUT)
    alice.settle()
    bob.settle()
    sizes = [wire_size(len(data)) for _, data in seen[Direction.SENT]]
    assert seen[Direction.SENT] == seen[Direction.RECEIVED]
    assert alice.sent == bob.received
    assert alice.sent.bytes == bob.received.bytes == sum(sizes)
    assert alice.sent.by_type == {"Note": (2, sizes[0] + sizes[2]), "Empty": (1, sizes[1])}
    assert alice.received.bytes == bob.sent.bytes == 0


def test_a_message_is_observed_before_it_can_leave() -> None:
    wire = Wire()

    def refuse(direction: Direction, envelope: Envelope, data: Buffer) -> None:
        raise SecureHflError("the transcript's disk is full")

    wire.channel.observers.append(refuse)
    with pytest.raises(SecureHflError, match="disk"):
        put(wire.channel, Empty())
    wire.end()
    assert list(wire.outgoing) == []


@pytest.mark.parametrize("sequence", [0, 2, 5], ids=["replay", "gap", "far"])
def test_sequence_numbers(sequence: int) -> None:
    wire = Wire()
    wire.deliver(Empty(), 0)
    wire.deliver(Empty(), sequence)
    wire.channel.receive(TIMEOUT)
    with pytest.raises(MessageOutOfOrder, match=f"message {sequence} came instead of message 1"):
        wire.channel.receive(TIMEOUT)
    with pytest.raises(MessageOutOfOrder):
        put(wire.channel, Empty())


def frame_of(data: bytes) -> bytes:
    """A whole message in a frame."""
    return next(cut(data))


BAD: dict[str, tuple[bytes, type[SecureHflError]]] = {
    "not an envelope": (frame_of(b"\xff"), MalformedMessage),
    "unknown message": (frame_of(b"\x10\x05\xba\x3e\x00"), MalformedMessage),
    "not a frame": (b"\xff", MalformedMessage),
    "too large": (next(cut(bytes(SMALL.message_bytes + 1))), MessageTooLarge),
}


@pytest.mark.parametrize(("data", "error"), BAD.values(), ids=BAD.keys())
def test_bad_bytes_fail_the_channel(data: bytes, error: type[SecureHflError]) -> None:
    wire = Wire(SMALL)
    failures: SimpleQueue[SecureHflError] = SimpleQueue()
    wire.channel.on_failure(failures.put)
    wire.incoming.put(data)
    with pytest.raises(error) as first:
        wire.channel.receive(TIMEOUT)
    with pytest.raises(error) as second:
        wire.channel.receive(TIMEOUT)
    assert failures.get(timeout=TIMEOUT) is first.value is second.value
    assert not wire.channel.is_usable


def test_a_timeout_leaves_the_channel_usable() -> None:
    wire = Wire()
    with pytest.raises(PeerTimeout, match="bob sent nothing"):
        wire.channel.receive(0)
    wire.deliver(Empty(), 0)
    assert wire.channel.receive(TIMEOUT).message == Empty()


def test_too_large_a_message_is_not_sent() -> None:
    wire = Wire(SMALL)
    with pytest.raises(MessageTooLarge, match="Note"):
        put(wire.channel, Note(0, bytes(SMALL.message_bytes)))
    put(wire.channel, Empty())
    assert next(wire.outgoing) == frame_of(encode(Envelope(0, Phase.TRAIN, 1, 2, Empty()), CATALOGUE))


def test_what_cannot_be_encoded_costs_no_sequence_number() -> None:
    alice, bob = join()
    with pytest.raises(InvalidInput):
        put(alice, Note("one"))  # type: ignore[arg-type]
    put(alice, Note(1))
    assert bob.receive(TIMEOUT).sequence == 0


def test_send_waits_for_room_and_times_out() -> None:
    wire = Wire(SMALL)
    put(wire.channel, Note(0, bytes(3000)))
    with pytest.raises(PeerTimeout, match="bob took nothing"):
        put(wire.channel, Note(1, bytes(3000)), timeout=0)
    next(wire.outgoing)
    assert wire.channel.sent.messages == 1


def test_send_goes_on_when_there_is_room(pool: ThreadPoolExecutor) -> None:
    wire = Wire(SMALL)
    put(wire.channel, Note(0, bytes(1500)))
    waiting = pool.submit(put, wire.channel, Note(1, bytes(1500)))
    frames = [next(wire.outgoing) for _ in range(2)]
    waiting.result(TIMEOUT)
    assert [len(frame) > 1500 for frame in frames] == [True, True]


def test_the_reader_stops_reading_when_nobody_receives() -> None:
    """Room for one message of 1500 bytes: a second waits at the door, and a third is never asked for."""
    channel = Channel("bob", CATALOGUE, lambda: None, SMALL)
    envelopes = (Envelope(n, Phase.TRAIN, 1, 0, Note(100 + n, bytes(1500))) for n in range(1000))
    asked: SimpleQueue[int] = SimpleQueue()

    def frames() -> Iterator[bytes]:
        for number, envelope in enumerate(envelopes):
            asked.put(number)
            yield frame_of(encode(envelope, CATALOGUE))

    threading.Thread(target=channel.read_from, args=(frames(),), daemon=True).start()
    for expected in range(50):
        assert channel.receive(TIMEOUT).sequence == expected
        assert channel._inbound._queue.bytes <= SMALL.inbound_bytes
        assert asked.qsize() <= expected + 3
    channel.close(0)


def test_poison_wakes_everyone_who_waits(pool: ThreadPoolExecutor) -> None:
    wire = Wire(SMALL)
    put(wire.channel, Note(0, bytes(3000)))
    waiting: list[Any] = [
        pool.submit(wire.channel.receive, None),
        pool.submit(put, wire.channel, Note(1, bytes(3000)), None),
        pool.submit(put, wire.channel, Note(2, bytes(3000)), None),
    ]
    error = SecureHflError("another party is gone")
    wire.channel.fail(error)
    assert [future.exception(TIMEOUT) for future in waiting] == [error] * 3
    wire.channel.fail(SecureHflError("a later one"))
    with pytest.raises(SecureHflError, match="another party"):
        wire.channel.receive(0)


def test_failure_callbacks_run_once_and_late_ones_at_once() -> None:
    wire, calls = Wire(), []
    wire.channel.on_failure(calls.append)
    error = SecureHflError("broken")
    wire.channel.fail(error)
    wire.channel.fail(SecureHflError("again"))
    wire.channel.on_failure(calls.append)
    assert calls == [error, error]


def test_siblings_can_poison_each_other() -> None:
    wires = Wire(), Wire(), Wire()
    for wire in wires:
        for other in wires:
            wire.channel.on_failure(other.channel.fail)
    wires[1].incoming.put(None)
    for wire in wires:
        with pytest.raises(ConnectionLost, match="bob"):
            wire.channel.receive(TIMEOUT)


def test_an_abort_jumps_the_queue() -> None:
    alice, bob = join()
    aborted = threading.Event()
    bob.on_failure(lambda error: aborted.set())
    put(alice, Note(1))
    put(alice, STOP)
    assert aborted.wait(TIMEOUT)
    for call in (lambda: bob.receive(TIMEOUT), lambda: put(bob, Empty())):
        with pytest.raises(PeerAborted, match="the disk is full") as caught:
            call()
        assert (caught.value.party, caught.value.code) == ("host", "TaskFailed")


def test_an_abort_may_be_sent_on_a_failed_and_full_channel() -> None:
    alice, bob = join(SMALL)
    put(alice, Note(0, bytes(3000)))
    alice.fail(SecureHflError("broken here"))
    with pytest.raises(SecureHflError, match="broken here"):
        put(alice, Empty())
    put(alice, STOP, timeout=0)
    alice.close(TIMEOUT)
    with pytest.raises(PeerAborted):
        bob.receive(TIMEOUT), bob.receive(TIMEOUT)


def test_a_replayed_or_malformed_abort_is_the_peers_fault() -> None:
    for sequence, message, error in ((1, STOP, MessageOutOfOrder), (0, None, MalformedMessage)):
        wire = Wire()
        if message is None:
            wire.incoming.put(frame_of(b"\x10\x05\x82\x01\x02\x0a\x00"))
        else:
            wire.deliver(message, sequence)
        with pytest.raises(error):
            wire.channel.receive(TIMEOUT)


def test_what_was_sent_before_closing_can_still_be_received() -> None:
    wire = Wire()
    wire.deliver(Note(1), 0)
    wire.deliver(Note(2), 1)
    wire.end()
    assert [wire.channel.receive(TIMEOUT).message for _ in range(2)] == [Note(1), Note(2)]
    for call in (lambda: wire.channel.receive(TIMEOUT), lambda: put(wire.channel, Empty())):
        with pytest.raises(ConnectionLost, match="bob"):
            call()


@pytest.mark.parametrize("cause", [None, TransportError("bob: socket closed")])
def test_a_broken_stream_is_no_end(cause: Exception | None) -> None:
    wire = Wire()
    wire.deliver(Note(1), 0)
    wire.incoming.put(cause)
    wire.reader.join(TIMEOUT)
    with pytest.raises(TransportError, match="bob"):
        wire.channel.receive(TIMEOUT)
    assert list(wire.outgoing) == []


def test_close_flushes(pool: ThreadPoolExecutor) -> None:
    alice, bob = join(SMALL)
    put(alice, Note(1, bytes(3 * CHUNK_BYTES)))
    closing = pool.submit(alice.close, TIMEOUT)
    assert bob.receive(TIMEOUT).message == Note(1, bytes(3 * CHUNK_BYTES))
    bob.close(TIMEOUT)
    closing.result(TIMEOUT)
    alice.close(TIMEOUT)
    for call in (lambda: alice.receive(TIMEOUT), lambda: put(alice, Empty())):
        with pytest.raises(ConnectionLost, match="closed"):
            call()


def test_close_says_what_was_not_taken() -> None:
    wire = Wire()
    put(wire.channel, Note(1))
    with pytest.raises(PeerTimeout, match="bob did not read"):
        wire.channel.close(0)
    assert wire.hung_up.is_set()


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_peer_that_has_closed_takes_nothing_more(pool: ThreadPoolExecutor, closes_first: bool) -> None:
    """It can be gone before the stream's writer comes back from its last message, which the peer has received."""
    wire = Wire()
    put(wire.channel, Note(1))
    next(wire.outgoing)
    if closes_first:
        wire.end()
    closing = pool.submit(wire.channel.close, TIMEOUT)
    while wire.channel.is_usable:
        time.sleep(0.001)
    wire.end()
    closing.result(TIMEOUT)
    assert wire.hung_up.is_set()


def test_close_says_that_the_stream_broke() -> None:
    wire = Wire()
    put(wire.channel, Note(1))
    closing = threading.Timer(0.2, wire.incoming.put, [None])
    closing.start()
    with pytest.raises(ConnectionLost, match="broke before everything was sent"):
        wire.channel.close(TIMEOUT)


def test_close_after_a_failure_is_quiet() -> None:
    wire = Wire()
    put(wire.channel, Note(1))
    wire.channel.fail(SecureHflError("broken"))
    wire.channel.close(0)
    assert wire.hung_up.is_set()


def test_close_drops_what_the_peer_still_sends(pool: ThreadPoolExecutor) -> None:
    """A peer that is in the middle of sending more than both queues hold must not hold up the end."""
    alice, bob = join(SMALL)
    sending = [pool.submit(put, bob, Note(number, bytes(1500))) for number in range(100, 104)]
    assert bob.sent.messages <= 4
    alice.close(TIMEOUT)
    assert {type(future.exception(TIMEOUT)) for future in sending} <= {type(None), ConnectionLost}


def test_large_messages_are_seen_by_the_writer_in_order_and_before_they_leave() -> None:
    wire, seen = Wire(), list[tuple[Direction, int]]()
    wire.channel.observers.append(lambda direction, envelope, data: seen.append((direction, envelope.sequence)))
    large = Note(1, bytes(LARGE_BYTES))
    wire.deliver(large, 0)
    wire.channel.receive(TIMEOUT)
    put(wire.channel, large)
    assert not seen
    next(wire.outgoing)
    assert seen == [(Direction.RECEIVED, 0), (Direction.SENT, 0)]
    put(wire.channel, Empty())
    put(wire.channel, large)
    put(wire.channel, Empty())
    assert seen[2:] == [(Direction.SENT, 1)]
    wire.channel.settle()
    assert seen[3:] == [(Direction.SENT, 2), (Direction.SENT, 3)]


def test_what_was_received_is_seen_when_its_receiver_begins_to_wait() -> None:
    wire, seen = Wire(), list[tuple[Direction, int]]()
    wire.channel.observers.append(lambda direction, envelope, data: seen.append((direction, envelope.sequence)))
    wire.deliver(Note(1, bytes(LARGE_BYTES)), 0)
    wire.channel.receive(TIMEOUT)
    assert not seen
    with pytest.raises(PeerTimeout):
        wire.channel.receive(0.0)
    assert seen == [(Direction.RECEIVED, 0)]
    wire.deliver(Note(1, bytes(LARGE_BYTES)), 1)
    wire.channel.receive(TIMEOUT)
    wire.deliver(Empty(), 2)
    wire.channel.receive(TIMEOUT)
    assert seen[1:] == [(Direction.RECEIVED, 1), (Direction.RECEIVED, 2)]


def test_an_abort_and_what_came_before_it_are_seen_at_once() -> None:
    wire, seen = Wire(), list[int]()
    wire.channel.observers.append(lambda direction, envelope, data: seen.append(envelope.sequence))
    wire.deliver(Note(1, bytes(LARGE_BYTES)), 0)
    wire.channel.receive(TIMEOUT)
    wire.deliver(STOP, 1)
    with pytest.raises(PeerAborted):
        wire.channel.receive(TIMEOUT)
    assert seen == [0, 1]


def test_a_large_message_that_cannot_be_recorded_ends_the_channel_and_does_not_leave() -> None:
    wire, failed, left = Wire(), threading.Event(), list[bytes]()

    def refuse(direction: Direction, envelope: Envelope, data: Buffer) -> None:
        if type(envelope.message) is Note:
            raise SecureHflError("the transcript's disk is full")

    wire.channel.observers.append(refuse)
    wire.channel.on_failure(lambda error: failed.set())
    put(wire.channel, Note(2, bytes(LARGE_BYTES)))
    writer = threading.Thread(target=lambda: left.extend(wire.outgoing), daemon=True)
    writer.start()
    assert failed.wait(TIMEOUT)
    with pytest.raises(SecureHflError, match="disk"):
        put(wire.channel, Empty())
    put(wire.channel, STOP)
    closing = threading.Thread(target=wire.channel.close, args=(TIMEOUT,), daemon=True)
    closing.start()
    writer.join(TIMEOUT)
    wire.end()
    closing.join(TIMEOUT)
    assert left == [*cut(encode(Envelope(1, Phase.TRAIN, 1, 2, STOP), CATALOGUE)), END_FRAME]


def test_an_unexpected_error_in_the_reader_is_not_silence() -> None:
    wire = Wire()

    def broken(direction: Direction, envelope: Envelope, data: Buffer) -> None:
        raise TransportError("the observer's disk is full")

    wire.channel.observers.append(broken)
    wire.deliver(STOP, 0)
    with pytest.raises(TransportError, match="disk"):
        wire.channel.receive(TIMEOUT)
