"""An error of ours that nobody catches ends a script with one line and exit code 1, not with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from protocols.core.errors import SecureHflError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Around what a user's script calls. Changes `sys.excepthook` once that has failed, and for our errors only."""
    try:
        yield
    except (SecureHflError, KeyboardInterrupt):
        _install_hook()
        raise


def _install_hook() -> None:
    previous = sys.excepthook
    if getattr(previous, "_is_secure_hfl", False):
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> Any:
        if isinstance(error, SecureHflError):
            print(f"error: {error}", file=sys.stderr)
        elif isinstance(error, KeyboardInterrupt):
            print("error: interrupted", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    hook._is_secure_hfl = True  # type: ignore[attr-defined]
    sys.excepthook = hook
