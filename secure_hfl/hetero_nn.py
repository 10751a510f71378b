"""The tutorial's import path for the schedulers."""

from secure_hfl.schedulers.alphamed import SecureHeteroNNCollaboratorScheduler, SecureHeteroNNHostScheduler
from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.schedulers.host import HeteroNNHostScheduler

__all__ = [
    "HeteroNNCollaboratorScheduler",
    "HeteroNNHostScheduler",
    "SecureHeteroNNCollaboratorScheduler",
    "SecureHeteroNNHostScheduler",
]
