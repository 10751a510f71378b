"""Logging under our own name. Importing this changes nothing for anyone else's loggers."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

logger = logging.getLogger("secure_hfl")
"""What user code imports as `from secure_hfl import logger`."""

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


_console: Console | None = None


def terminal() -> Console | None:
    """The terminal behind stderr, if there is one. Log lines and progress bars share it without a clash."""
    global _console
    if _console is None and sys.stderr.isatty():
        _console = Console(stderr=True, emoji=False, markup=False, highlight=False)
    return _console


def ensure_visible() -> None:
    """Called when a task starts: if nobody configured logging, show our INFO lines on stderr.

    Only the "secure_hfl" logger is touched, and only when neither it nor the root logger has a handler.
    """
    if logger.hasHandlers():
        return
    console = terminal()
    if console is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    else:
        handler = RichHandler(console=console, show_path=False, log_time_format="%H:%M:%S", markup=False)
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def open_task_log(path: Path) -> logging.Handler:
    """Append this process's log of one task to a private file. The caller closes it with `close_task_log`."""
    path.touch(mode=0o600, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    return handler


def log_traceback(handler: logging.Handler, error: BaseException) -> None:
    """Keep a traceback in the task's own log and nowhere else, whatever the level of the logger."""
    where = (type(error), error, error.__traceback__)
    handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "The task failed.", (), where))


def close_task_log(handler: logging.Handler) -> None:
    """Detach and close what `open_task_log` made."""
    logger.removeHandler(handler)
    handler.close()
