"""`launch_task`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secure_hfl.log import ensure_visible
from secure_hfl.one_line_errors import one_line_errors

if TYPE_CHECKING:
    from secure_hfl.schedulers.base import HeteroNNScheduler


def launch(scheduler: HeteroNNScheduler, reference: str) -> None:
    """Run a scheduler's task to its end. Raises `SecureHflError`; an uncaught one is printed as one line."""
    ensure_visible()
    with one_line_errors():
        run = scheduler._make_run(reference)
        scheduler._run = run
        run.execute()
