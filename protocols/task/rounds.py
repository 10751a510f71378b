"""The host leads rounds; messages that carry no data.

host                                            collaborator
RoundStart (phase TRAIN or TEST, round r) --->  starts its iterator
    ... batches: protocols/task/alignment.py and protocols/layer/ ...
TaskFinished(rounds)                      --->  saves its results
                                          <---  FinishAcknowledged
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.message import Message


@dataclass(frozen=True)
class RoundStart(Message):
    """Start the iterator of the phase and round in the envelope.

    Attributes:
        max_batches: of the round; 0 means all.
        first_batch: how many batches of it were done before an interruption.
        checkpoint_every: all parties make a checkpoint after so many batches of training; 0: not inside the round.
    """

    max_batches: int
    first_batch: int = 0
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        for name in ("max_batches", "first_batch", "checkpoint_every"):
            self.require_int(name, 0, 1 << 31)


@dataclass(frozen=True)
class TaskFinished(Message):
    """Training is over after this many rounds."""

    rounds: int

    def __post_init__(self) -> None:
        self.require_int("rounds", 0, 1 << 31)


@dataclass(frozen=True)
class FinishAcknowledged(Message):
    """The collaborator has saved its results."""

    rounds: int

    def __post_init__(self) -> None:
        self.require_int("rounds", 0, 1 << 31)
