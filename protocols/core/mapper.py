"""The seams for heavy work: pure code hands functions to a mapper, or begins one, and does not know where they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Mapper(Protocol):
    """The builtin `map`, or anything that gives the same results in the same order."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]: ...


class Beside(Protocol):
    """Begins work whose result is needed later. What it returns may be called again and again: it waits for the result,
    or raises what the work has raised."""

    def __call__(self, work: Callable[[], Result], /) -> Callable[[], Result]: ...


def at_once(work: Callable[[], Result], /) -> Callable[[], Result]:
    """Nothing runs beside: the work is done now, and what it raises is raised now."""
    result = work()
    return lambda: result


@dataclass(frozen=True)
class Work:
    """How much there is to do, for whoever decides where.

    Args:
        seconds: of one core, about.
        size: bytes that it takes there and back.
        is_threaded: whether it is done by all cores here, if it stays.
    """

    seconds: float
    size: int
    is_threaded: bool = False


class Distant(Protocol):
    """Takes work to other processes and machines."""

    def __call__(self, work: Work, /) -> Mapper | None:
        """A mapper for it, whose functions and items are pickled; None: it is done sooner here."""


def nowhere(work: Work, /) -> Mapper | None:
    """A `Distant` that takes nothing."""
    del work
    return None
