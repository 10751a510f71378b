"""Starts Python in a process of its own, in a tenth of a second: forked off a server that has imported PyTorch.

A forked process is as killable as any other, and shares nothing with its parent but the modules. `is_real` starts
`python` as a user does, which takes 2.5 s of a core. It is for tests of what happens before `main`, of the end of a
process, and of sets: all forks of one server have one hash seed, while parties have one each.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[2]
COMMON = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PROGRESS = "SECURE_HFL_PROGRESS"
INTERRUPTED = 128 + signal.SIGINT

multiprocessing.util.get_temp_dir()  # type: ignore[attr-defined]
# Chosen once for the server's socket, whose path must be short: before a test moves temporary files to a long one.


class Process(Protocol):
    """What `subprocess.Popen` and `Forked` have in common."""

    pid: int

    def poll(self) -> int | None:
        """The exit code; None: it runs. Minus the number of a signal that ended it."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one. Raises `subprocess.TimeoutExpired`."""

    def send_signal(self, number: int, /) -> None:
        """Nothing if it has ended."""


class Forked:
    """A process off the server."""

    def __init__(self, arguments: Sequence[str], *given: Any) -> None:
        self._arguments = list(arguments)
        self._process = _server().Process(target=_run, args=(self._arguments, *given))
        self._process.start()
        assert self._process.pid
        self.pid = int(self._process.pid)

    def poll(self) -> int | None:
        """See `Process`."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int:
        """See `Process`."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return code

    def send_signal(self, number: int, /) -> None:
        """See `Process`."""
        if self.poll() is None:
            os.kill(self.pid, number)


def start_python(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: Path,
    progress: Connection | None,
    is_real: bool = False,
) -> Process:
    """Start `python ARGUMENTS`: a script, or -m and a module, and what these are given.

    Args:
        environment: all of it.
        output: what it prints goes beside it, with the suffixes .out and .err.
        progress: where the party writes its progress, if anywhere; the caller closes it.
        is_real: not forked.
    """
    files = [str(output.with_suffix(kind)) for kind in (".out", ".err")]
    if not is_real:
        for file in files:
            Path(file).write_bytes(b"")  # who looks for lines may come first
        return Forked(arguments, dict(environment), files, progress)
    passed = [] if progress is None else [progress.fileno()]
    told = {} if progress is None else {PROGRESS: str(progress.fileno())}
    with open(files[0], "wb") as out, open(files[1], "wb") as err:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env={**environment, **told},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=passed,
        )


@cache
def _server() -> Any:
    before = dict(os.environ)
    os.environ.update(COMMON)
    try:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmarks.harness.preloaded"])
        multiprocessing.forkserver.ensure_running()  # type: ignore[attr-defined]
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _run(arguments: list[str], environment: dict[str, str], files: list[str], progress: Connection | None) -> None:
    for descriptor, path in zip((1, 2), files, strict=True):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    if progress is not None:
        os.environ[PROGRESS] = str(progress.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)

    import torch

    torch.set_num_threads(1)
    is_module = arguments[0] == "-m"
    sys.argv = arguments[is_module:]
    own = os.getcwd() if is_module else str(Path(arguments[0]).parent)
    sys.path[:0] = [own, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    try:
        if is_module:
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        sys.exit(INTERRUPTED)
