"""This party of a task as a process: `secure-hfl host SCRIPT` or `secure-hfl collaborator SCRIPT`, on its own.

    idle ──start──▶ starting ──▶ running ──▶ finished
                       │           │  │
                       ▼           │  └─ stop ▶ stopping ─▶ stopped ─ resume ▶ starting
                     failed ◀──────┴─ its process is gone ▶ killed ── resume ▶ starting

What the state is follows from the task's record, its run lock, and the process that was started last, which are all on
the disk or the kernel's. So whoever asks next, after a restart too, gets the same answer.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from protocols.core.sentence import say
from secure_hfl.errors import DataCheckFailed, TaskStateError
from secure_hfl.failed_test import FailedTest
from secure_hfl.home import HOME_VARIABLE
from secure_hfl.supervision.script_folders import Choice
from secure_hfl.supervision.supervised import Started, Supervised
from secure_hfl.tasks import TaskRecord, TaskState, TaskStore, run_lock

CONSOLE = "console"
"""Where in a task's directory what is about processes is kept."""

PARTY = "party"

PATIENCE = 3600
"""Seconds that a party waits for the others, instead of the script's: people do not press a button in one minute."""

_NOT_PASSED_ON = ("TASK", "RESUME", "SEED", "PROGRESS", "ROUNDS", "BATCHES", "SCHEME")
"""Options of a run that are said for each run, and not for all that a console starts."""


