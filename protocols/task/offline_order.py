"""The order of the offline lane, which goes on beside all phases once the host is set up."""

from __future__ import annotations

from enum import Enum

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.task.direction import Direction
from protocols.task.scheme_order import MessageType, Recorded, SchemeOrder, SchemeRules, State, refuse


class OfflineOrder:
    """Where one conversation's offline lane stands.

    Args:
        scheme: has its tables.
        rules: of the scheme, in this conversation.
        host: what the host sends outside the lane.
    """

    def __init__(self, scheme: SchemeOrder, rules: SchemeRules, host: Direction) -> None:
        self._tables, self._rules = scheme.offline, rules
        self._host, self._set_up = host, scheme.set_up[Sender.HOST]
        self._states: dict[Sender, Enum] = dict.fromkeys(Sender, State.START)

    def step(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        """Take one message of the lane. Raises `MessageOutOfOrder`."""
        to = self._tables[sender].get((self._states[sender], Phase.OFFLINE, message_type))
        is_set_up = self._host.stretch[0] > Phase.SETUP or self._host.state is self._set_up
        if to is None or not is_set_up:
            refuse(sender, message_type, "it may not come in the offline lane here")
        self._rules.check_offline(sender, message_type, recorded)
        self._states[sender] = to
