"""Starts a host's process and one whose threads are all its collaborators, and measures the host's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.vitals import Sampler
from benchmarks.many.party import HOST, TIMEOUT
from secure_hfl.identity import Identity
from secure_hfl.local_parties import free_port
from secure_hfl.tasks import TaskStore, create_task, join_task

Turns = list[list[dict[str, Any]]]

SAMPLE_SECONDS = 0.2


class Process:
    """`python -m benchmarks.many.party`. What it logs goes to a file: a pipe that nobody empties would stop it."""

    def __init__(self, turns: Turns, log: Path) -> None:
        self.log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.many.party"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                text=True,
            )
        self.pid = self._process.pid
        self.say(json.dumps({"turns": turns}))

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def hear(self, beginning: str) -> str:
        """Its next line. Raises `SystemExit` with its log if it begins otherwise."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line.startswith(beginning):
            raise SystemExit(f"a party failed: {line or self.log.read_text(errors='replace')[-4000:]}")
        return line

    def wait_for(self, text: str, times: int) -> None:
        """Until its log has said this so often."""
        while self.log.read_text(errors="replace").count(text) < times:
            if self._process.poll() is not None:
                raise SystemExit(f"a party ended before it said {text!r}: {self.log.read_text(errors='replace')}")
            time.sleep(0.05)

    def end(self) -> None:
        """It should have ended."""
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT)


def measure(scheme: str, tasks: int, collaborators: int, in_turns: bool = False) -> dict[str, Any]:
    """One host process with so many tasks of so many collaborators each: all at once, or one after another."""
    with tempfile.TemporaryDirectory() as directory:
        names = [HOST, *(f"collaborator{number}" for number in range(collaborators))]
        entries = _entries(Path(directory), names, scheme, tasks)
        split = {"host": names[:1], "others": names[1:]}
        turns = {
            who: _turns([[entries[name][task] for name in split[who]] for task in range(tasks)], in_turns)
            for who in split
        }
        with _started(turns, Path(directory)) as (host, others):
            host.say("go")
            host.wait_for("Waiting at", 1 if in_turns else tasks)
            with Sampler({"host": host.pid}, SAMPLE_SECONDS) as sampler:
                others.say("go")
                figures = [json.loads(host.hear("{")) for _ in turns["host"]]
            for _ in turns["others"]:
                others.hear("{")
    curve = [(round(at, 2), *held["host"]) for at, held, _ in sampler.samples if "host" in held]
    return {
        "scheme": scheme,
        "tasks": tasks,
        "collaborators": collaborators,
        "in_turns": in_turns,
        **figures[-1],
        "peak_mb_before": figures[0]["peak_mb_before"],
        "seconds": sum(each["seconds"] for each in figures),
        "cpu_seconds": sum(each["cpu_seconds"] for each in figures),
        "threads": max((point[2] for point in curve), default=0),
        "descriptors": max((point[3] for point in curve), default=0),
        "mb_after_each": [round(each["mb_after"], 1) for each in figures],
        "cpu_seconds_of_each": [round(each["cpu_seconds"], 3) for each in figures],
    }


def _entries(directory: Path, names: list[str], scheme: str, tasks: int) -> dict[str, list[dict[str, Any]]]:
    """Tasks that all have joined: by party, its entry for each."""
    homes = {name: directory / name for name in names}
    for home in homes.values():
        home.mkdir(mode=0o700)
    identities = {name: Identity.load_or_create(home, name) for name, home in homes.items()}
    stores = {name: TaskStore(home) for name, home in homes.items()}
    pems = {name: identities[name].certificate_pem for name in names[1:]}
    address = f"127.0.0.1:{free_port()}"
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(tasks):
        record, invite = create_task(stores[HOST], identities[HOST], f"many{number}", address, scheme, pems, HOST)
        for name in names:
            if name != HOST:
                join_task(stores[name], identities[name], invite, scheme)
            about = {"key": name, "task": record.task_id, "parties": len(names), "scheme": scheme}
            entries[name].append({"home": str(homes[name]), **about})
    return entries


def _turns(by_task: Turns, in_turns: bool) -> Turns:
    return by_task if in_turns else [[entry for task in by_task for entry in task]]


@contextmanager
def _started(turns: dict[str, Turns], directory: Path) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        processes = [Process(each, directory / f"{who}.log") for who, each in turns.items()]
        for process in processes:
            stack.callback(process.end)
        for process in processes:
            process.hear("ready")
        yield processes
