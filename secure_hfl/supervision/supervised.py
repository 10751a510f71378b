"""One process at a time, with its output, in a directory: whoever looks there knows what runs and what became of it.

    <directory>/<name>.json     which process, since when, what for, and its exit code if somebody saw it end
    <directory>/<name>.log      what it printed; the last two megabytes at most are kept from earlier ones
    <directory>/<name>.lock     held while one is started

The process has a session of its own: closing a terminal, or ending who started it, does not end it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from protocols.core.sentence import say
from secure_hfl.cli.output import one_line
from secure_hfl.errors import TaskStateError
from secure_hfl.files import write_private
from secure_hfl.supervision.processes import ProcessIdentity
from secure_hfl.tasks.record import utc_now

MAX_LOG = 2_000_000
"""Bytes of output that are kept when another process starts."""

TAIL = 64 * 1024
"""Bytes at the end of the output in which the last error is looked for."""


class Started(BaseModel):
    """What is known of the last process that was started.

    Attributes:
        process: which one.
        what: what it does, for people: script, options.
        began_at: when.
        log_from: where in the log its output begins, in bytes.
        asked_to_stop: the last signal that it was sent from here.
        exit_code: as a shell has it, negative for signals; None: it runs, or nobody was there to see it end.
        ended_at: when that was.
    """

    model_config = ConfigDict(frozen=True)

    process: ProcessIdentity
    what: dict[str, str]
    began_at: AwareDatetime
    log_from: int = 0
    asked_to_stop: str = ""
    exit_code: int | None = None
    ended_at: AwareDatetime | None = None


class Supervised:
    """A process in a directory.

    Args:
        directory: made (0700) if it is missing; its parent is there.
        name: of its files.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.log = directory / f"{name}.log"
        self._record, self._lock = directory / f"{name}.json", directory / f"{name}.lock"

    def last(self) -> Started | None:
        """The last one that was started, whether it runs or not; None: none ever was, or what was kept is damaged."""
        try:
            return Started.model_validate_json(self._record.read_bytes())
        except (OSError, ValidationError):
            return None

    def is_alive(self) -> bool:
        """Whether it runs now."""
        last = self.last()
        return last is not None and last.process.is_alive()

    def start(
        self,
        command: Sequence[str],
        what: Mapping[str, str],
        environment: Mapping[str, str],
        working_directory: Path,
        may_start: Callable[[], None] = lambda: None,
    ) -> Started:
        """Start a process.

        Args:
            command: an absolute path, and arguments.
            what: it does, for people.
            environment: all of it.
            working_directory: where it runs.
            may_start: raises if it must not; called when nobody else can start one.

        Raises:
            TaskStateError: one runs already, or it cannot be started.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        with self._starting():
            if self.is_alive():
                raise TaskStateError("it is running already")
            may_start()
            log_from = self._shorten_log()
            try:
                process = self._spawn(command, environment, working_directory)
            except OSError as error:
                raise TaskStateError(say("it cannot be started: {error}", error=str(error))) from error
            # It is there until it is waited for, however soon it ends.
            identity = ProcessIdentity.of(process.pid)
            if identity is None:
                raise TaskStateError("processes cannot be told apart here: there is no /proc")
            started = Started(process=identity, what=dict(what), began_at=utc_now(), log_from=log_from)
            self._keep(started)
        threading.Thread(
            target=self._wait_for, args=(process, started), name=f"waits for {process.pid}", daemon=True
        ).start()
        return started

    def stop(self, number: signal.Signals) -> bool:
        """Send a signal to the one that runs. Returns whether there was one to get it."""
        with self._starting():
            last = self.last()
            if last is None or not last.process.send(number):
                return False
            self._keep(last.model_copy(update={"asked_to_stop": number.name}))
            return True

    def last_line(self) -> str:
        """The last line of the last one's output that says something of an error, else the very last one."""
        last = self.last()
        size = self.log.stat().st_size if self.log.exists() else 0
        begin = max(0 if last is None else last.log_from, size - TAIL)
        lines = self.output(begin)[-TAIL:].decode(errors="replace").splitlines()
        said = [line for line in lines if line.strip()]
        errors = [line for line in said if line.startswith("error:")]
        return one_line((errors or said or [""])[-1]).removeprefix("error: ")

    def output(self, begin: int = 0) -> bytes:
        """What was printed, from a place in the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(begin)
                return file.read()
        except OSError:
            return b""

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str], where: Path) -> subprocess.Popen[bytes]:
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=where,
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log)

    def _wait_for(self, process: subprocess.Popen[bytes], started: Started) -> None:
        code = process.wait()
        with self._starting():
            last = self.last()
            if last is not None and last.process == started.process:
                self._keep(last.model_copy(update={"exit_code": code, "ended_at": utc_now()}))

    def _keep(self, started: Started) -> None:
        write_private(self._record, started.model_dump_json(indent=1).encode())

    def _shorten_log(self) -> int:
        """Where the next one's output will begin."""
        size = self.log.stat().st_size if self.log.exists() else 0
        if size <= MAX_LOG:
            return size
        kept = self.output(size - MAX_LOG // 2)
        write_private(self.log, kept)
        return len(kept)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One at a time, over all processes."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # nothing was ever started here, or the task's directory is gone
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
