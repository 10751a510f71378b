"""The end of a log that grows, as text for a page."""

from __future__ import annotations

import os
from pathlib import Path

TAIL = 32 * 1024
"""Bytes that a page is given at first, and at most at once."""


class LogTail:
    """A log from a place on.

    Args:
        paths: where it may be; the one that was written to last is it.
        offset: where to begin, in bytes; None: near the end.

    Attributes:
        offset: how far it was read.
    """

    def __init__(self, paths: tuple[Path, ...], offset: int | None = None) -> None:
        self._paths = paths
        self.offset = -1 if offset is None else offset
        self._read: Path | None = None

    @property
    def path(self) -> Path | None:
        """The file, if there is one."""
        there = [path for path in self._paths if path.exists()]
        return max(there, key=lambda path: path.stat().st_mtime_ns, default=None)

    def read(self) -> tuple[str, bool]:
        """What is new, and whether it does not follow what was read before. Whole lines only."""
        path = self.path
        if path is None:
            return "", False
        if self._read not in (None, path):
            self.offset = -1
        self._read = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                begins_anew = self.offset < 0 or self.offset > size or size - self.offset > TAIL
                at = max(0, size - TAIL) if begins_anew else self.offset
                file.seek(at)
                data = file.read(TAIL)
        except OSError:
            return "", False
        if begins_anew and at:
            first = data.find(b"\n") + 1
            at, data = at + first, data[first:]
        whole = data[: data.rfind(b"\n") + 1]
        self.offset = at + len(whole)
        return clean(whole.decode(errors="replace")), begins_anew


def clean(text: str) -> str:
    """Lines without what a terminal would obey, and without marks that turn text around."""
    kept = (each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
    return "".join(kept)
