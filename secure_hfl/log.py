"""Logging under our own name. Importing this changes nothing for anyone else's loggers.

One process may run several tasks, each in a thread of its own, through one logger. What a thread logs goes to the log
of the task that runs in it; helper threads say which task they work for with `of_this_task`. What belongs to no task
goes to the log of a task that has never had another beside it, or to none.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from rich.console import Console
from rich.logging import RichHandler

logger = logging.getLogger("secure_hfl")
"""What user code imports as `from secure_hfl import logger`."""

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_console: Console | None = None


def terminal() -> Console | None:
    """The terminal behind stderr, if there is one. Log lines and progress bars share it without a clash."""
    global _console
    if _console is None and sys.stderr.isatty():
        _console = Console(stderr=True, emoji=False, markup=False, highlight=False)
    return _console


class TaskLog(logging.FileHandler):
    """The log of one task: takes what the task's threads say."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.task = path.parent.name
        self.is_alone = True

    def filter(self, record: logging.LogRecord) -> bool:
        """Called in the thread that logs."""
        task = _current.get()
        return (task is self or (task is None and self.is_alone)) and bool(super().filter(record))


_current: ContextVar[TaskLog | None] = ContextVar("secure_hfl_task_log", default=None)
_open: set[TaskLog] = set()
_guard = threading.Lock()


def of_this_task(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For a function that another thread will call: what it logs belongs to the task of this thread."""
    task = _current.get()

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        token = _current.set(task)
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    return call


def _name_task(record: logging.LogRecord) -> bool:
    """On the terminal, where tasks meet, a line says whose it is."""
    task = _current.get()
    record.secure_hfl_task = f"[{task.task[:8]}] " if task is not None and not task.is_alone else ""
    return True


def ensure_visible() -> None:
    """Called when a task starts: if nobody configured logging, show our INFO lines on stderr.

    Only the "secure_hfl" logger is touched, and only when neither it nor the root logger has a handler.
    """
    with _guard:
        if logger.hasHandlers():
            return
        logger.addHandler(_terminal_handler())
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


def _terminal_handler() -> logging.Handler:
    console = terminal()
    if console is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(secure_hfl_task)s%(message)s", "%H:%M:%S"))
    else:
        handler = RichHandler(console=console, show_path=False, log_time_format="%H:%M:%S", markup=False)
        handler.setFormatter(logging.Formatter("%(secure_hfl_task)s%(message)s"))
    handler.addFilter(_name_task)
    return handler


def open_task_log(path: Path) -> TaskLog:
    """Append what this thread, and those that work for it, log from now on to a private file.

    The same thread closes it with `close_task_log`.
    """
    path.touch(mode=0o600, exist_ok=True)
    handler = TaskLog(path)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.setLevel(logging.DEBUG)
    with _guard:
        _open.add(handler)
        if len(_open) > 1:
            for each in _open:
                each.is_alone = False  # and it stays so: a thread of the other task may outlive it
    _current.set(handler)
    logger.addHandler(handler)
    return handler


def log_traceback(handler: TaskLog, error: BaseException) -> None:
    """Keep a traceback in the task's own log and nowhere else, whatever the level of the logger."""
    where = (type(error), error, error.__traceback__)
    handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "The task failed.", (), where))


def close_task_log(handler: TaskLog) -> None:
    """Detach and close what `open_task_log` made."""
    if _current.get() is handler:
        _current.set(None)
    with _guard:
        _open.discard(handler)
    logger.removeHandler(handler)
    handler.close()
