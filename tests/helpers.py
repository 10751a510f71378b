"""What several test modules share: pumps between two sans-I/O roles, and real parties in processes of their own."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskStore, create_task, join_task

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parent.parent
PATIENCE = 60.0  # seconds after which a party counts as hanging


_FIRST_PORT, _PORTS = 10_000, 2_000  # below those that the system gives to clients
_ports = itertools.cycle(
    _FIRST_PORT + _PORTS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10) + (os.getpid() + at) % _PORTS
    for at in range(_PORTS)
)
_ports_lock = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now, all different; no other process of the same test run gets them."""
    found: list[int] = []
    while len(found) < count:
        with _ports_lock:
            port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


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

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path, listens: bool) -> None:
        self._output = output
        reader, writer = os.pipe()
        self._lines = os.fdopen(reader, "rb")
        progress = {"SECURE_HFL_PROGRESS": str(writer)} if listens else {}
        with output.with_suffix(".out").open("wb") as out, output.with_suffix(".err").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env={**environment, **progress},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(writer,),
            )
        os.close(writer)

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first progress event of this kind that the party emits from now on."""
        deadline = time.monotonic() + PATIENCE
        while select.select([self._lines], [], [], max(0.0, deadline - time.monotonic()))[0]:
            line = self._lines.readline()
            assert line, f"the party ended before {event!r}: {self.ended().err}"
            values: dict[str, Any] = json.loads(line)
            if values["event"] == event:
                return values
        raise AssertionError(f"no {event!r} came within {PATIENCE:g} s")

    def stop_listening(self) -> None:
        """The party may go on without a reader of its progress."""
        self._lines.close()

    def ended(self) -> Ended:
        """Wait until the process ends."""
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.kill()
        texts = [self._output.with_suffix(kind).read_text(errors="replace") for kind in (".out", ".err")]
        return Ended(code, *texts)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._lines.close()


class Lab:
    """A host ("party0") and collaborators with a home each, for any number of tasks.

    Args:
        directory: an empty directory.
        parties: how many, the host included.
    """

    def __init__(self, directory: Path, parties: int = 2) -> None:
        self.directory = directory
        self.names = [f"party{index}" for index in range(parties)]
        self.homes = {name: directory / name for name in self.names}
        for home in self.homes.values():
            home.mkdir(mode=0o700)
        self.identities = {name: Identity.load_or_create(home, name) for name, home in self.homes.items()}
        self._ports: list[int] = []
        self._running: list[Running] = []

    def store(self, name: str) -> TaskStore:
        """A party's tasks."""
        return TaskStore(self.homes[name])

    def new_task(self, name: str = "tiny", scheme: str = "plain") -> str:
        """A task that everybody has joined; its id."""
        self._ports = self._ports or free_ports(100)
        address = f"127.0.0.1:{self._ports.pop()}"
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
        case: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        with_python: bool = False,
        listens: bool = False,
    ) -> Running:
        """Start a party: `python -m secure_hfl host|collaborator SCRIPT`, or plain `python SCRIPT`."""
        index = self.names.index(name)
        path = str(SCRIPTS / script)
        role = "collaborator" if index else "host"
        command = [sys.executable, path] if with_python else [sys.executable, "-m", "secure_hfl", role, path, *options]
        values = {"index": index, "parties": len(self.names), **(case or {})}
        running = Running(
            command,
            {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "SECURE_HFL_HOME": str(home or self.homes[name]),
                "TINY_CASE": json.dumps(values),
                **(environment or {}),
            },
            self.directory / f"{name}-{len(self._running)}",
            listens,
        )
        self._running.append(running)
        return running

    def run(
        self, *options: str, cases: Mapping[str, Mapping[str, Any]] | None = None, with_python: bool = False
    ) -> dict[str, Ended]:
        """All parties run the tiny task at once, to the end."""
        given = cases or {}
        running = {
            name: self.start(name, "tiny_party.py", *options, case=given.get(name), with_python=with_python)
            for name in self.names
        }
        return {name: party.ended() for name, party in running.items()}

    def stop(self) -> None:
        """Kill what still runs."""
        for running in self._running:
            running.kill()
