"""What a party keeps so that it can go on after an interruption.

    PSI ─▶ ●  set-up ─▶ ●  training round ─▶ ● every so many batches ─▶ ●  test round ─▶ ●        ● a checkpoint

All parties make their checkpoints at the same places, and keep the last two, so that there is always one which
all have (protocols/task/resumption.py). A checkpoint is a `Snapshot`: this party's models, optimizers, generators and
the user's own state, its share of each projection layer, the intersection, the split and the metrics so far. It holds
no encryption key, and no mask of what is still to be sent: those are made anew. A key that must outlive all of them is
beside them (label_key.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from protocols.core.envelope import Place
from protocols.task.resumption import ResumePoint, checkpoint_tag
from secure_hfl.checkpoints.label_key import LabelKey
from secure_hfl.checkpoints.resume_count import ResumeCount
from secure_hfl.checkpoints.snapshot import Snapshot
from secure_hfl.checkpoints.spent_distance import SpentDistance
from secure_hfl.checkpoints.store import CheckpointStore
from secure_hfl.errors import CheckpointRefused
from secure_hfl.files import write_private
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics

INTERVAL = 10.0
"""Seconds between two checkpoints inside a round, about."""

COST = 50.0
"""A checkpoint is not made before so many times its own seconds have passed: 2 %."""

FIRST_BATCHES = 64
"""Batches between two checkpoints as long as nobody knows how long a batch takes."""


class TaskCheckpoints:
    """One party's checkpoints of one task.

    Args:
        directory: where they are kept.
        owner: what a checkpoint must say of itself to be this party's.

    Attributes:
        label_key: the Host's, if it protects training labels.
        spent: what this party has shown of its secrets.
        seconds: spent on making checkpoints so far.
    """

    def __init__(self, directory: Path, owner: Mapping[str, str]) -> None:
        self._directory = directory
        self._store = CheckpointStore(directory, owner)
        self._resumes = ResumeCount(directory)
        self.label_key = LabelKey(directory)
        self.spent = SpentDistance(directory)
        self._settled = directory / "settled"
        self._last_seconds = 0.0
        self.seconds = 0.0

    def offers(self) -> dict[bytes, ResumePoint]:
        """The usable ones, the newest first."""
        return {saved.tag: _point(saved.place) for saved in self._store.available()}

    def exist(self) -> bool:
        """Whether an earlier run has left any, usable or not."""
        return any(self._directory.glob("checkpoint-*"))

    def begin(self, tag: bytes, is_resuming: bool) -> Snapshot | None:
        """The parties have agreed: go on from this one, or (an empty tag) start at the beginning.

        Raises:
            CheckpointRefused: it cannot be used.
            ResumeLimit: the task has gone on from it too often.
        """
        if not is_resuming:
            self.clear()
            return None
        self._resumes.one_more(tag)
        if not tag:
            self._store.clear()
            return None
        snapshot = self._load(tag)
        self._store.drop_newer_than(tag)
        return snapshot

    def newest(self) -> Snapshot:
        """The newest one, without anybody's consent: only to read from. Raises `CheckpointRefused` if there is none."""
        for tag in self.offers():
            return self._load(tag)
        raise CheckpointRefused(f"none of the checkpoints in {self._directory} can be used")

    def _load(self, tag: bytes) -> Snapshot:
        loaded = self._store.load(tag)
        return Snapshot.of(_point(loaded.place), loaded.state)

    def save(self, session: bytes, snapshot: Snapshot, started: float) -> None:
        """Keep a snapshot.

        Args:
            session: of the conversation under way.
            snapshot: everything as it is here.
            started: when making it began, by the performance counter.

        Raises:
            CheckpointNotWritten: the disk is full, or broken. What was there before is still there.
        """
        point = snapshot.point
        tag = checkpoint_tag(session, point)
        self._store.save(tag, Place(point.phase, point.round, point.batch), snapshot.tree())
        self._last_seconds = time.perf_counter() - started
        self.seconds += self._last_seconds
        logger.debug(f"Checkpoint at {point}, in {1000 * self._last_seconds:.1f} ms.")

    def every(self, asked: int | None, rounds: Sequence[RoundMetrics]) -> int:
        """Batches between two checkpoints in the next round: as asked for, or as fits the time a batch took."""
        if asked is not None:
            return asked
        if not rounds or not rounds[-1].batches or not rounds[-1].train_seconds:
            return FIRST_BATCHES
        per_batch = rounds[-1].train_seconds / rounds[-1].batches
        return max(1, ceil(max(INTERVAL, COST * self._last_seconds) / per_batch))

    def clear(self) -> None:
        """Keep none: the task is finished, or begins."""
        self._store.clear()
        self._resumes.clear()
        self.label_key.clear()
        self.spent.clear()
        self._settled.unlink(missing_ok=True)

    def hand_over(self, directory: Path) -> None:
        """The task is finished: its last checkpoint goes to its results, from where predictions are made, and the
        others go."""
        self._store.move_newest(directory)
        self.clear()

    @property
    def is_settled(self) -> bool:
        """Whether all parties have saved their results, as this one or its earlier process knows."""
        return self._settled.exists()

    def settle(self) -> None:
        """They have."""
        write_private(self._settled, b"")


def _point(place: Place) -> ResumePoint:
    return ResumePoint(place.phase, place.round, place.batch)
