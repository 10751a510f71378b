"""Parties of a benchmark that are forked; `test_micro.py` starts real ones."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import IO

import pytest

from benchmarks.harness.processes import Forked
from secure_hfl import local_parties


class Popen(Forked):
    """What `LocalParties` asks of `subprocess.Popen`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: IO[bytes],
        stderr: int,
        env: Mapping[str, str],
        pass_fds: Sequence[int],
    ) -> None:
        (writer,) = pass_fds
        assert (stdin, stderr) == (subprocess.DEVNULL, subprocess.STDOUT)
        with Connection(os.dup(writer), readable=False) as progress:
            super().__init__(command[1:], dict(env), [stdout.name] * 2, progress)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parties start in a tenth of a second."""
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT", "TimeoutExpired")}
    monkeypatch.setattr(local_parties, "subprocess", SimpleNamespace(Popen=Popen, **names))
