"""What a side of a layer refuses when it is called too early, twice, or with nothing to do.

    NEW -begin_setup-> SETTING_UP -end_batch-> BETWEEN_BATCHES -begin_batch-> IN_BATCH -end_batch-> BETWEEN_BATCHES

This is about our own calls. Which message may follow which stands in the order of each scheme.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Generic, TypeVar

from protocols.core.errors import CallOutOfOrder, RoleAlreadyUsed

BatchT = TypeVar("BatchT")


class Stage(Enum):
    """How far a side of a layer is."""

    NEW = auto()
    SETTING_UP = auto()
    BETWEEN_BATCHES = auto()
    IN_BATCH = auto()


class Lifecycle:
    """How far one side of the layer of `feature_key` is."""

    def __init__(self, feature_key: str) -> None:
        self._key = feature_key
        self._stage = Stage.NEW

    def __repr__(self) -> str:
        return f"<Lifecycle of {self._key}'s layer: {self._stage.name}>"

    @property
    def is_set_up(self) -> bool:
        """Whether batches may come."""
        return self._stage in (Stage.BETWEEN_BATCHES, Stage.IN_BATCH)

    def begin_setup(self) -> None:
        """Raise `RoleAlreadyUsed` the second time."""
        if self._stage is not Stage.NEW:
            raise RoleAlreadyUsed(f"the layer of {self._key} is set up, or resumed, once")
        self._stage = Stage.SETTING_UP

    def begin_batch(self) -> None:
        """Raise `CallOutOfOrder` unless the layer is set up. A batch that is under way is given up."""
        if not self.is_set_up:
            raise CallOutOfOrder(f"the layer of {self._key} must be set up before its first batch")
        self._stage = Stage.IN_BATCH

    def end_batch(self) -> None:
        """A batch is done, or the set-up."""
        self._stage = Stage.BETWEEN_BATCHES

    def skip_batch(self) -> None:
        """The batch that is under way, if one is, trains nothing."""
        if self._stage is Stage.IN_BATCH:
            self._stage = Stage.BETWEEN_BATCHES

    def check_between_batches(self) -> None:
        """Raise `CallOutOfOrder` unless a checkpoint may be made now."""
        if self._stage is not Stage.BETWEEN_BATCHES:
            now = "a batch is under way" if self._stage is Stage.IN_BATCH else "it is not set up"
            raise CallOutOfOrder(f"the layer of {self._key} has no state for a checkpoint: {now}")


class PendingBatch(Generic[BatchT]):
    """What is kept of a training batch from its forward pass until its gradient comes."""

    def __init__(self, feature_key: str) -> None:
        self._key = feature_key
        self._kept: tuple[int, BatchT] | None = None

    def __repr__(self) -> str:
        return f"<PendingBatch of {self._key}: {'none' if self._kept is None else f'{self._kept[0]} rows'}>"

    def keep(self, rows: int, batch: BatchT) -> None:
        """This is the latest; the one before it waits no longer."""
        self._kept = (rows, batch)

    def drop(self) -> None:
        """No batch waits: the latest one trains nothing."""
        self._kept = None

    def check(self, rows: int) -> None:
        """Raise `CallOutOfOrder` unless a batch of so many rows waits."""
        if self._kept is None or self._kept[0] != rows:
            raise CallOutOfOrder(f"no batch of {rows} rows of {self._key} is waiting for a gradient")

    def take(self) -> BatchT:
        """What was kept of the batch, which waits no longer. Raises `CallOutOfOrder` if there is none."""
        kept, self._kept = self._kept, None
        if kept is None:
            raise CallOutOfOrder(f"no training batch of {self._key} is waiting for a gradient")
        return kept[1]
