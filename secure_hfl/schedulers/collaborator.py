"""The Collaborator: holds features, no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secure_hfl.schedulers.base import HeteroNNScheduler

if TYPE_CHECKING:
    from secure_hfl.engine.collaborator import CollaboratorRun


class HeteroNNCollaboratorScheduler(HeteroNNScheduler):
    """Subclass, implement, and call `launch_task`. Its iterators yield features only.

    See `HeteroNNScheduler` for the arguments.
    """

    def _make_run(self, reference: str) -> CollaboratorRun:
        from secure_hfl.engine.collaborator import CollaboratorRun

        return CollaboratorRun(self, reference)
