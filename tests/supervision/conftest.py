"""A task of a clinic, and a stand-in for its party's process that starts in no time."""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_hfl.supervision import local_party
from secure_hfl.supervision.local_party import LocalParty
from secure_hfl.supervision.supervised import Supervised
from secure_hfl.tasks import join_task
from tests.tasks.helpers import Party, make_party, make_task

STAND_IN = """
    import fcntl, os, signal, sys, time
    script, home = sys.argv[1], os.environ["SECURE_HFL_HOME"]
    task = sys.argv[sys.argv.index("--task") + 1]
    print("arguments:", *sys.argv[2:], flush=True)
    if script.endswith("broken.py"):
        print("error: broken.py: NameError: <b>nobody</b> wrote this (broken.py:3)", file=sys.stderr)
        sys.exit(1)
    lock = open(f"{home}/tasks/{task}/run.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write(str(os.getpid()))
    lock.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("ready", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Party:
    """A collaborator."""
    return make_party(tmp_path / "clinic", "clinic")


@pytest.fixture
def task_id(tmp_path: Path, clinic: Party) -> str:
    """A task that the clinic has joined."""
    record, invite = make_task(make_party(tmp_path / "bank", "bank"), clinic)
    join_task(clinic.store, clinic.identity, invite, record.scheme)
    return record.task_id


@pytest.fixture
def party(tmp_path: Path, clinic: Party, task_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalParty]:
    """The clinic's part of it. Its process is the stand-in, and is killed at the end."""
    program = tmp_path / "stand_in.py"
    program.write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setattr(local_party, "party_command", lambda role: [sys.executable, "-IS", str(program)])
    found = LocalParty(clinic.store, task_id)
    yield found
    end(found.process)


def end(process: Supervised) -> None:
    """Nothing is left behind."""
    process.stop(signal.SIGKILL)
