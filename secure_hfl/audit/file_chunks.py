"""Reads files piece by piece, and opens them for no longer than a piece takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from protocols.core.errors import SecureHflError

CHUNK = 1 << 20


class TranscriptUnreadable(SecureHflError):
    """A file cannot be read, or is not what it is given as."""


def open_file(path: Path) -> BinaryIO:
    """Open for reading. Raises `TranscriptUnreadable`."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        hint = "a task's transcripts stand in what `secure-hfl task show TASK` prints"
        raise TranscriptUnreadable(f"{path}: there is no such file; {hint}") from None
    except OSError as error:
        raise TranscriptUnreadable(f"{path}: {error.strerror}") from error


def chunks_of(path: Path, size: int = CHUNK, first: int | None = None) -> Iterator[bytes]:
    """A file's pieces. Between two of them it is closed: a run may have many transcripts, all begun at once.

    Args:
        path: the file.
        size: bytes of a piece.
        first: of the first one.

    Raises:
        TranscriptUnreadable: it cannot be read.
    """
    at, wanted = 0, first or size
    while True:
        with open_file(path) as file:
            try:
                file.seek(at)
                chunk = file.read(wanted)
            except OSError as error:
                raise TranscriptUnreadable(f"{path}: {error.strerror}") from error
        if not chunk:
            return
        at, wanted = at + len(chunk), size
        yield chunk
