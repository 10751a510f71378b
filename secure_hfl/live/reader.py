"""Follows a progress file that is being written: reads what is new, and begins again when another run has."""

from __future__ import annotations

import os
from pathlib import Path

from secure_hfl.live.story import RunStory
from secure_hfl.progress_file import events_in

_HEAD = 80
"""Bytes at the beginning of a file that differ between two runs."""


class StoryReader:
    """The story of the run that a file tells of.

    Args:
        path: of the file, which need not be there yet.

    Attributes:
        story: as far as it was read.
        offset: how far that is, in bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = b""
        self.story, self.offset = RunStory(), 0

    def update(self) -> bool:
        """Read what is new. Returns whether there was anything."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            size = os.fstat(descriptor).st_size
            # The first line names the run. A file's number would be given to the next file.
            head = os.pread(descriptor, _HEAD, 0)
            is_another = not (self._head and head.startswith(self._head)) or size < self.offset
            if is_another:
                self._head, self.story, self.offset = head, RunStory(), 0
            data = os.pread(descriptor, size - self.offset, self.offset)
        finally:
            os.close(descriptor)
        whole = data[: data.rfind(b"\n") + 1]  # a line that is being written is read when it is whole
        for event in events_in(whole):
            self.story.take(event)
        self.offset += len(whole)
        return bool(whole)

    @property
    def position(self) -> str:
        """Of the story: the same for two readers that have read the same."""
        return f"{self.story.run or 'none'}-{self.offset}"


def story_of(path: Path) -> RunStory:
    """As far as it goes now."""
    reader = StoryReader(path)
    reader.update()
    return reader.story
