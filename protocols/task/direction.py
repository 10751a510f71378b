"""One direction of a conversation by itself: its tables, and that the head of each phase and round is signed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.task.scheme_order import MessageType, State, Table, refuse
from protocols.transcript.messages import Checkpoint, Countersignature

StretchOfTask = tuple[int, int]
"""Phase and round: what a signed head is of."""


class SignedHead:
    """Whether a direction's sender has signed what it sent, in a `Checkpoint`, and what it received.

    Attributes:
        is_begun: its `Checkpoint` has come, and its `Countersignature` has not.
        signed: the phase and round that it has signed last; None before the first.
    """

    def __init__(self) -> None:
        self.is_begun = False
        self.signed: StretchOfTask | None = None

    def closes(self, stretch: StretchOfTask) -> bool:
        """Whether nothing else may come in this phase or round."""
        return self.is_begun or self.signed == stretch

    def countersign(self, sender: Sender, stretch: StretchOfTask) -> None:
        """Its `Countersignature`. Raises `MessageOutOfOrder` before its `Checkpoint`."""
        if not self.is_begun:
            refuse(sender, Countersignature, "its sender had not sent a Checkpoint")
        self.is_begun, self.signed = False, stretch


class Direction:
    """What one party sends.

    Args:
        sender: that party.
        table: of its messages.
        boundaries: in which states a phase or round may be over.

    Attributes:
        stretch: the phase and round that it is in.
        state: what has passed last.
        head: what is signed of it.
    """

    def __init__(self, sender: Sender, table: Table, boundaries: Mapping[Phase, frozenset[Enum]]) -> None:
        self.sender = sender
        self.stretch: StretchOfTask = (int(Phase.JOIN), 0)
        self.state: Enum = State.START
        self.head = SignedHead()
        self._table, self._boundaries = table, boundaries

    def state_behind(self, message_type: MessageType, stretch: StretchOfTask) -> Enum:
        """The state that a message leads to. Raises `MessageOutOfOrder`."""
        if self.head.is_begun or self.head.signed == stretch:  # closes(), without a call for every message
            refuse(self.sender, message_type, "no message of a phase or round may follow its signed head")
        to = self._table.get((self.state, stretch[0], message_type))
        if to is None:
            where = f"in state {self.state.name} of phase {Phase(stretch[0]).name}"
            refuse(self.sender, message_type, f"{where} it may not come")
        return to

    def check_signed(self) -> None:
        """It goes on to another phase or round. Raises `MessageOutOfOrder` if this one's head is not signed."""
        if self.head.signed != self.stretch:
            phase, number = self.stretch
            name = f"{Phase(phase).name} {number or ''}".strip()
            raise MessageOutOfOrder(f"the {self.sender.role} went on after {name} without a signed head")

    def check_can_be_signed(self, stretch: StretchOfTask) -> None:
        """Its `Checkpoint` has come. Raises `MessageOutOfOrder` unless this phase or round may be over."""
        if self.head.closes(stretch):
            refuse(self.sender, Checkpoint, "there is one for each phase and round")
        if not self.is_at_boundary(Phase(stretch[0])):
            refuse(self.sender, Checkpoint, f"state {self.state.name} is not a boundary")

    def is_at_boundary(self, phase: Phase) -> bool:
        """Whether this phase, or a round of it, may be over."""
        return self.state in self._boundaries.get(phase, ())
