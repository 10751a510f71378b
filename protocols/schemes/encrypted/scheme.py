"""Schemes "bfv" and "paillier": one protocol, two encryption schemes."""

from __future__ import annotations

import json
from abc import abstractmethod
from functools import cached_property

from protocols.core.message import Message
from protocols.he.interface import Backend
from protocols.layer.interface import CollaboratorLayer, HostLayer, LayerSpec
from protocols.layer.messages import (
    EqualityConfirmation,
    EqualityProof,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    SecretsCommitment,
)
from protocols.layer.parameters import LayerParameters
from protocols.layer.sizes import LayerSizes
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    RelationQuery,
    RelationReply,
    ShareQuery,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.encrypted.order import encrypted_order
from protocols.schemes.interface import Engine, Scheme
from protocols.task.scheme_order import SchemeOrder


class EncryptedScheme(Scheme):
    """What both have in common; a subclass names its encryption."""

    carried = (HostShare, CollaboratorShare)
    can_sum = True

    def __init__(self, engine: Engine | None = None, parameters: LayerParameters | None = None) -> None:
        super().__init__(engine)
        self._parameters = parameters or LayerParameters()

    @abstractmethod
    def backend(self) -> Backend:
        """The encryption scheme with its parameter set. Imported here: its library takes a while, or is an extra."""

    @property
    @abstractmethod
    def parameter_set(self) -> str:
        """Its name."""

    def parameters(self) -> str:
        return json.dumps({"encryption": self.parameter_set, "layer": json.loads(self._parameters.canonical())})

    def host(self, spec: LayerSpec) -> HostLayer:
        return EncryptedHost(spec, self.engine.measured(self._shared), self._parameters)

    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        return EncryptedCollaborator(spec, self.engine.measured(self._shared), self._parameters)

    def order(self, trainable: bool) -> SchemeOrder:
        return encrypted_order(trainable)

    @cached_property
    def _shared(self) -> Backend:
        """One for all layers of a task."""
        return self.backend()

    def sizes(self, parameters: str) -> LayerSizes | None:
        return LayerSizes.read(parameters, "encryption")

    def messages(self) -> tuple[type[Message], ...]:
        return (
            SecretsCommitment,
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
            EqualityProof,
            EqualityConfirmation,
            ShareQuery,
            RelationQuery,
            RelationReply,
        )


class Bfv(EncryptedScheme):
    """BFV, by a kernel in C or by SEAL: the default. Fast on any machine; about 2 MB a batch."""

    def arithmetic(self) -> str:
        from protocols.he.engines import description

        return description()

    def backend(self) -> Backend:
        from protocols.he.bfv import BfvBackend

        return BfvBackend(mapper=self.engine.mapper)

    @property
    def parameter_set(self) -> str:
        from protocols.he.parameters import TRAINING

        return TRAINING.name


class Paillier(EncryptedScheme):
    """Packed Paillier with 3072-bit keys: a sixth of the bytes, several times the work. Needs the extra `paillier`."""

    def backend(self) -> Backend:
        from protocols.he.paillier import PaillierBackend

        return PaillierBackend(mapper=self.engine.mapper)

    @property
    def parameter_set(self) -> str:
        from protocols.he.paillier_parameters import PAILLIER_3072

        return PAILLIER_3072.name
