"""What the conversations of a run have reached up to one place: where a later one may go on, and from what.

history.rewind(point)          the conversation goes on from a checkpoint: what had come after it is gone
history.start / done / over    as its messages pass: checkpoints may be made there
"""

from __future__ import annotations

from protocols.core.envelope import Phase
from protocols.task.resumption import ResumePoint

Versions = tuple[int, int]
"""The lowest and the highest version that the weights may have."""


def _order(point: ResumePoint) -> tuple[int, int, int]:
    """Places of a task, as they follow on each other."""
    phase, number, batch = point
    stage = {Phase.PSI: 0, Phase.SETUP: 1, Phase.TRAIN: 2 if batch else 3}.get(phase, 4)
    return number, stage, batch


class History:
    """One party's view. A few numbers for each round.

    Args:
        is_whole: every conversation from the first one on was seen.

    Attributes:
        shape: rows of the first training batch, and columns, once the collaborator has said.
    """

    def __init__(self, is_whole: bool = True) -> None:
        self.is_whole = is_whole
        self.shape: tuple[int, int] | None = None
        self._over: dict[ResumePoint, int | None] = {}
        self._inside: dict[int, tuple[int, int | None]] = {}
        self._tags: dict[str, ResumePoint] = {}

    def start(self, number: int, first_batch: int, version: int | None) -> None:
        """A training round begins in which checkpoints are made."""
        if first_batch == 0 or number not in self._inside:
            self._inside[number] = (first_batch, version)

    def done(self, number: int, batches: int) -> None:
        """So many batches of it are done."""
        if number in self._inside:
            most, version = self._inside[number]
            self._inside[number] = (max(most, batches), version)

    def over(self, phase: Phase, number: int, version: int | None) -> None:
        """A phase or round is over."""
        self._over[ResumePoint(phase, number)] = version

    def has(self, point: ResumePoint) -> bool:
        """Whether there can be a checkpoint of this place."""
        if point.batch:
            return point.batch <= self._inside.get(point.round, (0, None))[0]
        return point in self._over

    def versions(self, point: ResumePoint) -> Versions | None:
        """Which versions the weights can have there; None if that is not known."""
        if not point.batch:
            version = self._over.get(point)
            return None if version is None else (version, version)
        first = self._inside.get(point.round, (0, None))[1]
        # Each batch moves the weights once, unless it is skipped.
        return None if first is None else (first, first + point.batch)

    def names(self, tag: str, point: ResumePoint) -> bool:
        """Whether this tag names a checkpoint of this place, and of no other."""
        return self._tags.setdefault(tag, point) == point

    def rewind(self, point: ResumePoint | None) -> None:
        """Go back to a checkpoint, or to the beginning of the task."""
        if point is None:
            self._over.clear()
            self._inside.clear()
            self.shape = None
            return
        end = _order(point)
        self._over = {place: version for place, version in self._over.items() if _order(place) <= end}
        self._inside = {number: each for number, each in self._inside.items() if number <= point.round}
        if point.batch:
            self._inside[point.round] = (point.batch, self._inside.get(point.round, (0, None))[1])
        elif point.phase in (Phase.PSI, Phase.SETUP):
            self._inside.clear()
        if not point.is_set_up:
            self.shape = None
