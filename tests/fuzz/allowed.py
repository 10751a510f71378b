"""Which errors are not bugs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Outcome:
    """How a parser answered: `error` if it refused."""

    error: Exception | None = None


@contextmanager
def refused(*kinds: type[Exception]) -> Iterator[Outcome]:
    """Lets errors of these kinds pass, if their text can be logged and shown: a peer must not write to a terminal."""
    outcome = Outcome()
    try:
        yield outcome
    except kinds as error:
        outcome.error = error
    assert str(outcome.error).isprintable(), f"an error's text is not printable: {str(outcome.error)!r}"
