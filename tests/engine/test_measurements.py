"""What a run counts over several conversations and processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secure_hfl.engine import measurements
from secure_hfl.engine.measurements import Measurements
from secure_hfl.metrics import RoundMetrics, RunMetrics
from secure_hfl.transport.traffic import Traffic
from tests.engine.memory_parties import Heard


class FakePeers:
    """Counters that a test turns."""

    def __init__(self) -> None:
        self.sent, self.received, self.trips = 0, 0, (0, 0)

    def bytes_now(self) -> tuple[int, int]:
        """See `Peers`."""
        return self.sent, self.received

    def round_trips_now(self) -> tuple[int, ...]:
        """See `Peers`."""
        return self.trips

    def channels(self) -> list[Any]:
        """See `Peers`."""
        return [channel(self.sent, self.received)]


def channel(sent: int, received: int) -> Any:
    """One that has counted so much."""
    traffic = [Traffic(1, size, {"EpochEnd": (1, size)}) for size in (sent, received)]
    return SimpleNamespace(sent=traffic[0], received=traffic[1])


@pytest.fixture
def peers() -> FakePeers:
    """Nothing has crossed the wire."""
    return FakePeers()


@pytest.fixture
def measured(peers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measurements:
    """A run that began ten seconds ago."""
    clock = iter([0.0, *[10.0] * 100])
    monkeypatch.setattr(measurements.time, "perf_counter", lambda: next(clock))
    run = RunMetrics(party="bank", role="collaborator", scheme="plain")
    made = Measurements(run, tmp_path / "tensorboard", peers, Heard())
    made.start()
    return made


def test_conversations_add_up(measured: Measurements, peers: FakePeers) -> None:
    measured.conversation_over([channel(100, 40)], offline_seconds=1.5)
    peers.sent, peers.received = 7, 3
    so_far = measured.so_far(offline_seconds=0.5, checkpoint_seconds=0.25)
    assert (so_far.bytes_sent, so_far.bytes_received) == (107, 43)
    assert so_far.messages["EpochEnd"]["sent_bytes"] == 107
    assert (so_far.offline_seconds, so_far.checkpoint_seconds, so_far.seconds) == (2.0, 0.25, 10.0)
    assert measured.metrics.bytes_sent == 0, "a copy"


def test_another_process_goes_on_from_what_the_first_has_spent(measured: Measurements, peers: FakePeers) -> None:
    saved = RunMetrics(party="bank", role="collaborator", scheme="plain", seconds=60, bytes_sent=1000, resumes=2)
    peers.sent = 5
    measured.take_over(saved, is_same_process=False)
    so_far = measured.so_far(0.0, 0.0)
    assert (so_far.seconds, so_far.bytes_sent, so_far.resumes) == (70.0, 1005, 2)


def test_the_same_process_has_spent_what_it_has_spent(measured: Measurements) -> None:
    measured.conversation_over([channel(100, 40)], 0.0)
    measured.resumed(3.0)
    saved = RunMetrics(party="bank", role="collaborator", scheme="plain", seconds=60, bytes_sent=1000)
    measured.take_over(saved, is_same_process=True)
    so_far = measured.so_far(0.0, 0.0)
    assert (so_far.seconds, so_far.bytes_sent) == (10.0, 100)
    assert (so_far.resumes, so_far.recovery_seconds) == (1, [3.0])


def test_a_pass_has_its_own_bytes_and_the_longest_chain(measured: Measurements, peers: FakePeers) -> None:
    peers.sent, peers.trips = 50, (10, 20)
    with measured.one_pass() as done:
        peers.sent, peers.received, peers.trips = 80, 9, (13, 22)
    round_metrics = RoundMetrics(round=1, batches=3)
    measured.account(round_metrics, True, done)
    assert (round_metrics.bytes_sent, round_metrics.bytes_received, round_metrics.round_trips) == (30, 9, 3)
    with measured.one_pass() as done:
        peers.sent = 90
    measured.account(round_metrics, False, done)
    assert (round_metrics.bytes_sent, round_metrics.round_trips) == (40, 3), "a test adds bytes, and no round trips"
    assert round_metrics.test_seconds is not None


def test_scalars_outlive_their_writer(measured: Measurements) -> None:
    measured.tb_writer.add_scalar("loss", 0.5, 1)
    measured.close_logs()
    measured.tb_writer.add_scalar("loss", 0.25, 2)
    assert measured.metrics.scalars == {"loss": [(1, 0.5), (2, 0.25)]}
    measured.close_logs()


@pytest.mark.parametrize(("accuracy", "shown"), [(0.5, 0.5), (None, None), (float("nan"), None)])
def test_the_summary_has_numbers_that_are_json(
    measured: Measurements, accuracy: float | None, shown: float | None
) -> None:
    measured.metrics.rounds.append(RoundMetrics(round=1, batches=1, accuracy=accuracy))
    assert measured.summary()["accuracy"] == shown
    assert measured.summary()["rounds"] == 1
