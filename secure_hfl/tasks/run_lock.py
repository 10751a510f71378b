"""Which process runs a task: an advisory file lock, which the kernel lets go when its holder dies, however it dies.

A process id in a database would outlive its process and might be given to another one. Locks are held per process in
this module, so that any `TaskStore` of the process can release them. A fork, such as a worker of a DataLoader, lets go
of what it inherits: it may outlive its parent by some seconds.
The home directory must be on a local file system, as SQLite's write-ahead log demands anyway.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

_PROBES_WAITED_FOR = 20
_held: dict[Path, int] = {}
_guard = threading.Lock()


def acquire(path: Path) -> bool:
    """Take the lock and write this process's id into its file. False when another run, here or elsewhere, has it."""
    path = path.resolve()
    with _guard:
        if path in _held:
            return False
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_PROBES_WAITED_FOR):
            if _lock(descriptor, fcntl.LOCK_EX):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                _held[path] = descriptor
                return True
            # `is_held` takes a shared lock for some microseconds; that alone must not refuse a start.
            time.sleep(0.005)
        os.close(descriptor)
        return False


def release(path: Path) -> None:
    """Let go of the lock if this process has it."""
    path = path.resolve()
    with _guard:
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether any live process has the lock."""
    if path.resolve() in _held:
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """The process id that the last holder wrote, for an error message; "unknown" if there is none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")[:20]
    except FileNotFoundError:
        return "unknown"
    return text if text.isdigit() else "unknown"


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go_in_fork() -> None:
    """The lock stays with the parent: closing is not unlocking while somebody else has the file open."""
    global _guard
    _guard = threading.Lock()  # another thread may have held it
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_fork)
