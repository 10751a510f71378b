"""Where a conversation goes on that begins at a checkpoint: behind its joining, and behind its set-up."""

from __future__ import annotations

from enum import Enum

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.task.direction import Direction
from protocols.task.resumption import ResumePoint
from protocols.task.scheme_order import SchemeOrder, State


def after_join(scheme: SchemeOrder, point: ResumePoint) -> tuple[Phase, dict[Sender, Enum]]:
    """Which phase follows when a conversation goes on from `point`, and the states that it begins in."""
    if not point.is_set_up:
        return Phase.ALIGN, dict.fromkeys(Sender, State.INTERSECTED)
    return Phase.SETUP, dict(scheme.restored)


def after_setup(point: ResumePoint) -> dict[Sender, Enum]:
    """The states behind a round that was over; empty if the next message is as after any set-up."""
    if point.batch or point.phase not in (Phase.TRAIN, Phase.TEST):
        return {}
    host = State.TRAINING if point.phase is Phase.TRAIN else State.TESTING
    return {Sender.HOST: host, Sender.COLLABORATOR: State.ENDED}


def restore(direction: Direction, phase: int, scheme: SchemeOrder, point: ResumePoint) -> None:
    """A direction is about to go on to another phase: from where its checkpoint was made, if it has just got there.

    Raises:
        MessageOutOfOrder: another phase must follow.
    """
    sender, left = direction.sender, direction.stretch[0]
    if left == Phase.JOIN:
        expected, states = after_join(scheme, point)
        if phase != expected:
            problem = f"the {sender.role} went on with {Phase(phase).name}, not with {expected.name}"
            raise MessageOutOfOrder(f"{problem}, in a task that is resumed from {point}")
        direction.state = states[sender]
    elif left == Phase.SETUP:
        direction.state = after_setup(point).get(sender, direction.state)
