"""What `launch_task` and `DataChecker` ask first: is this code inside a `mock_context`, where there is no task?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Mock(Protocol):
    """Stands for the tasks, the peers and the home directory of this party."""

    def launch(self, scheduler: Any, reference: str) -> None:
        """In place of `launch_task(reference)` of a scheduler."""

    def data_checked(self, name: str, passed: bool, message: str) -> None:
        """In place of keeping the verdict of a `DataChecker` of this name with its task."""


_active: ContextVar[Mock | None] = ContextVar("mock", default=None)


def active_mock() -> Mock | None:
    """The innermost one, or None outside of all."""
    return _active.get()


@contextmanager
def within(mock: Mock) -> Iterator[None]:
    """The block runs inside this mock."""
    token = _active.set(mock)
    try:
        yield
    finally:
        _active.reset(token)
