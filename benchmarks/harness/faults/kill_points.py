"""Ends a process at an exact point of its run, from inside: what a crash there leaves behind is what is tested.

    send       a message is made; nothing of it is on the transcript or on the wire
    sent       it is on the transcript and in the queue; it has hardly left
    arrived    the peer's message is here; nothing of it is on the transcript
    received   it is on the transcript; nothing has been done with it
    fsync      a checkpoint is written but not forced to disk
    replace    it is on disk under its temporary name
    replaced   it has its name
    and the names of the user's methods, where the script calls `reached`

The sender of a message that has certainly arrived is killed by its receiver: `victims`.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

VARIABLE = "FAULTY_KILL_POINT"
PIDS = "FAULTY_PIDS"
"""A directory with a file for each party that holds its process id."""

BEFORE_AND_AFTER_SENDING = ("send", "sent")
ON_RECEIVING = ("arrived", "received")
WHILE_WRITING = ("fsync", "replace", "replaced")


@dataclass(frozen=True)
class KillPoint:
    """Where, and who dies.

    Args:
        at: see above.
        nth: the how-manieth time it is reached, from 1.
        type: of the message; any if empty.
        phase: in which the message is; any if empty.
        signal: SIGKILL, or SIGTERM to be asked politely.
        victims: parties; this one if empty.
    """

    at: str
    nth: int = 1
    type: str = ""
    phase: str = ""
    signal: int = signal.SIGKILL
    victims: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = " ".join(part for part in (self.phase, self.type) if part)
        who = f" ({', '.join(self.victims)})" if self.victims else ""
        name = "" if self.signal == signal.SIGKILL else f"{signal.Signals(self.signal).name} "
        return f"{name}{self.at} {what + ' ' if what else ''}#{self.nth}{who}"

    def environment(self) -> dict[str, str]:
        """What `arm` reads in the other process."""
        return {VARIABLE: json.dumps(asdict(self))}


class _Armed:
    """A kill point, and how often it was reached."""

    def __init__(self, point: KillPoint) -> None:
        self._point = point
        self._count = 0
        self._lock = threading.Lock()

    def reached(self, at: str, kind: str = "", phase: str = "") -> None:
        point = self._point
        if at != point.at or point.type not in ("", kind) or point.phase not in ("", phase):
            return
        with self._lock:
            self._count += 1
            if self._count == point.nth:
                self._fire()

    def _fire(self) -> None:
        own = str(os.getpid())
        files = [Path(os.environ[PIDS]) / name for name in self._point.victims]
        for pid in sorted((file.read_text() for file in files), key=own.__eq__):  # ourselves last
            os.kill(int(pid), self._point.signal)
        if not files:
            os.kill(os.getpid(), self._point.signal)


_armed: _Armed | None = None


def reached(at: str) -> None:
    """The user's code is here."""
    if _armed is not None:
        _armed.reached(at)


def arm() -> None:
    """Install the kill point that the environment names, if it names one."""
    global _armed
    text = os.environ.get(VARIABLE)
    if not text:
        return
    values = json.loads(text)
    _armed = _Armed(KillPoint(**{**values, "victims": tuple(values["victims"])}))
    _watch_messages(_armed)
    _watch_files(_armed)


def _watch_messages(armed: _Armed) -> None:
    from secure_hfl.transport.channel import Channel
    from secure_hfl.transport.traffic import Direction

    def observe(direction: Any, envelope: Any, data: Any) -> None:
        at = "send" if direction is Direction.SENT else "arrived"
        armed.reached(at, type(envelope.message).__name__, envelope.phase.name)

    original, send, receive = Channel.__init__, Channel.send, Channel.receive

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.observers.append(observe)  # before the transcript's

    @wraps(send)
    def sending(self: Any, phase: Any, round: int, batch: int, message: Any, timeout: float | None) -> None:
        send(self, phase, round, batch, message, timeout)
        armed.reached("sent", type(message).__name__, phase.name)

    @wraps(receive)
    def receiving(self: Any, timeout: float | None) -> Any:
        envelope = receive(self, timeout)
        armed.reached("received", type(envelope.message).__name__, envelope.phase.name)
        return envelope

    Channel.__init__, Channel.send, Channel.receive = init, sending, receiving  # type: ignore[method-assign]


def _watch_files(armed: _Armed) -> None:
    fsync, replace = os.fsync, os.replace

    def is_checkpoint(path: str) -> bool:
        return Path(path).parent.name == "checkpoints" and Path(path).name.startswith("checkpoint-")

    @wraps(fsync)
    def forcing(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        if is_checkpoint(os.readlink(f"/proc/self/fd/{descriptor}")):
            armed.reached("fsync")
        fsync(file)

    @wraps(replace)
    def replacing(source: Any, target: Any, **more: Any) -> None:
        concerned = is_checkpoint(os.fspath(target))
        if concerned:
            armed.reached("replace")
        replace(source, target, **more)
        if concerned:
            armed.reached("replaced")

    patched: dict[str, Callable[..., None]] = {"fsync": forcing, "replace": replacing}
    for name, function in patched.items():
        setattr(os, name, function)
