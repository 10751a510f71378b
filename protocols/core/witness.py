"""Who hears a role's secrets, if anybody: what this party keeps to itself, so that it can open a round to a judge.

A role tells its witness what it computes from. By default that is nobody, and nothing is kept anywhere.
"""

from __future__ import annotations

from protocols.core.message import Array


class Witness:
    """Nobody: keeps nothing.

    Attributes:
        is_keeping: whether it is worth the while to tell it anything.
    """

    is_keeping: bool = False

    def note(self, name: str, **values: Array) -> None:
        """Keep these arrays under a name. All of them are secret."""
