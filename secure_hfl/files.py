"""Files that only their owner reads, and that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from secure_hfl.errors import ConfigurationError

PART = ".part"
"""What the name of a file ends with while it is being written."""


def write_private(path: Path, *parts: bytes) -> Path:
    """Write a file (0600) made of these parts, in place of what is there. Returns `path`.

    It is on the disk when this returns. A process that is killed leaves at most `<name>.part` behind.

    Raises:
        OSError: it could not be written. What was there before still is.
    """
    temporary = path.with_name(path.name + PART)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return path


def check_writable(*paths: Path | None) -> None:
    """Before anything is done for them: can these files be written? None is no file.

    Raises:
        ConfigurationError: one is a directory, or in none that exists and is ours to write.
    """
    for path in paths:
        if path is not None and (path.is_dir() or not os.access(path.resolve().parent, os.W_OK)):
            raise ConfigurationError(f"{path} cannot be written: choose a file in a directory that exists")


def sync_file(path: Path) -> None:
    """Force to disk what a file holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Force to disk which names a directory has."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
