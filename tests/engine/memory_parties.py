"""A host and a collaborator in two threads of one process, each with a whole run; only the network is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.harness.limits import TASK, seconds
from benchmarks.harness.parties import Parties
from benchmarks.harness.scripts.tiny import bottom, make, top
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.collaborator import Collaborator
from secure_hfl.engine.door import Door
from secure_hfl.engine.host import Host
from secure_hfl.engine.run import Run
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import PeerRefused
from secure_hfl.limits import DEFAULT_LIMITS, OperatorLimits
from secure_hfl.metrics import RunMetrics
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme
from secure_hfl.transport.channel import Channel
from tests.engine.memory_channel import channel_pair

HOST, COLLABORATOR = "party0", "party1"


@dataclass
class Heard:
    """A listener that remembers, and may act on what it hears."""

    events: list[dict[str, Any]] = field(default_factory=list)
    react: Callable[[str, dict[str, Any]], None] = lambda event, values: None

    def emit(self, event: str, **values: Any) -> None:
        """See `Progress`."""
        self.events.append({"event": event, **values})
        self.react(event, values)

    def named(self, event: str) -> list[dict[str, Any]]:
        """Those of one kind."""
        return [each for each in self.events if each["event"] == event]


class MemoryDoor(Door):
    """Where the collaborator's thread comes in."""

    def __init__(self, assignment: Assignment, arrivals: SimpleQueue[Channel]) -> None:
        super().__init__(assignment)
        self._arrivals = arrivals

    def wait(self, seconds: float) -> dict[str, Channel]:
        """See `Door`."""
        try:
            channel = self._arrivals.get(timeout=seconds)
        except Empty:
            raise PeerRefused(f"{COLLABORATOR} did not come within {seconds:g} s") from None
        return {channel.peer: channel}


class MemoryParties:
    """Both parties of one tiny task.

    Args:
        directory: an empty one.
        scheme: of the task.
        options: of both runs.
        cases: fields of `Case`, by party.
        limits: of a party's operator.
        schedulers: other ones than the tiny task's, by party. Both build models in threads, by torch's one generator.

    Attributes:
        heard: what each run tells.
        channels: of the conversation under way: the host's and the collaborator's.
    """

    def __init__(
        self,
        directory: Path,
        scheme: str = "plain",
        options: RunOptions | None = None,
        cases: dict[str, dict[str, Any]] | None = None,
        limits: dict[str, OperatorLimits] | None = None,
        schedulers: dict[str, Any] | None = None,
    ) -> None:
        self._parties = Parties(directory)
        self._task = self._parties.new_task(scheme=scheme)
        self._scheme = scheme
        self._limits = limits or {}
        self._arrivals: SimpleQueue[Channel] = SimpleQueue()
        self.channels: tuple[Channel, Channel]
        self.heard = {name: Heard() for name in (HOST, COLLABORATOR)}
        self.schedulers = schedulers or self._tiny(cases or {})
        self.begin(options or RunOptions())

    def _tiny(self, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
        schedulers = {name: make({**self._parties.values(name), **cases.get(name, {})}) for name in self.heard}
        # Models are built before the threads start: torch has one generator for all.
        models: list[Any] = [bottom(0), bottom(1)]
        for scheduler, model in zip(schedulers.values(), models):
            scheduler.build_feature_model = lambda model=model: model
        head = top(2)
        schedulers[HOST].build_infer_model = lambda: head
        return schedulers

    def begin(self, options: RunOptions) -> None:
        """Make runs that know only what is on the disk, as those of new processes do."""
        self.runs = {name: self._run(name, options) for name in self.heard}
        self.errors: dict[str, BaseException] = {}

    def _run(self, name: str, options: RunOptions) -> Run:
        store = self._parties.store(name)
        record = store.get(self._task)
        role = "host" if name == HOST else "collaborator"
        identity = self._parties.identities[name]
        limits = self._limits.get(name, DEFAULT_LIMITS)
        assignment = Assignment(role, name, record, store, identity, load_scheme(self._scheme), options, limits)
        scheduler: Any = self.schedulers[name]
        bench = Workbench(scheduler, assignment)
        bench.progress.listener = self.heard[name]
        run = (
            Run(bench, Host(bench, scheduler, MemoryDoor(assignment, self._arrivals)))
            if name == HOST
            else Run(bench, Collaborator(bench, scheduler, self._connect))
        )
        scheduler._run = run.view
        return run

    def _connect(self, seconds: float) -> Channel:
        self.channels = channel_pair(self._scheme, (HOST, COLLABORATOR))
        self._arrivals.put(self.channels[0])
        return self.channels[1]

    def execute(self, *only: str) -> None:
        """Run both, or some, to their ends. What they raise is in `errors`."""
        names = only or tuple(self.runs)
        threads = [threading.Thread(target=self._execute, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(2 * TASK))
            assert not thread.is_alive(), "a run hangs"

    def _execute(self, name: str) -> None:
        try:
            self.runs[name].execute()
        except BaseException as error:
            self.errors[name] = error

    def metrics(self, name: str) -> RunMetrics:
        """What a party has measured."""
        return self.runs[name].bench.measurements.metrics
