"""A Host that predicts on line, and its Collaborator, in threads of one process; only the network is missing."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.harness.limits import TASK, seconds
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.door import Door
from secure_hfl.errors import PeerRefused
from secure_hfl.prediction.collaborator import PredictionServer
from secure_hfl.prediction.service import PredictionService
from secure_hfl.transport.channel import Channel
from tests.engine.memory_channel import channel_pair, cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions


class OpenDoor(Door):
    """Where the collaborator's thread comes in, as often as it likes."""

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(assignment)
        self.arrivals: SimpleQueue[Channel] = SimpleQueue()
        self._here: dict[str, Channel] = {}

    def wait(self, seconds: float) -> dict[str, Channel]:
        """See `Door`."""
        try:
            channel = self.arrivals.get(timeout=min(seconds, 0.05))
        except Empty:
            raise PeerRefused(f"{COLLABORATOR} did not come") from None
        self._here = {channel.peer: channel}
        return self._here

    def arrived(self) -> dict[str, Channel]:
        """See `Door`."""
        return {name: channel for name, channel in self._here.items() if channel.is_usable}


class Online:
    """Both parties of a finished task.

    Attributes:
        service: the host's.
        server: the collaborator's, of the thread that runs now.
        ends: of the connection under way.
    """

    def __init__(self, parties: MemoryParties, fallback: bool = False) -> None:
        self.parties = parties
        self._scheme = parties.runs[HOST].bench.assignment.scheme
        assigned = {name: Sessions._assigned(parties.runs[name].bench.assignment) for name in (HOST, COLLABORATOR)}
        schedulers: Any = parties.schedulers
        self.door = OpenDoor(assigned[HOST][0])
        self.service = PredictionService(schedulers[HOST], *assigned[HOST], self.door, fallback=fallback)
        self.server = PredictionServer(schedulers[COLLABORATOR], *assigned[COLLABORATOR], self._connect)
        self.ends: tuple[Channel, Channel]
        self._thread: threading.Thread | None = None

    def _connect(self, seconds: float) -> Channel:
        self.ends = channel_pair(self._scheme, (HOST, COLLABORATOR))
        self.door.arrivals.put(self.ends[0])
        return self.ends[1]

    def serve(self) -> None:
        """Start the collaborator."""
        self.server._is_stopping = False
        self._thread = threading.Thread(target=self.server.serve, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Stop it, and wait until it has."""
        self.server.stop()
        self.joined()

    def joined(self) -> None:
        """It has stopped."""
        assert self._thread is not None
        self._thread.join(seconds(TASK))
        assert not self._thread.is_alive(), "the collaborator hangs"

    def cut(self) -> None:
        """The connection breaks."""
        cut_off(*self.ends)

    def __enter__(self) -> Online:
        self.serve()
        self.service.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()
        self.service.stop()
        if not self.door.arrivals.empty():
            self.cut()  # it came back when nobody took it in any more, and a real door closes
        self.joined()
