"""Real parties: a host and its collaborators with a home each, and the processes that run their tasks."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.limits import PARTY, Limit, seconds, wait
from benchmarks.harness.ports import free_ports
from benchmarks.harness.processes import COMMON, start_python
from benchmarks.harness.scripts.cases import Case
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskStore, create_task, join_task

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines for the user that say why."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


class Running:
    """A party's process. With `listens`, its progress must be read, or it waits for that after 64 kB."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: Path, listens: bool, is_real: bool
    ) -> None:
        self._output = output
        reader, writer = multiprocessing.Pipe(duplex=False)
        self._lines = os.fdopen(os.dup(reader.fileno()), "rb", buffering=0)  # `wait_for` asks whether there is more
        self.process = start_python(arguments, environment, output, writer if listens else None, is_real)
        reader.close()
        writer.close()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first progress event of this kind that the party emits from now on."""
        limit = Limit(PARTY)
        while left := limit.left():
            if select.select([self._lines], [], [], left)[0]:
                line = self._lines.readline()
                assert line, f"the party ended before {event!r}: {self.ended().err}"
                values: dict[str, Any] = json.loads(line)
                if values["event"] == event:
                    return values
        raise AssertionError(f"no {event!r} came within {limit.seconds:.0f} s")

    def lines(self) -> list[str]:
        """The whole lines that it has printed so far."""
        text = self._output.with_suffix(".out").read_text(errors="replace")
        return [line.removesuffix("\n") for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def stop_listening(self) -> None:
        """The party may go on without a reader of its progress."""
        self._lines.close()

    def ended(self, quiet: float = PARTY) -> Ended:
        """Wait until the process ends, at most so many seconds of a quiet machine."""
        try:
            code = wait(self.process, quiet)
        finally:
            self.kill()
        texts = [self._output.with_suffix(kind).read_text(errors="replace") for kind in (".out", ".err")]
        return Ended(code, *texts)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._lines.close()


class Parties:
    """A host ("party0") and collaborators with a home each, for any number of tasks.

    Args:
        directory: an empty directory.
        count: how many, the host included.
    """

    def __init__(self, directory: Path, count: int = 2) -> None:
        self.directory = directory
        self.names = [f"party{index}" for index in range(count)]
        self.homes = {name: directory / name for name in self.names}
        for home in self.homes.values():
            home.mkdir(mode=0o700)
        self.identities = {name: Identity.load_or_create(home, name) for name, home in self.homes.items()}
        self._running: list[Running] = []
        self._numbers = itertools.count()

    def store(self, name: str) -> TaskStore:
        """A party's tasks."""
        return TaskStore(self.homes[name])

    def new_task(self, name: str = "tiny", scheme: str = "plain") -> str:
        """A task that everybody has joined; its id."""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        pems = {other: self.identities[other].certificate_pem for other in self.names[1:]}
        host = self.names[0]
        record, invite = create_task(self.store(host), self.identities[host], name, address, scheme, pems, host)
        for other in self.names[1:]:
            join_task(self.store(other), self.identities[other], invite, scheme)
        return record.task_id

    def start(
        self,
        name: str,
        script: str,
        *options: str,
        command: str = "",
        case: Case | None = None,
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        index: int | None = None,
        with_python: bool = False,
        listens: bool = False,
        is_real: bool = False,
    ) -> Running:
        """Start a party: `python -m secure_hfl host|collaborator SCRIPT`, or plain `python SCRIPT`.

        Args:
            command: in place of that of its role.
            case: how its scheduler differs from a well-behaved one.
            home: another home than the party's own.
            index: whose scheduler the script makes, if not the party's own.
            listens: its progress will be read.
            is_real: not forked; see `harness.processes`.
        """
        path = str(SCRIPTS / script)
        role = "collaborator" if self.names.index(name) else "host"
        arguments = [path] if with_python else ["-m", "secure_hfl", command or role, path, *options]
        values = self.values(name, case) | ({} if index is None else {"index": index})
        running = Running(
            arguments,
            {**self._environment(name, home), "TINY_CASE": json.dumps(values), **(environment or {})},
            self.directory / f"{name}-{next(self._numbers)}",
            listens,
            is_real,
        )
        self._running.append(running)
        return running

    def _environment(self, name: str, home: Path | None = None) -> dict[str, str]:
        return {**os.environ, **COMMON, "SECURE_HFL_HOME": str(home or self.homes[name])}

    def command(self, name: str, *arguments: object) -> Ended:
        """Run `secure-hfl ARGUMENTS` at a party's home, to the end."""
        output = self.directory / f"{name}-command{next(self._numbers)}"
        words = ["-m", "secure_hfl", *map(str, arguments)]
        running = Running(words, self._environment(name), output, listens=False, is_real=False)
        return running.ended()

    def values(self, name: str, case: Case | None = None) -> dict[str, Any]:
        """A party's case as plain data, which `scripts.tiny.make` takes. It waits longer on a busy machine."""
        values = {**asdict(case or Case()), "index": self.names.index(name), "parties": len(self.names)}
        values["arguments"] = {"schedule_timeout": seconds(30), **values["arguments"]}
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    def run(self, *options: str, cases: Mapping[str, Case] | None = None) -> dict[str, Ended]:
        """All parties run the tiny task at once, to the end."""
        given = cases or {}
        running = {name: self.start(name, "tiny_party.py", *options, case=given.get(name)) for name in self.names}
        return {name: party.ended() for name, party in running.items()}

    def stop(self) -> None:
        """Kill what still runs."""
        for running in self._running:
            running.kill()
