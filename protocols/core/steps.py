"""How a role speaks without doing I/O: as a generator that yields what to send and what it waits for.

    def forward(self, features):                 # reads in the order of the protocol's diagram
        yield Send(Features(features))
        reply = yield Receive(Gradient)
        return reply.gradient

Whoever drives the generator (the engine's session, or the pump in the tests) sends each `Send`, and answers each
`Receive` with a message of one of the named types; anything else from the peer is `MessageOutOfOrder`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from protocols.core.message import Message

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """The role wants this message sent."""

    message: Message


@dataclass(frozen=True)
class Receive:
    """The role waits for one message of one of these types."""

    types: tuple[type[Message], ...]

    def __init__(self, *types: type[Message]) -> None:
        object.__setattr__(self, "types", types)

    @property
    def names(self) -> str:
        """The awaited types as text."""
        return " or ".join(kind.__name__ for kind in self.types)


Steps = Generator[Send | Receive, Message, T]
"""A conversation that ends with a T. After `yield Send` the value sent in is ignored."""


def received(message: Message, kind: type[T]) -> T:
    """Narrow what a `Receive` of one type yielded (the driver has checked it; this tells the type checker)."""
    if not isinstance(message, kind):
        raise TypeError(f"the driver answered with {type(message).__name__}, not {kind.__name__}")
    return message
