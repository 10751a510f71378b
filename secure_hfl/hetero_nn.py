"""The tutorial's import path for the two schedulers."""

from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.schedulers.host import HeteroNNHostScheduler

__all__ = ["HeteroNNCollaboratorScheduler", "HeteroNNHostScheduler"]
