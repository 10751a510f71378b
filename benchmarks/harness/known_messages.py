"""Every message type of this project, all at once."""

from __future__ import annotations

from functools import cache

from protocols.schemes.registry import known_messages
from protocols.wire.codec import Catalogue

MESSAGE_TYPES = known_messages()


@cache
def known_catalogue() -> Catalogue:
    """All of them in one conversation."""
    return Catalogue(MESSAGE_TYPES)
