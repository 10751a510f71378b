"""The host's and the collaborator's threads of an offline phase, with a phase that makes numbers."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.harness.limits import Limit
from protocols.core.envelope import Phase, Place
from protocols.core.errors import InvalidInput
from protocols.core.steps import Receive, Send, Steps
from protocols.layer.interface import STOCK_BYTES, UNITS_AT_ONCE
from protocols.task.alignment import EpochEnd
from secure_hfl.engine.link import Link
from secure_hfl.engine.offline_phase import (
    NICE,
    CollaboratorOfflineWork,
    Demand,
    HostOfflineWork,
    OfflineWorker,
    Outlook,
    host_offline_work,
    wait_for_units,
)
from secure_hfl.errors import BackgroundFailed, ConnectionLost, PeerFault, PeerTimeout
from tests.engine.memory_channel import channel_pair

PATIENCE = 20.0
KINDS = {True: "train", False: "test"}


class HostNumbers:
    """Makes units by asking, and waiting for the answer."""

    def __init__(self, bytes_per_unit: int = 1 << 20) -> None:
        self.bytes_per_unit = bytes_per_unit
        self.made = {"train": 0, "test": 0}
        self.taken = {"train": 0, "test": 0}
        self.most = 0

    def kind(self, training: bool) -> str:
        """See `HostOfflinePhase`."""
        return KINDS[training]

    def stock(self, kind: str) -> int:
        """See `HostOfflinePhase`."""
        return self.made[kind] - self.taken[kind]

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """A unit for every four rows."""
        return KINDS[training], -(-rows // 4)

    def generate(self, kind: str, count: int) -> Steps[None]:
        """See `HostOfflinePhase`."""
        yield Send(EpochEnd(count))
        yield Receive(EpochEnd)
        self.made[kind] += count
        self.most = max(self.most, self.stock(kind))


class OneKind(HostNumbers):
    """As that of a layer whose bottom model is frozen."""

    def kind(self, training: bool) -> str:
        """See `HostOfflinePhase`."""
        return KINDS[False]


class CollaboratorNumbers:
    """Answers."""

    request_type = EpochEnd

    def __init__(self, error: Exception | None = None) -> None:
        self.served: list[int] = []
        self._error = error

    def serve(self, request: Any) -> Steps[None]:
        """See `CollaboratorOfflinePhase`."""
        if self._error is not None:
            raise self._error
        self.served.append(request.batches)
        yield Send(EpochEnd(request.batches))


class Pair:
    """Both parties' work over one connection."""

    def __init__(self, demand: Demand, phase: HostNumbers | None = None, timeout: float = PATIENCE) -> None:
        self.channels = channel_pair()
        links = [Link(channel, PATIENCE) for channel in self.channels]
        self.phase, self.serving = phase or HostNumbers(), CollaboratorNumbers()
        self.host = HostOfflineWork([(links[0].offline_lane(), self.phase, demand)], timeout)
        self.lane = links[1].offline_lane()
        self.collaborator = CollaboratorOfflineWork(self.lane, self.serving)

    def close(self) -> None:
        """The conversation is over."""
        self.host.stop()
        self.collaborator.stop()
        for channel in self.channels:
            channel.close(1.0)


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Those that a test makes are closed."""
    made: list[Pair] = []
    yield made
    for pair in made:
        pair.close()


def test_what_is_needed_is_made_and_no_more(pairs: list[Pair]) -> None:
    pair = Pair(Demand({"train": 5, "test": 2}, {"train": 10, "test": 2}, capacity=100))
    pairs.append(pair)
    pair.host.start()
    pair.collaborator.start()
    pair.host.wait_for_round()
    assert pair.phase.stock("train") >= 5
    assert pair.phase.stock("test") >= 2
    limit = Limit(PATIENCE)
    while pair.phase.made != {"train": 10, "test": 2} and limit.left():
        time.sleep(0.01)
    time.sleep(0.1)  # for more, if there were more
    pair.host.stop()
    assert pair.phase.made == {"train": 10, "test": 2}
    assert max(pair.serving.served) <= UNITS_AT_ONCE
    assert pair.host.seconds > 0


def test_the_pool_is_bounded_and_refilled_when_something_is_taken(pairs: list[Pair]) -> None:
    pair = Pair(Demand({"train": 100}, {"train": None}, capacity=6))
    pairs.append(pair)
    pair.host.start()
    pair.collaborator.start()
    for _ in range(5):
        pair.host.wait_for(0, "train", 6)
        pair.phase.taken["train"] += 6
    assert pair.phase.most == 6
    assert pair.phase.made["train"] >= 30


def test_a_full_pool_is_filled_up_by_whole_conversations_unless_training_waits(pairs: list[Pair]) -> None:
    pair = Pair(Demand({"train": 100}, {"train": None}, capacity=30))
    pairs.append(pair)
    work, phase = pair.host, pair.phase
    phase.made["train"] = 30 - UNITS_AT_ONCE + 1
    assert work._next_job() is None
    work._awaited = (phase, "train", 30)
    assert work._next_job() == (0, "train", UNITS_AT_ONCE - 1)
    work._awaited = None
    phase.taken["train"] += 1
    assert work._next_job() == (0, "train", UNITS_AT_ONCE)
    pair.host.start()
    pair.collaborator.start()
    work.wait_for(0, "train", 1)
    limit = Limit(PATIENCE)
    while phase.stock("train") < 30 and limit.left():
        time.sleep(0.001)
    assert pair.serving.served == [UNITS_AT_ONCE]


def test_more_batches_than_expected_are_served(pairs: list[Pair]) -> None:
    pair = Pair(Demand({"train": 1}, {"train": 1}, capacity=8))
    pairs.append(pair)
    pair.host.start()
    pair.collaborator.start()
    pair.host.wait_for(0, "train", 1)
    pair.phase.taken["train"] += 1
    pair.host.wait_for(0, "train", 3)
    assert pair.phase.stock("train") >= 3


def test_what_goes_wrong_is_raised_where_training_waits(pairs: list[Pair]) -> None:
    pair = Pair(Demand({"train": 5}, {"train": 5}, capacity=8))
    pairs.append(pair)
    pair.channels[0].fail(ConnectionLost("the cable is out"))
    pair.host.start()
    with pytest.raises(ConnectionLost, match="the cable is out"):
        pair.host.wait_for(0, "train", 1)


def test_an_error_that_is_none_of_ours_arrives_as_ours_with_its_cause(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(Demand({"train": 5}, {"train": 5}, capacity=8))
    pairs.append(pair)

    def generate(self: HostNumbers, kind: str, count: int) -> Steps[None]:
        yield from ()
        raise MemoryError("no room")

    monkeypatch.setattr(HostNumbers, "generate", generate)
    pair.host.start()
    for wait in (pair.host.wait_for_round, lambda: pair.host.wait_for(0, "train", 1)):
        with pytest.raises(BackgroundFailed, match="MemoryError while units were made beside training") as caught:
            wait()
        assert isinstance(caught.value.__cause__, MemoryError)


def test_a_peer_that_makes_nothing_is_not_waited_for_for_ever(pairs: list[Pair]) -> None:
    pair = Pair(Demand({"train": 5}, {"train": 5}, capacity=8), timeout=0.2)
    pairs.append(pair)  # the collaborator does not serve
    pair.host.start()
    with pytest.raises(PeerTimeout, match=r"no masks were ready for 0\.2 s"):
        pair.host.wait_for(0, "train", 1)
    pair.channels[0].fail(ConnectionLost("the test is over"))


@pytest.mark.parametrize("error", [InvalidInput("no more"), MemoryError("no room")], ids=lambda each: str(each))
def test_a_collaborator_that_fails_ends_the_connection(error: Exception) -> None:
    at_host, at_collaborator = channel_pair()
    work = CollaboratorOfflineWork(Link(at_collaborator, PATIENCE).offline_lane(), CollaboratorNumbers(error))
    failed: list[Exception] = []
    heard = threading.Event()
    at_collaborator.on_failure(lambda error: (failed.append(error), heard.set()))  # type: ignore[func-returns-value]
    work.start()
    lane = Link(at_host, PATIENCE).offline_lane()
    assert lane.place == Place(Phase.OFFLINE)
    lane.send(EpochEnd(1))
    assert heard.wait(PATIENCE)
    assert isinstance(failed[0], (InvalidInput, PeerFault, BackgroundFailed))
    assert isinstance(error, InvalidInput) or failed[0].__cause__ is error
    at_host.close(0.1)


@pytest.mark.parametrize(
    ("size", "a_round", "capacity"),
    [(1 << 10, 100, 200 + UNITS_AT_ONCE), (STOCK_BYTES // 50, 100, 50), (STOCK_BYTES, 100, UNITS_AT_ONCE)],
)
def test_memory_bounds_a_pool(size: int, a_round: int, capacity: int) -> None:
    assert Demand.of(size, {"train": a_round}, {"train": None}, STOCK_BYTES).capacity == capacity


def test_checks_take_one_unit_in_a_thousand() -> None:
    demand = Demand.of(1, {"train": 100, "test": 0}, {"train": 20, "test": None}, STOCK_BYTES)
    assert demand.in_all == {"train": 2003, "test": None}


def test_a_scheme_without_an_offline_phase_has_no_work() -> None:
    layer: Any = SimpleNamespace(offline=None, rows_shown=None)
    assert host_offline_work({}, {"bank": layer}, Outlook(4, (1, 1), (1, 1)), PATIENCE) is None


def test_the_outlook_becomes_the_demand_of_every_link() -> None:
    layer: Any = SimpleNamespace(offline=HostNumbers(), rows_shown=None)
    links = {name: Link(channel_pair()[0], PATIENCE) for name in ("bank", "shop")}
    work = host_offline_work(links, dict.fromkeys(links, layer), Outlook(4, (3, 1), (2, None)), PATIENCE)
    assert work is not None
    layer.offline.made["train"] = 2
    wait_for_units(work, dict.fromkeys(links, layer), True, dict.fromkeys(links, 8))
    for link in links.values():
        link.channel.close(0.1)


@pytest.mark.parametrize(("shown", "left"), [(0, 4), (7, 3), (16, 0), (400, 0)])
def test_a_frozen_bottom_model_uses_units_for_each_row_once(shown: int, left: int) -> None:
    frozen: Any = SimpleNamespace(rows_shown=shown)
    for rounds in ((20, 20), (None, None)):
        demand = Outlook(4, (3, 1), rounds).demand(frozen, OneKind())
        assert demand.a_round == {"test": left}
        assert demand.in_all == {"test": left + 1}  # for the first batch's check


def test_where_it_gives_more_rows_more_units_are_made(pairs: list[Pair]) -> None:
    layer: Any = SimpleNamespace(rows_shown=16)
    pair = Pair(Outlook(4, (3, 1), (9, 9)).demand(layer, OneKind()))
    pairs.append(pair)
    pair.host.start()
    pair.collaborator.start()
    pair.host.wait_for_round()
    pair.host.wait_for(0, "test", 0)
    assert pair.phase.made["test"] == 0
    pair.host.wait_for(0, "test", 2)
    assert pair.phase.made["test"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_what_is_made_ahead_gives_way_to_training() -> None:
    seen: list[int] = []

    class Worker(OfflineWorker):
        def _work(self) -> None:
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        def stop(self) -> None:
            self._thread.join()

    own, worker = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), Worker()
    worker.start()
    worker.stop()
    assert seen == [min(own + NICE, 19)]