class PartyState(str, Enum):
    """See the module."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"
    ELSEWHERE = "elsewhere"
    """It runs, and was started in a terminal or a notebook."""

    @property
    def is_live(self) -> bool:
        """Whether a process is there."""
        live = (PartyState.STARTING, PartyState.RUNNING, PartyState.STOPPING, PartyState.ELSEWHERE)
        return self in live


@dataclass(frozen=True)
class PartyStatus:
    """What is known now.

    Attributes:
        state: of the party.
        reason: why it failed or was stopped, in a line; else empty.
        pid: of the process, where there is one.
        started: the last process from here, if any.
        can_resume: there is a checkpoint to go on from.
        failed_test: the file that says that a test of what the parties send has failed, if one has: nothing is started.
    """

    state: PartyState
    reason: str = ""
    pid: int | None = None
    started: Started | None = None
    can_resume: bool = False
    failed_test: Path | None = None

    @property
    def can_start(self) -> bool:
        """Whether a process may be started."""
        return not self.state.is_live and self.state is not PartyState.FINISHED and self.failed_test is None

    @property
    def can_stop(self) -> bool:
        """Whether it can be told to stop from here."""
        return self.state.is_live and self.state is not PartyState.ELSEWHERE


@dataclass(frozen=True)
class StartOptions:
    """What a person may choose for one run.

    Attributes:
        resume: go on from the last checkpoint.
        rounds: of training, instead of the script's. For a host. None: as the script says, or the run that is resumed.
        keep_for_judge: see `secure-hfl host --help`.
    """

    resume: bool = False
    rounds: int | None = None
    keep_for_judge: bool = False

    def arguments(self, role: str) -> list[str]:
        """For the command line."""
        arguments = ["--wait", str(PATIENCE), *(["--resume"] if self.resume else [])]
        if self.rounds is not None and role == "host":
            arguments += ["--rounds", str(self.rounds)]
        return [*arguments, "--keep-for-judge"] if self.keep_for_judge else arguments


class LocalParty:
    """The party of one task on this machine.

    Args:
        store: where the task is.
        task_id: its full id.
    """

    def __init__(self, store: TaskStore, task_id: str) -> None:
        self._store, self.task_id = store, task_id
        self._directory = store.directory(task_id)
        self.process = Supervised(self._directory / CONSOLE, PARTY)

    def status(self, record: TaskRecord | None = None) -> PartyStatus:
        """What is known now. `record`: the task's, where the caller has read it already."""
        record = record or self._store.get(self.task_id)
        lock = self._directory / "run.lock"
        last, is_locked = self.process.last(), run_lock.is_held(lock)
        can_resume = any((self._directory / "checkpoints").glob("checkpoint-*"))
        holder = run_lock.holder(lock)
        if last is not None and last.process.is_alive() and not record.finished:
            return PartyStatus(_live(last, holder, is_locked), "", last.process.pid, last, can_resume)
        if is_locked:
            pid = int(holder) if holder.isdecimal() else None
            return PartyStatus(PartyState.ELSEWHERE, "", pid, last, can_resume)
        state, reason = self._ended(record, last)
        failed = FailedTest(self._directory)
        return PartyStatus(state, reason, None, last, can_resume, failed.path if failed.is_kept else None)

    def start(self, script: Choice, options: StartOptions) -> Started:
        """Start it.

        Raises:
            TaskStateError: it runs already, here or elsewhere, or the task is finished, or there is nothing to resume.
            DataCheckFailed: the task's data check failed.
        """
        role = self._store.get(self.task_id).role
        if options.resume and options.rounds is None:
            options = replace(options, rounds=rounds_of(self.process.last()))  # all have agreed on them
        command = [*party_command(role), str(script.path), "--task", self.task_id, *options.arguments(role)]
        what = {"script": str(script.path), "key": script.key, "label": script.label}
        if options.rounds is not None:
            what["rounds"] = str(options.rounds)

        def may_start() -> None:
            self._check(options)

        environment = party_environment(self._store.home, script.environment)
        return self.process.start(command, what, environment, script.path.parent, may_start)

    def pause(self) -> bool:
        """SIGTERM: end this party after its next checkpoint; the others wait for it. False: nothing to stop."""
        return self.process.stop(signal.SIGTERM)

    def stop(self) -> bool:
        """SIGINT: end the task for all parties, now. False: nothing to stop."""
        return self.process.stop(signal.SIGINT)

    def kill(self) -> bool:
        """SIGKILL, for one that does not stop. The others see a lost connection, and wait. False: nothing to kill."""
        return self.process.stop(signal.SIGKILL)

    def _check(self, options: StartOptions) -> None:
        record = self._store.get(self.task_id)
        status = self.status(record)
        if status.state is PartyState.FINISHED:
            raise TaskStateError(say("task {name!r} is finished; create a new one to train again", name=record.name))
        if status.state.is_live:
            raise TaskStateError(
                say("task {name!r} is running in process {pid}; stop that one first", name=record.name, pid=status.pid)
            )
        if options.resume and not status.can_resume:
            raise TaskStateError("there is no checkpoint to go on from; start the task anew")
        check = record.data_check
        if check is not None and not check.passed:
            raise DataCheckFailed(
                say("the data check failed: {message}; repair the data and check again", message=check.message)
            )

    def _ran_last(self, last: Started | None) -> tuple[Started | None, bool]:
        """The last process from here, unless another one from elsewhere ran later; and whether it began the task."""
        lock = self._directory / "run.lock"
        if last is None or run_lock.holder(lock) == str(last.process.pid):
            return last, True
        # Who takes the lock writes its number, so the file is as old as the last beginning.
        is_newer = lock.exists() and lock.stat().st_mtime > last.began_at.timestamp()
        return (None, True) if is_newer else (last, False)

    def _ended(self, record: TaskRecord, last: Started | None) -> tuple[PartyState, str]:
        """No process is there: what became of it, and why."""
        if record.state is TaskState.FINISHED:
            return PartyState.FINISHED, ""
        last, has_begun = self._ran_last(last)
        if last is not None and last.asked_to_stop == signal.SIGKILL.name:
            return PartyState.KILLED, last.asked_to_stop
        if last is not None and last.asked_to_stop:
            return PartyState.STOPPED, (record.failure or "") if has_begun else ""
        if last is not None and not has_begun:
            return PartyState.FAILED, self.process.last_line()
        if record.state is TaskState.RUNNING:
            return PartyState.KILLED, _killed_by(last)
        if record.state is TaskState.FAILED:
            return PartyState.FAILED, record.failure or self.process.last_line()
        return PartyState.IDLE, ""


def rounds_of(last: Started | None) -> int | None:
    """How many rounds a run was asked for; None: as many as its script says."""
    asked = "" if last is None else last.what.get("rounds", "")
    return int(asked) if asked.isdecimal() else None


def party_command(role: str) -> list[str]:
    """What runs a script, as the command line would."""
    return [sys.executable, "-m", "secure_hfl", role]


def party_environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """What a process of this party is given."""
    dropped = {f"SECURE_HFL_{name}" for name in _NOT_PASSED_ON}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    # A console that is watched needs each line as it is printed.
    return {**kept, "PYTHONUNBUFFERED": "1", "COLUMNS": "180", **more, HOME_VARIABLE: str(home)}


def _live(last: Started, holder: str, is_locked: bool) -> PartyState:
    has_begun = holder == str(last.process.pid)
    # One that has had the task and let go of it has only its own end before it; until then no other can start.
    if last.asked_to_stop or (has_begun and not is_locked):
        return PartyState.STOPPING
    return PartyState.RUNNING if has_begun else PartyState.STARTING


def _killed_by(last: Started | None) -> str:
    if last is None or last.exit_code is None or last.exit_code >= 0:
        return ""
    try:
        return signal.Signals(-last.exit_code).name
    except ValueError:
        return f"signal {-last.exit_code}"
