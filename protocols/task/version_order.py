"""Messages about the weights are about the version that they have: the host's steps move them from one to the next."""

from __future__ import annotations

from protocols.core.sender import Sender
from protocols.task.history import Versions
from protocols.task.scheme_order import At, MessageType, SchemeOrder, refuse


class VersionOrder:
    """The version of the weights in one conversation.

    Args:
        scheme: says which messages are steps.
        versions: between which the weights' version is; None: the conversation says its first one itself.
    """

    def __init__(self, scheme: SchemeOrder, versions: Versions | None) -> None:
        self._steps, self._behind_step = scheme.steps, scheme.behind_step
        self._versions = versions
        self._stepped: At | None = None

    @property
    def known(self) -> int | None:
        """The version, if it is known."""
        return self._versions[0] if self._versions is not None and self._versions[0] == self._versions[1] else None

    def check(self, sender: Sender, message_type: MessageType, at: At, version: int) -> None:
        """Take a message about this version. Raises `MessageOutOfOrder`."""
        low, high = self._versions or (version, version)
        is_step = message_type in self._steps
        # A step in several pieces moves the weights with its first.
        is_behind = message_type in self._behind_step or (is_step and self._stepped == at)
        if not low - is_behind <= version <= high - is_behind:
            problem = f"it is about version {version} of the weights, which are at version {high}"
            refuse(sender, message_type, problem)
        if is_step:
            self._stepped = at
        if not is_behind:
            self._versions = (version + is_step,) * 2
