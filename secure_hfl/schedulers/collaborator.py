"""The Collaborator: holds features, no labels."""

from __future__ import annotations

from typing import Any

from protocols.task.terms import RunLimits
from secure_hfl.engine.collaborator import collaborator_run
from secure_hfl.engine.run import Run
from secure_hfl.errors import ConfigurationError
from secure_hfl.log import ensure_visible
from secure_hfl.one_line_errors import one_line_errors
from secure_hfl.prediction.collaborator import prediction_server
from secure_hfl.schedulers.base import PLACEHOLDER, HeteroNNScheduler


class HeteroNNCollaboratorScheduler(HeteroNNScheduler):
    """Subclass, implement, and call `launch_task`. Its iterators yield features only.

    Args:
        run_limits: what this party allows at most over the whole run: `RunLimits(width, rounds, projection_lr, rows,
            ids, least_others, predictions, asked_a_day)`, for example `RunLimits(width=10, rounds=5)`; 0 allows
            anything. `least_others` is no maximum: projections reach the Host only in a sum with those of so many other
            collaborators (its `fusion="sum"`). What the task was joined with counts too, whichever is stricter. A host
            that asks for more is refused before any id moves, and held to it during the run. It alone knows its
            learning rate: that one is its word.
        others: see `HeteroNNScheduler`.
    """

    def __init__(self, feature_key: str, *others: Any, run_limits: RunLimits | None = None, **named: Any) -> None:
        super().__init__(feature_key, *others, **named)
        self.run_limits = run_limits

    def validate_context(self) -> None:
        """Check what a run needs. Override to add checks, and call `super().validate_context()` first."""
        super().validate_context()
        if self.run_limits is not None and not isinstance(self.run_limits, RunLimits):
            raise ConfigurationError(f"run_limits must be RunLimits(...) or None, not {self.run_limits!r}")

    def serve_predictions(self, task_id: str = PLACEHOLDER, sessions: int | None = None) -> None:
        """Serve the Host of a finished task when it predicts, session after session, until SIGTERM, Ctrl-C or
        `stop_serving`.

        Args:
            task_id: as for `launch_task`; the placeholder stands for the only finished task here.
            sessions: how many; None: any number.
        """
        ensure_visible()
        with one_line_errors():
            server = self._server = prediction_server(self, task_id)
            server.serve(sessions)

    def _make_run(self, reference: str) -> Run:
        return collaborator_run(self, reference)
