"""The header every message travels under, the phases of a task, and places in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from protocols.core.errors import InvalidInput
from protocols.core.message import Message

MAX_SEQUENCE = (1 << 63) - 1
MAX_ROUND = (1 << 31) - 1


class Phase(IntEnum):
    """Where in a task a message belongs. Values are wire constants.

    OFFLINE is a lane of its own: preparation (one-time masks) that goes on beside all other phases.
    """

    JOIN = 1
    PSI = 2
    ALIGN = 3
    SETUP = 4
    TRAIN = 5
    TEST = 6
    FINISH = 7
    OFFLINE = 8


PHASE_TEXT: Mapping[Phase, str] = {
    Phase.JOIN: "joining",
    Phase.PSI: "private set intersection",
    Phase.ALIGN: "comparing the split",
    Phase.SETUP: "setting up the models",
    Phase.TRAIN: "training",
    Phase.TEST: "testing",
    Phase.FINISH: "finishing",
    Phase.OFFLINE: "preparing masks",
}
"""What a user reads."""


@dataclass(frozen=True)
class Place:
    """Where in the task a message belongs. Rounds count from 1 (0 before training, in a prediction), batches from 0."""

    phase: Phase
    round: int = 0
    batch: int = 0

    def __str__(self) -> str:
        if self.phase is Phase.TEST and not self.round:
            return f"predicting, batch {self.batch + 1}"
        if self.phase in (Phase.TRAIN, Phase.TEST):
            return f"{PHASE_TEXT[self.phase]} round {self.round}, batch {self.batch + 1}"
        return PHASE_TEXT[self.phase]


@dataclass(frozen=True)
class Envelope:
    """One message with its place: sequence from 0 per direction, round from 1 (0 before training), batch from 0."""

    sequence: int
    phase: Phase
    round: int
    batch: int
    message: Message

    def __post_init__(self) -> None:
        for name, high in (("sequence", MAX_SEQUENCE), ("round", MAX_ROUND), ("batch", MAX_ROUND)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= high:
                raise InvalidInput(f"an envelope's {name} must be an integer from 0 to {high}")
        if not isinstance(self.phase, Phase):
            raise InvalidInput("an envelope's phase must be a Phase")
