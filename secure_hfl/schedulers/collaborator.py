"""The Collaborator: holds features, no labels."""

from __future__ import annotations

from secure_hfl.engine.collaborator import collaborator_run
from secure_hfl.engine.run import Run
from secure_hfl.schedulers.base import HeteroNNScheduler


class HeteroNNCollaboratorScheduler(HeteroNNScheduler):
    """Subclass, implement, and call `launch_task`. Its iterators yield features only.

    See `HeteroNNScheduler` for the arguments.
    """

    def _make_run(self, reference: str) -> Run:
        return collaborator_run(self, reference)
