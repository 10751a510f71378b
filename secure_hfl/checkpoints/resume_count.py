"""How often a task went on from a checkpoint, over all its processes. It bounds that."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from secure_hfl.errors import CheckpointRefused, ResumeLimit
from secure_hfl.files import write_private
from secure_hfl.home import make_private_directory

MAX_RESUMES = 16
"""Times that a task goes on from one and the same checkpoint. It bounds a crash loop, and how many answers about the
same weights a peer can get by breaking off again and again."""

MAX_RESUMES_IN_ALL = 256
"""Times that a task goes on at all, from whatever checkpoints."""

_COUNTS = TypeAdapter(dict[str, int])


class ResumeCount:
    """A file of counts.

    Args:
        directory: where checkpoints are.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "resumes.json"

    def one_more(self, tag: bytes) -> None:
        """The task goes on from this checkpoint, or (an empty tag) starts at its beginning again.

        An interrupted task that starts at its beginning counts as well: each time the intersection is asked for again,
        and a host that breaks off again and again could ask with other ids.

        Raises:
            CheckpointRefused: the counts cannot be read.
            ResumeLimit: that was too often.
        """
        path, key = self._path, tag.hex()
        make_private_directory(path.parent)
        try:
            counts = _COUNTS.validate_json(path.read_bytes()) if path.exists() else {}
        except ValidationError as error:
            raise CheckpointRefused(f"{path} is damaged: how often the task was resumed is not known") from error
        counts[key] = counts.get(key, 0) + 1
        if counts[key] > MAX_RESUMES or sum(counts.values()) > MAX_RESUMES_IN_ALL:
            raise ResumeLimit(
                f"the task was interrupted {counts[key]} times after the same checkpoint, and "
                f"{sum(counts.values())} times in all; it does not go on. Find what stops it, then start all parties "
                "without --resume"
            )
        write_private(path, json.dumps(counts).encode())

    def clear(self) -> None:
        """Begin to count anew."""
        self._path.unlink(missing_ok=True)
