"""How far a channel is, and its queues, without a channel."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.harness.limits import seconds
from protocols.core.errors import SecureHflError
from secure_hfl.errors import ConnectionLost
from secure_hfl.transport.channel_state import ChannelState, MessageQueue

TIMEOUT = seconds(20)
BROKEN = SecureHflError("broken")


def queue_of(state: ChannelState, *messages: bytes, limit: int = 10) -> MessageQueue[bytes]:
    """A queue in which these wait."""
    queue: MessageQueue[bytes] = MessageQueue(state, limit)
    with state.lock:
        for message in messages:
            queue.put(message)
    return queue


def test_a_queue_keeps_order_and_counts_bytes() -> None:
    state = ChannelState("bob")
    queue = queue_of(state, b"one", b"three")
    with state.lock:
        assert (queue.bytes, queue.first(), queue.take(), queue.bytes) == (8, b"one", b"one", 5)
        assert (queue.take(), queue.take(), queue.first(), queue.bytes) == (b"three", None, None, 0)


@pytest.mark.parametrize(
    ("waiting", "size", "fits"),
    [((), 100, True), ((b"12345",), 5, True), ((b"12345",), 6, False), ((b"more than ten bytes",), 0, False)],
)
def test_room(waiting: tuple[bytes, ...], size: int, fits: bool) -> None:
    state = ChannelState("bob")
    queue = queue_of(state, *waiting)
    with state.lock:
        assert queue.wait_for_room(size, time.monotonic()) is fits


def test_nobody_waits_for_room_in_a_channel_that_is_over() -> None:
    state = ChannelState("bob")
    queue = queue_of(state, b"12345")
    state.fail(BROKEN)
    with state.lock:
        assert queue.wait_for_room(6, time.monotonic())


def test_an_end_wakes_whoever_waits() -> None:
    ends: list[Callable[[ChannelState], None]] = [
        lambda state: state.fail(BROKEN),
        lambda state: state.end_stream(True),
    ]
    for end in ends:
        state = ChannelState("bob")
        queue = queue_of(state)

        def wait(state: ChannelState = state, queue: MessageQueue[bytes] = queue) -> bool:
            with state.lock:
                return queue.wait_for_message(state.is_over, TIMEOUT)

        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(wait)
            end(state)
            assert waiting.result(TIMEOUT)


def test_only_an_abort_may_be_sent_after_a_failure_and_nothing_after_the_end() -> None:
    state = ChannelState("bob")
    state.check_sendable(is_last=False)
    state.fail(BROKEN)
    state.check_sendable(is_last=True)
    with pytest.raises(SecureHflError, match="broken"):
        state.check_sendable(is_last=False)
    state.end_stream(False)
    with pytest.raises(ConnectionLost, match="cannot be sent anything"):
        state.check_sendable(is_last=True)


def test_a_closed_channel_does_not_fail_any_more() -> None:
    state = ChannelState("bob")
    with state.lock:
        state.close()
    state.fail(BROKEN)
    assert state.error is None
    with pytest.raises(ConnectionLost, match="closed on this side"):
        state.check_usable()
