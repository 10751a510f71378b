"""What a scheme adds to the order that all tasks have: which of its messages may follow which.

    order = SchemeOrder(                                  in protocols/schemes/<scheme>/order.py
        set_up={H: State.READY, C: State.READY},          the states behind the set-up
        host_over=(State.TRAINING,),                      the host's states in which a training round may be over
        settled=(..., ), tested=(..., ),                  the collaborator's after a training and after a test batch
        host={**moves(Phase.SETUP, ...), **moves(Phase.TRAIN, ...)},
        collaborator={...},
        answers={(H, Reply): (Query,)},                   what holds across the two directions
    )

`protocols.task.order` puts it between the common states. The same tables hold back a party's own messages, refuse a
peer's, check a recorded transcript, and are what the tests try every message against.

A scheme's own states are members of an enumeration of its own, an `OrderState`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NoReturn

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.message import Message
from protocols.core.sender import Sender

MessageType = type[Message]
Recorded = tuple[int, ...]
"""The counts and sizes that a transcript repeats of a message, in the order in which its type names them."""

At = tuple[int, int, int]
"""Phase, round, batch."""


class OrderState(Enum):
    """What has passed last in one direction."""

    __hash__ = object.__hash__  # a member is the only one of its kind; Enum's own is a call for every message


class State(OrderState):
    """Common to all schemes."""

    START = auto()
    INTRODUCED = auto()
    JOINED = auto()
    PSI_OPEN = auto()
    PSI_POINTS = auto()
    PSI_BUCKETED = auto()  # the host, its buckets proposed
    PSI_BUCKET_OPEN = auto()
    PSI_BUCKET_POINTS = auto()
    INTERSECTED = auto()
    ALIGNED = auto()
    SHAPED = auto()
    RESTORED = auto()  # the conversation goes on from a checkpoint behind the set-up
    READY = auto()
    TRAINING = auto()  # the host, between batches or before its part of one
    TESTING = auto()
    OPENED = auto()  # the collaborator, its batch announced
    REFERRED = auto()  # the collaborator, frozen: which rows of the batch are new
    ENDED = auto()  # the collaborator, its round over
    FINISHED = auto()


Moves = dict[tuple[Enum, int, MessageType], Enum]
Table = Mapping[tuple[Enum, int, MessageType], Enum]


def moves(phase: Phase, *steps: tuple[Iterable[Enum] | Enum, MessageType, Enum]) -> Moves:
    """A table of one phase: (from this state, or any of these; this message; to that state)."""
    return {
        (state, phase, message_type): to
        for come_from, message_type, to in steps
        for state in ([come_from] if isinstance(come_from, Enum) else come_from)
    }


class SchemeRules:
    """What a scheme counts beyond its tables, in one conversation: here nothing; a scheme may have a subclass."""

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """A message of the rounds that the tables allow. Raises `MessageOutOfOrder`."""

    def check_offline(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        """A message of the offline lane that its table allows. Raises `MessageOutOfOrder`."""

    def check_finished(self) -> None:
        """The host says that the task is finished. Raises `MessageOutOfOrder` if something is owed."""


_READY = {Sender.HOST: State.READY, Sender.COLLABORATOR: State.READY}
_RESTORED = {Sender.HOST: State.RESTORED, Sender.COLLABORATOR: State.RESTORED}
_NO_LANE: Mapping[Sender, Table] = {Sender.HOST: {}, Sender.COLLABORATOR: {}}


@dataclass(frozen=True)
class SchemeOrder:
    """One scheme's part of the order.

    Attributes:
        host_over: the host's states in which a training round may be over.
        settled, tested: the collaborator's states after a training batch and after a test batch.
        host, collaborator: their moves in SETUP (from ALIGNED and SHAPED on, or from RESTORED), TRAIN and TEST.
        set_up: each side's state behind the set-up.
        restored: each side's state before the set-up of a conversation that goes on from a checkpoint behind it.
        awaits_step: whether the host ends each training batch with one of `batch_ends`.
        batch_ends: messages with which it does.
        answers: a message that answers one of these, which the peer must have sent at the same place or later.
        once_a_batch: what the tables alone would let come again.
        steps: with these the host moves the weights to their next version (messages that record a `version`).
        behind_step: about the version that the batch's step has just left.
        keeps_weights: they stay at version 0, also in a conversation that goes on from a checkpoint.
        offline: the tables of the offline lane, which begin in START.
        rules: makes what counts beyond the tables.
    """

    host_over: tuple[Enum, ...]
    settled: tuple[Enum, ...]
    tested: tuple[Enum, ...]
    host: Table
    collaborator: Table
    set_up: Mapping[Sender, Enum] = field(default_factory=lambda: _READY)
    restored: Mapping[Sender, Enum] = field(default_factory=lambda: _RESTORED)
    awaits_step: bool = True
    batch_ends: tuple[MessageType, ...] = ()
    answers: Mapping[tuple[Sender, MessageType], tuple[MessageType, ...]] = field(default_factory=dict)
    once_a_batch: frozenset[MessageType] = frozenset()
    steps: tuple[MessageType, ...] = ()
    behind_step: tuple[MessageType, ...] = ()
    keeps_weights: bool = False
    offline: Mapping[Sender, Table] = field(default_factory=lambda: _NO_LANE)
    rules: Callable[[], SchemeRules] = SchemeRules


def refuse(sender: Sender, message_type: MessageType, why: str) -> NoReturn:
    """Raise the error of a message that may not come here."""
    raise MessageOutOfOrder(f"{message_type.__name__} of the {sender.role}: {why}")
