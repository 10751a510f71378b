"""Stands in for a party's process: starts in no time, and has the task's lock as the engine would."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from secure_hfl.supervision import local_party

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


def install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, starting a party starts this."""
    program = directory / "stand_in.py"
    program.write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setattr(local_party, "party_command", lambda role: [sys.executable, "-IS", str(program)])
