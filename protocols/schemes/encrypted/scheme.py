"""Schemes "bfv" and "paillier": one protocol, two encryption schemes."""

from __future__ import annotations

import json
from abc import abstractmethod

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Beside, at_once
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
    FeatureGradient,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.encrypted.order import encrypted_order
from protocols.schemes.interface import Engine, Scheme
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import (
    FormQuery,
    MarkQuery,
    RelationQuery,
    RelationReply,
    ShareMark,
    ShareQuery,
)
from protocols.task.scheme_order import SchemeOrder

ENCRYPTION = "encryption"
"""Names the parameter set in a manifest's text."""


class EncryptedScheme(Scheme):
    """What both have in common; a subclass names its encryption."""

    carried = (HostShare, CollaboratorShare)
    can_sum = True

    def __init__(self, engine: Engine | None = None, parameters: LayerParameters | None = None) -> None:
        super().__init__(engine)
        self._parameters = parameters or LayerParameters()
        self._adopted = ""
        self._backends: dict[str, Backend] = {}

    @abstractmethod
    def backend(self) -> Backend:
        """The encryption scheme with its parameter set. Imported here: its library takes a while, or is an extra."""

    @property
    @abstractmethod
    def parameter_set(self) -> str:
        """The name of the one in force: adopted from a manifest, or what a host here asks for."""

    @property
    def parameter_sets(self) -> tuple[str, ...]:
        """The names of all that a collaborator here accepts."""
        return (self.parameter_set,)

    def parameters(self) -> str:
        return self._text(self.parameter_set)

    def accepted_parameters(self) -> tuple[str, ...]:
        return tuple(self._text(name) for name in dict.fromkeys((self.parameter_set, *self.parameter_sets)))

    def adopt(self, parameters: str) -> None:
        super().adopt(parameters)
        self.adopt_set(parameters)

    def adopt_set(self, parameters: str) -> None:
        """Take the encryption from these, whatever bounds they have. Raises `InvalidInput` if there is none such."""
        name = str(json.loads(parameters).get(ENCRYPTION))
        if name not in (self.parameter_set, *self.parameter_sets):
            raise InvalidInput(f"scheme {self.name} does not run with {name}")
        self._adopted = name

    def _text(self, parameter_set: str) -> str:
        return json.dumps({ENCRYPTION: parameter_set, "layer": json.loads(self._parameters.canonical())})

    def let_go(self) -> None:
        self._backends.clear()

    def host(self, spec: LayerSpec) -> HostLayer:
        return EncryptedHost(spec, self.engine.measured(self._shared), self._parameters, self.engine.deferred)

    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        return EncryptedCollaborator(spec, self.engine.measured(self._shared), self._parameters, self._beside)

    def encryption(self, parameters: str) -> str:
        if self.sizes(parameters) is None:  # reads all of them, or says what is wrong
            return ""
        return str(json.loads(parameters)[ENCRYPTION])

    def order(self, trainable: bool) -> SchemeOrder:
        return encrypted_order(trainable)

    @property
    def _beside(self) -> Beside:
        return self.engine.beside if self._shared.releases_lock else at_once

    @property
    def _shared(self) -> Backend:
        """One for all layers of a task."""
        if self.parameter_set not in self._backends:
            self._backends[self.parameter_set] = self.backend()
        return self._backends[self.parameter_set]

    def sizes(self, parameters: str) -> LayerSizes | None:
        return LayerSizes.read(parameters, ENCRYPTION)

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
            ShareMark,
            MarkQuery,
            FormQuery,
        )


class Bfv(EncryptedScheme):
    """BFV, by a kernel in C or by SEAL: the default. Fast on any machine; about 2 MB a batch."""

    def arithmetic(self) -> str:
        from protocols.he.engines import description

        return description()

    def backend(self) -> Backend:
        from protocols.he.bfv import BfvBackend
        from protocols.he.parameters import PARAMETER_SETS

        engine = self.engine
        parameters = PARAMETER_SETS[self.parameter_set]
        return BfvBackend(parameters, mapper=engine.mapper, distant=engine.distant, sharing=engine.sharing)

    @property
    def parameter_set(self) -> str:
        from protocols.he.engines import training_set

        return self._adopted or training_set().name

    @property
    def parameter_sets(self) -> tuple[str, ...]:
        from protocols.he.parameters import SMALL, TRAINING, UNPACKED

        return TRAINING.name, SMALL.name, UNPACKED.name

    def encryption(self, parameters: str) -> str:
        from protocols.he.parameters import PARAMETER_SETS

        name = super().encryption(parameters)
        if name not in PARAMETER_SETS:  # one that is retired
            return name
        packing = PARAMETER_SETS[name].packing
        return f"{name}, {'a reply for each sum' if packing == 1 else f'up to {packing} sums in a reply'}"

    def caution(self) -> str:
        from protocols.he.engines import SEAL, chosen
        from protocols.he.parameters import SMALL, TRAINING

        if chosen() != SEAL or self.parameter_set not in (TRAINING.name, SMALL.name):
            return ""
        return (
            f"The host chose {self.encryption(self.parameters())}; with SEAL, which computes here, products then take "
            "more than twice as long. A C compiler and a fresh installation help: docs/native-kernel.md"
        )


class Paillier(EncryptedScheme):
    """Packed Paillier with 3072-bit keys: a sixth of the bytes, several times the work. Needs the extra `paillier`."""

    def backend(self) -> Backend:
        from protocols.he.paillier import PaillierBackend

        return PaillierBackend(mapper=self.engine.mapper, distant=self.engine.distant)

    @property
    def parameter_set(self) -> str:
        from protocols.he.paillier_parameters import PAILLIER_3072

        return PAILLIER_3072.name
