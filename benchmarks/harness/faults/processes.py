"""Parties that tell what they do, whoever listens: each event, and the end, comes out of one queue."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.processes import COMMON, Process, start_python


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
    reader, writer = multiprocessing.Pipe(duplex=False)
    variables = {**os.environ, **COMMON, **environment}
    started = start_python(["-m", "secure_hfl", *arguments], variables, process.output, writer, is_real)
    process.pid = started.pid
    writer.close()
    ended = threading.Event()
    threading.Thread(target=_listen, args=(process, reader, news, ended), daemon=True).start()
    threading.Thread(target=_wait, args=(process, started, news, ended), daemon=True).start()


def run_command(arguments: Sequence[str], output: Path) -> PartyProcess:
    """Run `secure-hfl ARGUMENTS` to its end."""
    process, news = PartyProcess("", output, False), queue.SimpleQueue[News]()
    start(process, arguments, {}, news)
    while news.get().event is not None:
        pass
    return process


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


def _wait(process: PartyProcess, started: Process, news: queue.SimpleQueue[News], ended: threading.Event) -> None:
    code = started.wait()
    now = time.monotonic()
    ended.wait(5)  # what it said before comes first
    process.code, process.ended = code, now
    news.put(News(now, process, None))
