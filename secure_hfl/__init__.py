"""secure-hfl: train one PyTorch network over columns of the same samples that different organisations hold.

    from secure_hfl import DataChecker, HeteroNNCollaboratorScheduler, HeteroNNHostScheduler, logger

Names are loaded on first use, so that `import secure_hfl` costs nothing and changes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from secure_hfl.version import __version__

if TYPE_CHECKING:
    from protocols.task.terms import RunLimits
    from secure_hfl.data_checker import DataChecker
    from secure_hfl.engine.supervisor import launch_tasks
    from secure_hfl.limits import OperatorLimits
    from secure_hfl.log import logger
    from secure_hfl.optimizer import SecureOptimizer
    from secure_hfl.privacy.defence import GaussianNoise, MarvellNoise, MaxNormNoise
    from secure_hfl.privacy.randomized_response import RandomizedResponse
    from secure_hfl.schedulers.alphamed import SecureHeteroNNCollaboratorScheduler, SecureHeteroNNHostScheduler
    from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
    from secure_hfl.schedulers.host import HeteroNNHostScheduler, HeteroNNLabelHostScheduler
    from secure_hfl.schedulers.mock_context import mock_context
    from secure_hfl.schemes import Scheme, register_scheme

_HOMES = {
    "DataChecker": "secure_hfl.data_checker",
    "GaussianNoise": "secure_hfl.privacy.defence",
    "HeteroNNCollaboratorScheduler": "secure_hfl.schedulers.collaborator",
    "HeteroNNHostScheduler": "secure_hfl.schedulers.host",
    "HeteroNNLabelHostScheduler": "secure_hfl.schedulers.host",
    "RunLimits": "protocols.task.terms",
    "MarvellNoise": "secure_hfl.privacy.defence",
    "MaxNormNoise": "secure_hfl.privacy.defence",
    "OperatorLimits": "secure_hfl.limits",
    "RandomizedResponse": "secure_hfl.privacy.randomized_response",
    "Scheme": "secure_hfl.schemes",
    "SecureHeteroNNCollaboratorScheduler": "secure_hfl.schedulers.alphamed",
    "SecureHeteroNNHostScheduler": "secure_hfl.schedulers.alphamed",
    "SecureOptimizer": "secure_hfl.optimizer",
    "launch_tasks": "secure_hfl.engine.supervisor",
    "logger": "secure_hfl.log",
    "mock_context": "secure_hfl.schedulers.mock_context",
    "register_scheme": "secure_hfl.schemes",
}

__all__ = [
    "DataChecker",
    "GaussianNoise",
    "HeteroNNCollaboratorScheduler",
    "HeteroNNHostScheduler",
    "HeteroNNLabelHostScheduler",
    "MarvellNoise",
    "MaxNormNoise",
    "OperatorLimits",
    "RandomizedResponse",
    "RunLimits",
    "Scheme",
    "SecureHeteroNNCollaboratorScheduler",
    "SecureHeteroNNHostScheduler",
    "SecureOptimizer",
    "__version__",
    "launch_tasks",
    "logger",
    "mock_context",
    "register_scheme",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
