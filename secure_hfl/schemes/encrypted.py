"""Schemes "bfv" and "paillier": the projection layer under additively homomorphic encryption."""

from __future__ import annotations

import json
from abc import abstractmethod
from functools import cached_property

from protocols.core.message import Message
from protocols.he.interface import Backend
from protocols.layer.interface import CollaboratorProjection, HostProjection, ProjectionSpec
from protocols.layer.parameters import ProjectionParameters
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    InitialFactor,
    InitialShare,
    Projection,
    ProjectionKey,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.encrypted.roles import EncryptedCollaborator, EncryptedHost
from secure_hfl.executor import thread_map
from secure_hfl.schemes import Scheme, register_scheme
from secure_hfl.schemes.timed import TimedBackend


class EncryptedScheme(Scheme):
    """What both have in common; a subclass names its encryption."""

    host_learns = (
        "the smoothed projection z of each batch: a linear image of the features under weights that nobody knows, "
        "which shows about their norms and inner products"
    )
    collaborator_learns = "the smoothed gradient of its features, if its bottom model is trained; else nothing"

    def __init__(self, parameters: ProjectionParameters | None = None) -> None:
        self._parameters = parameters or ProjectionParameters()

    @cached_property
    @abstractmethod
    def backend(self) -> Backend:
        """The encryption scheme with its parameter set."""

    @property
    @abstractmethod
    def parameter_set(self) -> str:
        """Its name."""

    def parameters(self) -> str:
        return json.dumps({"encryption": self.parameter_set, "layer": json.loads(self._parameters.canonical())})

    def host(self, spec: ProjectionSpec) -> HostProjection:
        return EncryptedHost(spec, TimedBackend(self.backend), self._parameters)

    def collaborator(self, spec: ProjectionSpec) -> CollaboratorProjection:
        return EncryptedCollaborator(spec, TimedBackend(self.backend), self._parameters)

    def messages(self) -> tuple[type[Message], ...]:
        return (
            ProjectionKey,
            InitialFactor,
            InitialShare,
            HostShare,
            CollaboratorShare,
            Projection,
            StepGradient,
            FeatureGradient,
            WeightGradient,
            CheckQuery,
            CheckReply,
        )


@register_scheme("bfv")
class Bfv(EncryptedScheme):
    """SEAL's BFV: the default. Fast on any machine; about 2 MB a batch."""

    @cached_property
    def backend(self) -> Backend:
        from protocols.he.bfv import BfvBackend

        return BfvBackend()

    @property
    def parameter_set(self) -> str:
        from protocols.he.parameters import TRAINING

        return TRAINING.name


@register_scheme("paillier")
class Paillier(EncryptedScheme):
    """Packed Paillier with 3072-bit keys: a sixth of the bytes, several times the work. Needs the extra `paillier`."""

    @cached_property
    def backend(self) -> Backend:
        from protocols.he.paillier import PaillierBackend

        return PaillierBackend(mapper=thread_map)

    @property
    def parameter_set(self) -> str:
        from protocols.he.paillier_parameters import PAILLIER_3072

        return PAILLIER_3072.name
