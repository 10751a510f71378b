"""Starts the parties of a task as processes on this machine, each with a home of its own, and listens to them.

For the demo, the benchmarks and tests. Everything goes through what a user would do: identities, `task create`, an
invite, `task join`, `secure-hfl host` and `secure-hfl collaborator`. Nothing listens beyond loopback.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secure_hfl.errors import LocalRunFailed
from secure_hfl.examples.catalogue import Script
from secure_hfl.executor import usable_cores
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskStore, check_fingerprint, create_task, join_task

STOP_SECONDS = 20.0
HOST = "host"


@dataclass(frozen=True)
class RunSettings:
    """What is asked of one run; None leaves what the scripts say.

    Args:
        scheme: the task's.
        rounds: of training.
        batches: at most so many a round.
        seed: a repeatable run, not secret.
        projection: with or without the layer, for `plain`.
    """

    scheme: str
    rounds: int | None = 1
    batches: int | None = None
    seed: int | None = None
    projection: bool | None = None


@dataclass
class Party:
    """One process."""

    name: str
    role: str
    home: Path
    script: Script
    process: subprocess.Popen[bytes] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def output(self) -> Path:
        """What the process prints."""
        return self.home / "output.txt"


class LocalParties:
    """One task in a directory.

    Args:
        scripts: the host's, then every collaborator's.
        settings: what to run.
        directory: an empty private directory; homes, logs and results go there.
        relay: given the host's port, the port that a collaborator is told instead; called once for each. For proxies.
        environment: variables for all parties.

    Attributes:
        parties: the host, then the collaborators.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        settings: RunSettings,
        directory: Path,
        relay: Callable[[int], int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.settings, self.directory = settings, directory
        self._relay, self._variables = relay, dict(environment or {})
        names = [HOST, *(script.name or "collaborator" for script in scripts[1:])]
        self.parties = [
            Party(name, HOST if name == HOST else "collaborator", directory / name, script)
            for name, script in zip(names, scripts, strict=True)
        ]
        self.task_id = ""
        self.fingerprints: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Identities, the task, the invite."""
        port = free_port()
        for party in self.parties:
            party.home.mkdir(mode=0o700, parents=True)
        identities = {party.name: Identity.load_or_create(party.home, party.name) for party in self.parties}
        pems = {party.name: identities[party.name].certificate_pem for party in self.parties[1:]}
        host = self.parties[0]
        record, invite = create_task(
            TaskStore(host.home), identities[HOST], "local", _loopback(port), self.settings.scheme, pems, HOST
        )
        self.task_id = record.task_id
        self.fingerprints = tuple(identity.fingerprint for identity in identities.values())
        for party in self.parties[1:]:
            address = _loopback(port if self._relay is None else self._relay(port))
            own = invite.model_copy(update={"address": address})
            check_fingerprint(own, self.fingerprints[0])
            join_task(TaskStore(party.home), identities[party.name], own, self.settings.scheme)

    def run(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Start everything and yield (party, progress event) until all processes have ended.

        Raises:
            LocalRunFailed: a party failed; says why.
        """
        events: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
        try:
            for party in self.parties:
                self._start(party, events)
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
            raise LocalRunFailed(f"{failed[0].name}: {failed[0].reason or tail[0]} (its output: {failed[0].output})")

    def transcripts(self) -> list[tuple[Path, Path]]:
        """For each collaborator: the host's transcript, and its own."""
        host, *others = self.parties
        return [(self._transcript(host, other.name), self._transcript(other, HOST)) for other in others]

    def _transcript(self, party: Party, peer: str) -> Path:
        return TaskStore(party.home).directory(self.task_id) / "transcripts" / f"{peer}-1.transcript"

    def _start(self, party: Party, events: queue.SimpleQueue[tuple[str, dict[str, Any] | None]]) -> None:
        reader, writer = os.pipe()
        with party.output.open("wb") as output:
            party.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command(party),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(party, writer),
                pass_fds=(writer,),
            )
        os.close(writer)
        threading.Thread(target=_forward, args=(party.name, reader, events), daemon=True).start()

    def _command(self, party: Party) -> list[str]:
        settings = self.settings
        command = [sys.executable, "-m", "secure_hfl", party.role, str(party.script.path)]
        command += ["--task", self.task_id]
        if settings.seed is not None:
            command += ["--seed", str(settings.seed)]
        if party.role == HOST:
            if settings.rounds is not None:
                command += ["--rounds", str(settings.rounds)]
            if settings.batches is not None:
                command += ["--batches", str(settings.batches)]
            if settings.projection is not None:
                command += ["--projection" if settings.projection else "--no-projection"]
        return command

    def _environment(self, party: Party, descriptor: int) -> dict[str, str]:
        # All parties share this machine's cores, and a process with more threads than cores waits for itself.
        threads = str(max(1, usable_cores() // len(self.parties)))
        return {
            **os.environ,
            "SECURE_HFL_HOME": str(party.home),
            "SECURE_HFL_PROGRESS": str(descriptor),
            "OMP_NUM_THREADS": threads,
            **self._variables,
            **party.script.environment,
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


def _loopback(port: int) -> str:
    return f"127.0.0.1:{port}"


def free_port() -> int:
    """A loopback port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
