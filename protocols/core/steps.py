"""How a role speaks without doing I/O: as a generator that yields what to send and what it waits for.

    def forward(self, features):                 # reads in the order of the protocol's diagram
        yield Send(Features(features))
        reply = yield Receive(Gradient)
        return reply.gradient

Whoever drives the generator (the engine's link, or the pump in the tests) sends each `Send` at the place where the task
is, and answers each `Receive` with a message of one of the named types that is of this place; anything else from the
peer is `MessageOutOfOrder`. A `ReceiveAnywhere` asks for no place, and is answered with the place as well.
A `ReceiveInTest` is for who has work of its own beside the conversation: the peer waits for what comes behind the test.
A `ReceiveMany` is answered with an iterator, so that a role works on what has come while the rest is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from protocols.core.envelope import Place
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


@dataclass(frozen=True)
class ReceiveAnywhere(Receive):
    """The role waits for one message of one of these types, of whatever place: the peer says where the task goes on."""

    def __init__(self, *types: type[Message]) -> None:
        super().__init__(*types)


@dataclass(frozen=True)
class ReceiveInTest(Receive):
    """The role waits for the peer's part of a test, and has more to send once that is passed."""

    def __init__(self, *types: type[Message]) -> None:
        super().__init__(*types)


@dataclass(frozen=True)
class ReceiveMany(Receive):
    """The role waits for so many messages of one type, one after the other; it takes all, or raises."""

    count: int

    def __init__(self, kind: type[Message], count: int) -> None:
        super().__init__(kind)
        object.__setattr__(self, "count", count)


@dataclass(frozen=True)
class Placed:
    """What answers a `ReceiveAnywhere`."""

    place: Place
    message: Message


Answer: TypeAlias = "Message | Placed | Iterator[Message]"
"""What a driver gives back to a `Receive`, `ReceiveAnywhere` and `ReceiveMany`."""

Steps = Generator[Send | Receive, Answer, T]
"""A conversation that ends with a T. After `yield Send` the value sent in is ignored."""

Meanwhile: TypeAlias = Callable[[], object]
"""What a role computes once its question has been sent, while the peer works on the answer. It sends nothing."""


def nothing() -> None:
    """A `Meanwhile` of a role that has nothing to compute."""


def received(answer: Answer, kind: type[T]) -> T:
    """Narrow what a `Receive` of one type yielded (the driver has checked it; this tells the type checker)."""
    if not isinstance(answer, kind):
        raise TypeError(f"the driver answered with {type(answer).__name__}, not {kind.__name__}")
    return answer


def received_many(answer: Answer, kind: type[T]) -> Iterator[T]:
    """Likewise what a `ReceiveMany` yielded."""
    if isinstance(answer, Message | Placed):
        raise TypeError(f"the driver answered with one {type(answer).__name__}, not with several {kind.__name__}")
    return (received(message, kind) for message in answer)
