"""Parties in processes of their own, started in a tenth of a second: forked off a server that has imported torch.

A process that is forked so is as killable as any other, and everything that is left of it is on disk. `is_real` starts
`python -m secure_hfl` instead, as a user does; it takes seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

from benchmarks.harness.parties import ROOT

PRELOADED = (
    "torch",
    "torch._dynamo",  # the first optimizer imports it, which takes as long as all the rest
    "torch.utils.tensorboard",
    "secure_hfl.audit.command",
    "secure_hfl.cli.app",
    "secure_hfl.engine.host",
    "secure_hfl.engine.collaborator",
    "secure_hfl.schemes",
    "protocols.he.bfv",
    "benchmarks.harness.faults.processes",
)
COMMON = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


Wait = Callable[[], int]
"""Until a process has ended: its exit code."""


class News(NamedTuple):
    """What a process did: emitted a progress event, or (None) ended."""

    time: float
    process: PartyProcess
    event: dict[str, Any] | None


@dataclass
class PartyProcess:
    """One start of one party. Times are of the monotonic clock."""

    name: str
    output: Path
    is_resumed: bool
    started: float = 0.0
    pid: int = 0
    code: int | None = None
    ended: float = 0.0
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """The lines for the user that say why."""
        text = self.output.with_suffix(".err").read_text(errors="replace")
        return [line for line in text.splitlines() if line.startswith(("error:", "Usage:", "Traceback"))]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, if it still runs."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def start(
    process: PartyProcess,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    news: queue.SimpleQueue[News],
    is_real: bool = False,
) -> None:
    """Start `secure-hfl ARGUMENTS`; from now on, what it does is put into the queue."""
    process.started = time.monotonic()
    files = [str(process.output.with_suffix(kind)) for kind in (".out", ".err")]
    reader, writer = multiprocessing.Pipe(duplex=False)
    if is_real:
        variables = {**os.environ, **COMMON, **environment, "SECURE_HFL_PROGRESS": str(writer.fileno())}
        with open(files[0], "wb") as out, open(files[1], "wb") as err:
            child = subprocess.Popen(
                [sys.executable, "-m", "secure_hfl", *arguments],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(writer.fileno(),),
            )
        process.pid, wait = child.pid, cast(Wait, child.wait)
    else:
        forked = _server().Process(target=_child, args=(list(arguments), dict(environment), files, writer))
        forked.start()
        process.pid, wait = int(forked.pid or 0), partial(_joined, forked)
    writer.close()
    ended = threading.Event()
    threading.Thread(target=_listen, args=(process, reader, news, ended), daemon=True).start()
    threading.Thread(target=_wait, args=(process, wait, news, ended), daemon=True).start()


def run_command(arguments: Sequence[str], output: Path) -> PartyProcess:
    """Run `secure-hfl ARGUMENTS` to its end."""
    process, news = PartyProcess("", output, False), queue.SimpleQueue[News]()
    start(process, arguments, {}, news)
    while news.get().event is not None:
        pass
    return process


@cache
def _server() -> Any:
    before = dict(os.environ)
    os.environ.update(COMMON)
    try:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        multiprocessing.forkserver.ensure_running()  # type: ignore[attr-defined]
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _child(arguments: list[str], environment: dict[str, str], files: list[str], progress: Connection) -> None:
    for descriptor, path in zip((1, 2), files, strict=True):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.update({**COMMON, **environment, "SECURE_HFL_PROGRESS": str(progress.fileno())})
    sys.argv = ["secure-hfl", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)

    import torch

    from secure_hfl.cli.app import main

    torch.set_num_threads(1)
    main()


def _joined(forked: Any) -> int:
    forked.join()
    return int(forked.exitcode)


def _listen(process: PartyProcess, reader: Connection, news: queue.SimpleQueue[News], ended: threading.Event) -> None:
    with suppress(OSError), os.fdopen(os.dup(reader.fileno()), "rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                now = time.monotonic()
                event = json.loads(line)
                process.events.append((now, event))
                news.put(News(now, process, event))
    reader.close()
    ended.set()


def _wait(process: PartyProcess, wait: Wait, news: queue.SimpleQueue[News], ended: threading.Event) -> None:
    code = wait()
    now = time.monotonic()
    ended.wait(5)  # what it said before comes first
    process.code, process.ended = code, now
    news.put(News(now, process, None))
