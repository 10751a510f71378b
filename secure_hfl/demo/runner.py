"""Starts the parties of a demo as separate processes, each with a home of its own, and listens to their progress.

Everything goes through what a user would do: identities, `task create`, an invite, `task join`, `secure-hfl host` and
`secure-hfl collaborator`. Nothing listens beyond loopback.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secure_hfl.errors import DemoFailed
from secure_hfl.examples import mnist
from secure_hfl.executor import usable_cores
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskStore, create_task, join_task

SCRIPTS = Path(mnist.__file__).parent
STOP_SECONDS = 20.0
HOST = "host"


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asks for."""

    scheme: str
    rounds: int = 1
    batches: int | None = None
    collaborators: int = 1
    seed: int | None = None
    projection: bool | None = None
    width: int | None = None

    @property
    def uses_listings(self) -> bool:
        """Whether the tutorial's own two listings run; strips of the images otherwise."""
        return self.collaborators == 1 and self.width is None


@dataclass
class Party:
    """One process."""

    name: str
    role: str
    home: Path
    process: subprocess.Popen[bytes] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def output(self) -> Path:
        """What the process prints."""
        return self.home / "output.txt"


class Demo:
    """One run in a directory.

    Args:
        options: what to run.
        directory: an empty private directory; homes, logs and results go there.
        scripts: the host's and the collaborators' script, instead of the MNIST ones.
    """

    def __init__(self, options: DemoOptions, directory: Path, scripts: tuple[Path, Path] | None = None) -> None:
        self.options = options
        self.directory = directory
        if scripts is None:
            files = ("host.py", "collaborator.py")
            host, collaborator = (SCRIPTS / (name if options.uses_listings else f"strips_{name}") for name in files)
            scripts = (host, collaborator)
        self._scripts = {HOST: scripts[0], "collaborator": scripts[1]}
        names = [HOST, *(f"collaborator{n or ''}" for n in range(1, options.collaborators + 1))]
        if options.collaborators == 1:
            names = [HOST, "collaborator"]
        self.parties = [Party(name, HOST if name == HOST else "collaborator", directory / name) for name in names]
        self.task_id = ""
        self.fingerprints: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Identities, the task, the invite, and the data."""
        address = f"127.0.0.1:{free_port()}"
        for party in self.parties:
            party.home.mkdir(mode=0o700, parents=True)
        identities = {party.name: Identity.load_or_create(party.home, party.name) for party in self.parties}
        pems = {party.name: identities[party.name].certificate_pem for party in self.parties[1:]}
        host = self.parties[0]
        record, invite = create_task(
            TaskStore(host.home), identities[HOST], "mnist-demo", address, self.options.scheme, pems, HOST
        )
        self.task_id = record.task_id
        self.fingerprints = tuple(identity.fingerprint for identity in identities.values())
        for party in self.parties[1:]:
            join_task(TaskStore(party.home), identities[party.name], invite, self.options.scheme)
        os.environ["SECURE_HFL_DATA"] = str(self.directory / "data")
        mnist.data_dir()

    def run(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Start everything and yield (party, progress event) until all processes have ended.

        Raises:
            DemoFailed: a party failed; says why.
        """
        events: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
        try:
            for index, party in enumerate(self.parties):
                self._start(party, index, events)
            open_streams = len(self.parties)
            while open_streams:
                name, event = events.get()
                if event is None:
                    open_streams -= 1
                    continue
                if event["event"] == "end":
                    party = next(party for party in self.parties if party.name == name)
                    party.metrics, party.reason = event.get("metrics", {}), event["reason"]
                yield name, event
            for party in self.parties:
                if party.process is not None:
                    party.process.wait(STOP_SECONDS)
        finally:
            self._stop()
        failed = [party for party in self.parties if party.process is None or party.process.returncode != 0]
        if failed:
            tail = failed[0].output.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise DemoFailed(f"{failed[0].name}: {failed[0].reason or tail[0]} (its output: {failed[0].output})")

    def transcripts(self) -> list[tuple[Path, Path]]:
        """For each collaborator: the host's transcript, and its own."""
        host, *others = self.parties
        return [(self._transcript(host, other.name), self._transcript(other, HOST)) for other in others]

    def _transcript(self, party: Party, peer: str) -> Path:
        return TaskStore(party.home).directory(self.task_id) / "transcripts" / f"{peer}-1.transcript"

    def _start(self, party: Party, index: int, events: queue.SimpleQueue[tuple[str, dict[str, Any] | None]]) -> None:
        reader, writer = os.pipe()
        with party.output.open("wb") as output:
            party.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command(party),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(party, index, writer),
                pass_fds=(writer,),
            )
        os.close(writer)
        threading.Thread(target=_forward, args=(party.name, reader, events), daemon=True).start()

    def _command(self, party: Party) -> list[str]:
        options = self.options
        command = [sys.executable, "-m", "secure_hfl", party.role, str(self._scripts[party.role])]
        command += ["--task", self.task_id]
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        if party.role == HOST:
            command += ["--rounds", str(options.rounds)]
            if options.batches is not None:
                command += ["--batches", str(options.batches)]
            if options.projection is not None:
                command += ["--projection" if options.projection else "--no-projection"]
        return command

    def _environment(self, party: Party, index: int, descriptor: int) -> dict[str, str]:
        # All parties share this machine's cores, and a process with more threads than cores waits for itself.
        threads = str(max(1, usable_cores() // len(self.parties)))
        return {
            **os.environ,
            "SECURE_HFL_HOME": str(party.home),
            "SECURE_HFL_PROGRESS": str(descriptor),
            "OMP_NUM_THREADS": threads,
            "MNIST_STRIP": str(index),
            "MNIST_STRIPS": str(len(self.parties)),
            **({} if self.options.width is None else {"MNIST_WIDTH": str(self.options.width)}),
        }

    def _stop(self) -> None:
        for party in self.parties:
            if party.process is not None and party.process.poll() is None:
                party.process.terminate()
        for party in self.parties:
            if party.process is not None:
                try:
                    party.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    party.process.kill()
                    party.process.wait()


def _forward(name: str, descriptor: int, events: queue.SimpleQueue[tuple[str, dict[str, Any] | None]]) -> None:
    with os.fdopen(descriptor, "rb") as lines:
        for line in lines:
            events.put((name, json.loads(line)))
    events.put((name, None))


def free_port() -> int:
    """A loopback port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
