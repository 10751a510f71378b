"""Runs a task whose parties are killed and whose connections break, and says what came of it.

    reference = run_faulty(directory / "reference", "bfv")
    faults = Faults(kills={"party1": [KillPoint("received", type="StepGradient")]})
    assert not run_faulty(directory / "faulty", "bfv", faults).problems(reference)

A party that was killed is started again with --resume a moment later, as often as it takes; a connection that broke
is left to the parties. Host "party0", collaborators "party1", ... each behind a proxy of its own.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.faults.kill_points import PIDS, KillPoint
from benchmarks.harness.faults.processes import News, PartyProcess, run_command, start
from benchmarks.harness.faults.proxy import Break, Proxy, Way
from benchmarks.harness.faults.verdict import LOSS_BOUND, WEIGHT_BOUND, Result, entries, psi_runs, repeated, transcripts
from benchmarks.harness.limits import Limit, seconds
from benchmarks.harness.parties import SCRIPTS, Parties
from benchmarks.harness.ports import free_ports
from secure_hfl.tasks import create_task, join_task

SEED = 12
TERMINATED = 143
QUIET = 120.0
"""Seconds of a quiet machine in which nothing happens before a run counts as hanging."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong in one run.

    Args:
        kills: by party, the kill point of its first start, of its second, and so on; None: that one is left alone.
        breaks: by collaborator, what its connection suffers.
        while_down: called with the task directory of a party between its end and its restart.
        never: parties that do not come back.
        anew: parties whose first restart forgets --resume.
        start_all_again: when all have ended and not all succeeded, all are started once more with --resume.
        pause: seconds between an end and a restart.
    """

    kills: Mapping[str, Sequence[KillPoint | None]] = field(default_factory=dict)
    breaks: Mapping[str, Sequence[Break]] = field(default_factory=dict)
    while_down: Callable[[Path], None] | None = None
    never: frozenset[str] = frozenset()
    anew: frozenset[str] = frozenset()
    start_all_again: bool = False
    pause: float = 0.1


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        starts: every start of every party.
        happened: whether every kill and every break took place.
        result: if all parties succeeded.
        resumes: of the party that went on most often.
        recovery_seconds: as the parties count them: from noticing to training.
        start_seconds, rejoin_seconds: of restarted processes: until the first sign of life, and from there to training.
        conversations: by collaborator: what the host's, and what its own transcripts list.
        audits: by collaborator, the exit code and the words of `secure-hfl audit`.
        logs: by party.
        bytes: by collaborator, what went through its proxy each way.
        seconds: of the whole run.
    """

    scheme: str
    starts: dict[str, list[PartyProcess]]
    directories: dict[str, Path]
    happened: bool
    hung: bool = False
    result: Result | None = None
    resumes: int = 0
    recovery_seconds: list[float] = field(default_factory=list)
    start_seconds: list[float] = field(default_factory=list)
    rejoin_seconds: list[float] = field(default_factory=list)
    conversations: dict[str, tuple[list[list[Any]], list[list[Any]]]] = field(default_factory=dict)
    audits: dict[str, tuple[int, str]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    bytes: dict[str, dict[Way, int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        """Whether every party ended well."""
        return not self.hung and all(starts[-1].code == 0 for starts in self.starts.values())

    @property
    def errors(self) -> list[str]:
        """How starts ended that did not end well, and why."""
        return [
            f"{name}, start {number}: code {start.code} {' / '.join(start.errors)}"
            for name, starts in self.starts.items()
            for number, start in enumerate(starts, 1)
            if start.code != 0
        ]

    @property
    def psi_runs(self) -> int:
        """The most conversations of one pair of parties that computed the intersection."""
        return max((psi_runs(both[0]) for both in self.conversations.values()), default=0)

    def is_identical(self, reference: Outcome) -> bool:
        """Whether the result is that of the uninterrupted run, bit by bit."""
        return bool(self.result and reference.result and self.result.is_identical(reference.result))

    def problems(self, reference: Outcome, psi_runs: int | None = None) -> list[str]:
        """Everything that is not as it should be.

        Args:
            psi_runs: how many times the intersection may be computed; None: any.
        """
        if not self.survived or self.result is None or reference.result is None:
            return [*(["it hangs"] if self.hung else []), *self.errors]
        found = [] if self.happened else ["the fault did not happen"]
        if psi_runs is not None and self.psi_runs != psi_runs:
            found.append(f"the intersection was computed {self.psi_runs} times")
        if self.scheme == "plain" and not self.is_identical(reference):
            found.append(f"the result differs: {self.result.distances(reference.result)}")
        elif self.scheme != "plain":
            losses, weights = self.result.distances(reference.result)
            if losses > LOSS_BOUND or weights > WEIGHT_BOUND:
                found.append(f"losses differ by {losses:.2g}, weights by {weights:.2g}")
        found += [f"audit with {name}: {words}" for name, (code, words) in self.audits.items() if code]
        for name, both in self.conversations.items():
            for role, conversations in zip(("host", "collaborator"), both):
                found += [f"{name}: {problem}" for problem in repeated(conversations, role)]
        return found


class FaultyRun:
    """One task, from its creation to the verdict.

    Args:
        directory: an empty directory.
        scheme: plain (with a projection layer), bfv, masked or paillier.
        faults: what goes wrong.
        parties: the host and its collaborators.
        checkpoint_every: batches between two checkpoints.
        arguments: of the schedulers' constructors, by party.
        is_real: start parties as users do, not preloaded.
    """

    def __init__(
        self,
        directory: Path,
        scheme: str,
        faults: Faults | None = None,
        *,
        parties: int = 2,
        checkpoint_every: int = 2,
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        is_real: bool = False,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.parties = Parties(directory, parties)
        self.scheme, self.faults, self.is_real = scheme, faults or Faults(), is_real
        self.proxies: dict[str, Proxy] = {}
        self._arguments = arguments or {}
        self._every = checkpoint_every
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._starts: dict[str, list[PartyProcess]] = {name: [] for name in self.parties.names}
        self._due: dict[str, tuple[float, bool]] = {}
        self._pids = directory / "pids"
        self._pids.mkdir()
        self._has_started_again = False
        self.task = self._create()
        self.directories = {name: self.parties.homes[name] / "tasks" / self.task for name in self.parties.names}

    def _create(self) -> str:
        parties, host = self.parties, self.parties.names[0]
        port = free_ports(1)[0]
        pems = {name: parties.identities[name].certificate_pem for name in parties.names[1:]}
        address = f"127.0.0.1:{port}"
        record, invite = create_task(
            parties.store(host), parties.identities[host], "nasty", address, self.scheme, pems, host
        )
        for name in parties.names[1:]:
            self.proxies[name] = Proxy(port, *self.faults.breaks.get(name, ()))
            here = invite.model_copy(update={"address": f"127.0.0.1:{self.proxies[name].port}"})
            join_task(parties.store(name), parties.identities[name], here, self.scheme)
        return record.task_id

    # Starting --------------------------------------------------------------------------------------------------------

    def start(self, name: str, is_resumed: bool = False) -> PartyProcess:
        """Start a party now."""
        number = len(self._starts[name])
        process = PartyProcess(name, self.parties.directory / f"{name}-{number}", is_resumed)
        self._starts[name].append(process)
        kills = self.faults.kills.get(name, ())
        point = kills[number] if number < len(kills) else None
        index = self.parties.names.index(name)
        arguments = ["collaborator" if index else "host", str(SCRIPTS / "nasty_party.py"), "--task", self.task]
        arguments += ["--seed", str(SEED), *(["--resume"] if is_resumed else [])]
        if self.scheme == "plain" and not index:
            arguments += ["--projection"]
        case = {
            "index": index,
            "parties": len(self.parties.names),
            "scheme": self.scheme,
            "arguments": {"schedule_timeout": seconds(30), **self._arguments.get(name, {})},
        }
        environment = {
            "SECURE_HFL_HOME": str(self.parties.homes[name]),
            "SECURE_HFL_CHECKPOINT_EVERY": str(self._every),
            "NASTY_CASE": json.dumps(case),
            PIDS: str(self._pids),
            **(point.environment() if point else {}),
        }
        start(process, arguments, environment, self._news, self.is_real)
        (self._pids / name).write_text(str(process.pid))
        return process

    # Running ---------------------------------------------------------------------------------------------------------

    def finish(self) -> Outcome:
        """Start everybody, start again who was killed, and wait until all have ended for good."""
        started = time.monotonic()
        try:
            for name in self.parties.names:
                self.start(name)
            hung = not self._watch()
        finally:
            self._stop()
        outcome = self._outcome(hung)
        outcome.seconds = time.monotonic() - started
        return outcome

    def _watch(self) -> bool:
        """Whether everybody ended."""
        limit = Limit(QUIET)
        while self._due or any(starts[-1].code is None for starts in self._starts.values()):
            next_start = min((at - time.monotonic() for at, _ in self._due.values()), default=limit.left())
            try:
                news = self._news.get(timeout=max(0.0, next_start))
            except queue.Empty:
                if not self._due:
                    if limit.left():
                        continue
                    return False
                self._start_due()
            else:
                if news.event is None and self._starts[news.process.name][-1] is news.process:
                    self._ended(news.process)
            limit = Limit(QUIET)
        return True

    def _start_due(self) -> None:
        for name, (at, is_resumed) in list(self._due.items()):
            if at <= time.monotonic():
                del self._due[name]
                self.start(name, is_resumed)

    def _ended(self, process: PartyProcess) -> None:
        name, faults = process.name, self.faults
        if _was_interrupted(process) and name not in faults.never:
            if faults.while_down is not None and len(self._starts[name]) == 1:
                faults.while_down(self.directories[name])
            forgets = name in faults.anew and len(self._starts[name]) == 1
            self._due[name] = time.monotonic() + faults.pause, not forgets
        last = {other: starts[-1].code for other, starts in self._starts.items()}
        is_over = not self._due and None not in last.values()
        if is_over and faults.start_all_again and not self._has_started_again and any(last.values()):
            self._has_started_again = True
            for other in self.parties.names:
                self._due[other] = time.monotonic(), True

    def _stop(self) -> None:
        for starts in self._starts.values():
            for process in starts:
                process.kill()
        for proxy in self.proxies.values():
            proxy.close()

    # The verdict -----------------------------------------------------------------------------------------------------

    def _outcome(self, hung: bool) -> Outcome:
        outcome = Outcome(self.scheme, self._starts, self.directories, self._has_happened(), hung)
        for name, directory in self.directories.items():
            log = directory / "log.txt"
            outcome.logs[name] = log.read_text(errors="replace") if log.exists() else ""
        outcome.bytes = {name: dict(proxy.bytes) for name, proxy in self.proxies.items()}
        self._measure(outcome)
        self._read_transcripts(outcome)
        if outcome.survived:
            outcome.result = Result.read(self.directories)
            paths = [directory / "results" / "metrics.json" for directory in self.directories.values()]
            outcome.resumes = max(json.loads(path.read_text()).get("resumes", 0) for path in paths)
            outcome.audits = {name: self._audit(name) for name in self.parties.names[1:]}
        return outcome

    def _has_happened(self) -> bool:
        breaks = all(set(breaks) <= set(self.proxies[name].done) for name, breaks in self.faults.breaks.items())
        points = [point for kills in self.faults.kills.values() for point in kills if point is not None]
        deaths = [each for starts in self._starts.values() for each in starts if _was_interrupted(each)]
        return breaks and len(deaths) >= sum(max(1, len(point.victims)) for point in points)

    def _measure(self, outcome: Outcome) -> None:
        for starts in self._starts.values():
            for process in starts:
                resumed = [(at, event) for at, event in process.events if event["event"] == "resumed"]
                outcome.recovery_seconds += [float(event["seconds"]) for _, event in resumed]
                if process.is_resumed and resumed:
                    first = process.events[0][0]
                    outcome.start_seconds.append(first - process.started)
                    outcome.rejoin_seconds.append(resumed[0][0] - first)

    def _read_transcripts(self, outcome: Outcome) -> None:
        host, *others = self.parties.names
        for other in others:
            both = (transcripts(self.directories[host], other), transcripts(self.directories[other], host))
            outcome.conversations[other] = tuple([entries(path) for path in paths] for paths in both)  # type: ignore[assignment]

    def _audit(self, other: str) -> tuple[int, str]:
        host = self.parties.names[0]
        last = [transcripts(self.directories[host], other)[-1], transcripts(self.directories[other], host)[-1]]
        done = run_command(["audit", *map(str, last)], self.parties.directory / f"audit-{other}")
        said = [done.output.with_suffix(kind).read_text(errors="replace") for kind in (".out", ".err")]
        findings = [
            line for line in "".join(said).splitlines() if line.startswith(("DOES", "error", "Incomplete", "warning"))
        ]
        return int(done.code or 0), " / ".join(findings)


def _was_interrupted(process: PartyProcess) -> bool:
    return process.code is not None and (process.code < 0 or process.code == TERMINATED)


def run_faulty(directory: Path, scheme: str, faults: Faults | None = None, **options: Any) -> Outcome:
    """One whole run; `options` as `FaultyRun` takes them."""
    return FaultyRun(directory, scheme, faults, **options).finish()
