"""Which process it is. The kernel gives the numbers of processes that are gone to others: one alone is not enough."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_START_TIME, _STATE = 19, 0
"""Fields of /proc/<pid>/stat after the name in brackets."""


class ProcessIdentity(BaseModel):
    """One process of this machine since it was switched on.

    Attributes:
        pid: its number.
        started: when, in the kernel's ticks since the boot.
        boot: which boot.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The process that has this number now, also one that has ended and was not waited for; None: there is none."""
        fields = _stat(pid)
        return None if fields is None else cls(pid=pid, started=int(fields[_START_TIME]), boot=_boot())

    def is_alive(self) -> bool:
        """Whether it runs: it is there, it is the same one, and no zombie."""
        fields = _stat(self.pid)
        if fields is None or int(fields[_START_TIME]) != self.started or fields[_STATE] in "ZX":
            return False
        return self.boot == _boot()

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to it and to no other process. Returns whether it was there to get it."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            # The descriptor is a process's for good: looked at after it was opened, it is this one.
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
