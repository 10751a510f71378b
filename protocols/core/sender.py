"""Which of the two parties of a conversation speaks."""

from __future__ import annotations

from enum import Enum


class Sender(str, Enum):
    """Whose message it is. Values are constants of the transcript's format."""

    HOST = "h"
    COLLABORATOR = "c"

    @property
    def other(self) -> Sender:
        """The peer."""
        return Sender.COLLABORATOR if self is Sender.HOST else Sender.HOST

    @property
    def role(self) -> str:
        """In words."""
        return self.name.lower()
