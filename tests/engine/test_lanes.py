"""The two lanes of a link on a real channel: who reads what has arrived, and who is woken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from benchmarks.harness.limits import seconds
from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.errors import MessageOutOfOrder, SecureHflError
from protocols.wire.codec import encode
from protocols.wire.frames import cut
from secure_hfl.engine.link import MAX_UNREAD, Link
from secure_hfl.errors import ConnectionLost, PeerFault, PeerTimeout
from secure_hfl.transport.channel import Channel, ChannelLimits
from tests.transport.messages import CATALOGUE, Note

TIMEOUT = seconds(20)
LANES = {False: "training", True: "offline"}


class Lanes:
    """A link with two lanes, a thread each, to a peer that is the test."""

    def __init__(self, limits: ChannelLimits | None = None) -> None:
        self._frames: SimpleQueue[bytes | None] = SimpleQueue()
        self._sequence = 0
        self.channel = Channel("bank", CATALOGUE, lambda: self._frames.put(None), limits)
        self.channel.observers.append(self._observe)
        self.readers: list[str] = []
        link = Link(self.channel, TIMEOUT)
        link.place = Place(Phase.TRAIN)
        self.links = {False: link, True: link.offline_lane()}
        self._threads = {lane: ThreadPoolExecutor(1, name) for lane, name in LANES.items()}
        threading.Thread(target=self.channel.read_from, args=(iter(self._frames.get, None),), daemon=True).start()

    def _observe(self, *seen: object) -> None:
        self.readers.append(threading.current_thread().name.partition("_")[0])

    def arrive(self, is_offline: bool, number: int = 0, size: int = 0) -> None:
        """The peer sends a message for a lane."""
        phase = Phase.OFFLINE if is_offline else Phase.TRAIN
        for frame in cut(encode(Envelope(self._sequence, phase, 0, 0, Note(number, bytes(size))), CATALOGUE)):
            self._frames.put(frame)
        self._sequence += 1

    def receive(self, is_offline: bool) -> Future[int]:
        """The number of the next message of a lane, in the thread of that lane."""

        def receive() -> int:
            message = self.links[is_offline].receive(Note)
            assert isinstance(message, Note)
            return message.number

        return self._threads[is_offline].submit(receive)

    def end(self) -> None:
        """Threads and channel."""
        self._frames.put(None)
        for each in self._threads.values():
            each.shutdown()


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.end()


def test_each_thread_reads_its_own_and_what_came_before_it(lanes: Lanes) -> None:
    """Both wait: what is for training is read by its thread, though the other has waited longer."""
    offline, training = lanes.receive(True), lanes.receive(False)
    lanes.arrive(False, 1)
    assert training.result(TIMEOUT) == 1
    assert not offline.done()
    lanes.arrive(True, 2)
    assert offline.result(TIMEOUT) == 2
    lanes.arrive(True, 3)
    lanes.arrive(False, 4)
    assert [lanes.receive(False).result(TIMEOUT), lanes.receive(True).result(TIMEOUT)] == [4, 3]
    assert lanes.readers == ["training", "offline", "training", "training"]


@pytest.mark.parametrize("is_offline", LANES, ids=LANES.values())
def test_a_lane_times_out_whatever_comes_for_the_other(lanes: Lanes, is_offline: bool) -> None:
    lanes.links[is_offline].timeout = 0.05
    lanes.arrive(not is_offline, 1)
    with pytest.raises(PeerTimeout, match=r"owed Note for 0\.05 s"):
        lanes.receive(is_offline).result(TIMEOUT)
    assert lanes.receive(not is_offline).result(TIMEOUT) == 1


def test_a_failure_and_an_end_wake_both_lanes(lanes: Lanes) -> None:
    waiting = [lanes.receive(is_offline) for is_offline in LANES]
    error = SecureHflError("another party is gone")
    lanes.channel.fail(error)
    assert [each.exception(TIMEOUT) for each in waiting] == [error] * 2


def test_what_came_before_the_connection_broke_is_not_waited_for(lanes: Lanes) -> None:
    waiting = lanes.receive(False)
    lanes.arrive(True)
    lanes._frames.put(None)
    assert isinstance(waiting.exception(TIMEOUT), ConnectionLost)


def test_training_makes_room_that_the_other_lane_does_not_make() -> None:
    """What is prepared fills the queue, and the message for training stands at the door."""
    lanes = Lanes(ChannelLimits(inbound_bytes=2000))
    waiting = lanes.receive(False)
    for number in range(3):
        lanes.arrive(True, number, 1500)
    lanes.arrive(False, 7)
    assert waiting.result(TIMEOUT) == 7
    assert [lanes.receive(True).result(TIMEOUT) for _ in range(3)] == [0, 1, 2]
    lanes.end()


@pytest.mark.parametrize("is_offline", LANES, ids=LANES.values())
def test_a_flood_wakes_who_waits_in_the_other_lane(lanes: Lanes, is_offline: bool) -> None:
    waiting = lanes.receive(not is_offline)
    for _ in range(2 * MAX_UNREAD + 2):
        lanes.arrive(is_offline)
    error = waiting.exception(TIMEOUT)
    assert isinstance(error, PeerFault)
    assert isinstance(error.__cause__, MessageOutOfOrder)
