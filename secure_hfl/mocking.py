"""What `launch_task` and `DataChecker` ask first: is this code inside a `mock_context`, where there is no task?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import process
from typing import Any, Protocol


class Mock(Protocol):
    """Stands for the tasks, the peers and the home directory of this party."""

    def launch(self, scheduler: Any, reference: str) -> None:
        """In place of `launch_task(reference)` of a scheduler."""

    def data_checked(self, name: str, passed: bool, message: str) -> None:
        """In place of keeping the verdict of a `DataChecker` of this name with its task."""


class _LaunchedElsewhere:
    """In a worker process, which runs the user's script again: whoever started the process has launched the task."""

    def launch(self, scheduler: Any, reference: str) -> None:
        """Nothing."""

    def data_checked(self, name: str, passed: bool, message: str) -> None:
        """Nothing."""


_active: ContextVar[Mock | None] = ContextVar("mock", default=None)


def active_mock() -> Mock | None:
    """The innermost one, or None outside of all."""
    return _LaunchedElsewhere() if script_runs_again() else _active.get()


def script_runs_again() -> bool:
    """Whether `multiprocessing` is running the user's script in a process that it has just started, to get its classes.

    It does so under the start methods spawn and forkserver, for the workers of a `DataLoader` for example. A script
    without `if __name__ == "__main__"`, like the tutorial's, launches its task there once more.
    """
    # What multiprocessing itself goes by when it refuses to start processes at that moment; there is no public name.
    return bool(getattr(process.current_process(), "_inheriting", False))


@contextmanager
def within(mock: Mock) -> Iterator[None]:
    """The block runs inside this mock."""
    token = _active.set(mock)
    try:
        yield
    finally:
        _active.reset(token)
