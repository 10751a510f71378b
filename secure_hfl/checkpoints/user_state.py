"""The user's part of one party, now and when the round began: kept, put back, and its iterator run again.

The batches of a round that were done are not kept: the user's iterator is run again from the generators' state at the
round's beginning, sending nothing, and then everything is put back to where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from torch import nn
from torch.optim import Optimizer

from protocols.core.wording import plural
from secure_hfl.checkpoints.local_state import (
    Keeper,
    LocalState,
    capture_generators,
    restore_generators,
)
from secure_hfl.checkpoints.plain_attributes import PlainAttributes
from secure_hfl.checkpoints.snapshot import Snapshot, UserSnapshot
from secure_hfl.errors import CheckpointRefused

Batch = TypeVar("Batch")


class UserState:
    """What the user's code holds.

    Args:
        scheduler: the user's, as the process made it.
    """

    def __init__(self, scheduler: Keeper) -> None:
        self._scheduler = scheduler
        self._plain = PlainAttributes(scheduler)
        self._local: LocalState | None = None
        self._round_start: UserSnapshot | None = None

    def hold(self, models: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> None:
        """From now on, these too, by name."""
        self._local = LocalState(models, optimizers, self._scheduler)

    def capture(self) -> UserSnapshot:
        """Everything as it is now."""
        local = None if self._local is None else self._local.capture()
        return UserSnapshot(capture_generators(self._scheduler), self._plain.capture(), local)

    def begin_round(self, with_models: bool = False) -> None:
        """The user's iterator is about to be started.

        Args:
            with_models: keep the models as well: the first batch is drawn before the set-up is over, and the checkpoint
                of the set-up is of before.
        """
        local = self._local.capture() if with_models and self._local is not None else None
        self._round_start = UserSnapshot(capture_generators(self._scheduler), self._plain.capture(), local)

    @property
    def round_start(self) -> UserSnapshot:
        """What `begin_round` kept."""
        if self._round_start is None:
            raise CheckpointRefused("no round has begun")
        return self._round_start

    def restore_generators(self, kept: UserSnapshot) -> None:
        """Those that are not the scheduler's own."""
        restore_generators(kept.generators)

    def restore(self, kept: UserSnapshot) -> None:
        """Put everything back. Raises `CheckpointRefused` if it does not fit."""
        if self._local is None or kept.local is None:
            raise CheckpointRefused("there is no checkpoint of training to go on from")
        self._local.restore(kept.local)
        self._plain.restore(kept.plain)
        restore_generators(kept.generators, self._scheduler)

    def replay(self, snapshot: Snapshot, start: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
        """The user's iterator of the round under way, behind the batches that were done; and all else as it was.

        Args:
            snapshot: of a place inside a round.
            start: starts the iterator.

        Raises:
            CheckpointRefused: it has fewer batches than before, or what was kept does not fit the models.
        """
        before = snapshot.at_set_up().round_start
        self._plain.restore(before.plain)
        restore_generators(before.generators, self._scheduler)
        self.begin_round()
        iterator, end = start(), object()
        for done in range(snapshot.batches):
            if next(iterator, end) is end:
                raise CheckpointRefused(
                    f"iterate_train_feature yields {plural(done, 'batch')} now, and yielded {snapshot.batches:,} before"
                )
        self.restore(snapshot.user)
        return iterator
