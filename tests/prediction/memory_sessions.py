"""A trained tiny task of two parties in one process, and sessions of predictions between two threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.harness.limits import TASK, seconds
from secure_hfl.engine.assignment import Assignment
from secure_hfl.limits import DEFAULT_LIMITS
from secure_hfl.prediction.assignment import PredictionAssignment
from secure_hfl.prediction.collaborator import PredictionServer
from secure_hfl.prediction.host import PredictingHost
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.trained import Training
from secure_hfl.run_options import RunOptions
from secure_hfl.transport.channel import Channel
from tests.engine.memory_channel import channel_pair
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryDoor, MemoryParties


def trained(directory: Path, scheme: str, rounds: int = 1, **options: Any) -> MemoryParties:
    """Both parties of a task that has finished."""
    parties = MemoryParties(directory, scheme, RunOptions(rounds=rounds), **options)
    parties.execute()
    assert not parties.errors, parties.errors
    return parties


class Sessions:
    """Both parties of a finished task, which predict.

    Attributes:
        host, server: the parties'.
    """

    def __init__(self, parties: MemoryParties) -> None:
        self.parties = parties
        self._arrivals: SimpleQueue[Channel] = SimpleQueue()
        self._scheme = parties.runs[HOST].bench.assignment.scheme
        assigned = {name: self._assigned(parties.runs[name].bench.assignment) for name in (HOST, COLLABORATOR)}
        schedulers: Any = parties.schedulers
        door = MemoryDoor(assigned[HOST][0], self._arrivals)
        self.host = PredictingHost(schedulers[HOST], *assigned[HOST], door)
        self.server = PredictionServer(schedulers[COLLABORATOR], *assigned[COLLABORATOR], self._connect)

    @staticmethod
    def _assigned(of: Assignment) -> tuple[PredictionAssignment, Training]:
        record = of.store.get(of.record.task_id)
        training = Training.of(of.store.directory(record.task_id), record)
        options = RunOptions()
        own = PredictionAssignment(of.role, of.party, record, of.store, of.identity, of.scheme, options, DEFAULT_LIMITS)
        return own, training

    def _connect(self, seconds: float) -> Channel:
        channels = channel_pair(self._scheme, (HOST, COLLABORATOR))
        self._arrivals.put(channels[0])
        return channels[1]

    def predict(self, ids: Sequence[str]) -> Predictions:
        """One session. Raises what it raises at the host; the server logs its own."""
        thread = threading.Thread(target=self.server.serve, args=(1,), daemon=True)
        thread.start()
        try:
            return self.host.predict(ids)
        finally:
            thread.join(seconds(TASK))
            assert not thread.is_alive(), "the collaborator hangs"
