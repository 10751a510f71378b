"""Scheme "masked": one-time masks online, triples made between the parties ahead of time."""

from __future__ import annotations

import json

from protocols.core.message import Message
from protocols.he.interface import Backend
from protocols.layer.interface import CollaboratorLayer, HostLayer, LayerSpec
from protocols.layer.messages import (
    EqualityConfirmation,
    EqualityProof,
    InitialFactor,
    InitialShare,
    ProjectionKey,
)
from protocols.layer.parameters import LayerParameters
from protocols.layer.sizes import LayerSizes
from protocols.schemes.interface import Engine, Scheme
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedCheckReply,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.order import masked_order
from protocols.schemes.masked.shapes import MaskedShapes
from protocols.schemes.masked.triple_messages import TripleOperand, TripleProduct, TripleRequest
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import (
    FormQuery,
    MarkQuery,
    RelationQuery,
    RelationReply,
    SameShareQuery,
    ShareMark,
)
from protocols.task.scheme_order import SchemeOrder

ENCRYPTION = "triples"
"""Names the parameter set in a manifest's text."""

TEST_SHARES_EVERY = 64
"""Openings: a test takes as long as a batch, four times as rare as under encryption it takes some 4 % of an epoch."""


class Masked(Scheme):
    """Training at nearly plaintext speed; the work is done before, and beside it."""

    can_sum = True

    def __init__(self, engine: Engine | None = None, parameters: LayerParameters | None = None) -> None:
        super().__init__(engine)
        self._parameters = parameters or LayerParameters(test_shares_every=TEST_SHARES_EVERY)
        self._adopted = ""
        self._backends: dict[str, Backend] = {}

    @property
    def _backend(self) -> Backend:
        """What makes triples, one for all layers of a task."""
        from protocols.he.bfv import BfvBackend
        from protocols.he.parameters import PARAMETER_SETS

        name = self.parameter_set
        if name not in self._backends:
            self._backends[name] = BfvBackend(PARAMETER_SETS[name], distant=self.engine.distant)
        return self._backends[name]

    @property
    def parameter_set(self) -> str:
        """The name of the one in force: adopted from a manifest, or what a host here asks for."""
        from protocols.he.engines import triples_set

        return self._adopted or triples_set().name

    def arithmetic(self) -> str:
        from protocols.he.engines import description

        return description()

    def parameters(self) -> str:
        return self._text(self.parameter_set)

    def accepted_parameters(self) -> tuple[str, ...]:
        from protocols.he.parameters import TRIPLES, UNPACKED_TRIPLES

        names = (self.parameter_set, TRIPLES.name, UNPACKED_TRIPLES.name)
        return tuple(self._text(name) for name in dict.fromkeys(names))

    def adopt(self, parameters: str) -> None:
        super().adopt(parameters)
        self._adopted = str(json.loads(parameters)[ENCRYPTION])

    def _text(self, parameter_set: str) -> str:
        return json.dumps({ENCRYPTION: parameter_set, "layer": json.loads(self._parameters.canonical())})

    def let_go(self) -> None:
        self._backends.clear()

    def host(self, spec: LayerSpec) -> HostLayer:
        return MaskedHost(spec, self._backend, self._parameters)

    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        return MaskedCollaborator(spec, self._backend, self._parameters)

    def order(self, trainable: bool) -> SchemeOrder:
        return masked_order(trainable)

    def sizes(self, parameters: str) -> LayerSizes | None:
        return LayerSizes.read(parameters, ENCRYPTION, MaskedShapes)

    def messages(self) -> tuple[type[Message], ...]:
        return (
            ProjectionKey,
            InitialFactor,
            InitialShare,
            TripleRequest,
            TripleOperand,
            TripleProduct,
            MaskedShare,
            MaskedFeatures,
            MaskedGradientFeatures,
            MaskedGradient,
            MaskedStep,
            MaskedCheck,
            MaskedCheckReply,
            EqualityProof,
            EqualityConfirmation,
            HostShare,
            CollaboratorShare,
            RelationQuery,
            RelationReply,
            SameShareQuery,
            ShareMark,
            MarkQuery,
            FormQuery,
        )
