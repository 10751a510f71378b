"""`launch_task`: run, and end a script with one line and exit code 1 if it fails."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from protocols.errors import SecureHflError
from secure_hfl.log import ensure_visible

if TYPE_CHECKING:
    from secure_hfl.schedulers.base import HeteroNNScheduler


def launch(scheduler: HeteroNNScheduler, reference: str) -> None:
    """Run a scheduler's task to its end. Raises `SecureHflError`; an uncaught one is printed as one line."""
    ensure_visible()
    try:
        run = scheduler._make_run(reference)
        scheduler._run = run
        run.execute()
    except (SecureHflError, KeyboardInterrupt):
        _print_our_errors_on_one_line()
        raise


def _print_our_errors_on_one_line() -> None:
    """From now on, an uncaught error of ours ends the process without a traceback; others are shown as before."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> Any:
        if isinstance(error, SecureHflError):
            print(f"error: {error}", file=sys.stderr)
        elif isinstance(error, KeyboardInterrupt):
            print("error: interrupted", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    if getattr(previous, "_is_secure_hfl", False):
        return
    hook._is_secure_hfl = True  # type: ignore[attr-defined]
    sys.excepthook = hook
