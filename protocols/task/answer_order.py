"""An answer comes after what it answers, at the same place or an earlier batch of it."""

from __future__ import annotations

from protocols.core.sender import Sender
from protocols.task.scheme_order import At, MessageType, refuse

Kind = tuple[Sender, MessageType]
"""One type of message, from one of the two."""


class LastSeen(dict[Kind, At]):
    """Where the last message of each kind was."""

    def check_answer(self, sender: Sender, message_type: MessageType, at: At, answered: tuple[Kind, ...]) -> None:
        """Raise `MessageOutOfOrder` unless a message of one of these kinds has come, of this batch or a later one."""
        for kind in answered:
            seen = self.get(kind)
            if seen is not None and seen[:2] == at[:2] and seen[2] >= at[2]:
                return
        names = " or ".join(each.__name__ for _, each in answered)
        refuse(sender, message_type, f"it answers {names}, which had not come")
