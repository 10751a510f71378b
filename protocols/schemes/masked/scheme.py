"""Scheme "masked": one-time masks online, triples made between the parties ahead of time."""

from __future__ import annotations

import json
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
    TripleOperand,
    TripleProduct,
    TripleRequest,
)
from protocols.schemes.masked.order import masked_order
from protocols.task.scheme_order import SchemeOrder


class Masked(Scheme):
    """Training at nearly plaintext speed; the work is done before, and beside it."""

    can_sum = True
    has_unbound_shares = True

    def __init__(self, engine: Engine | None = None, parameters: LayerParameters | None = None) -> None:
        super().__init__(engine)
        self._parameters = parameters or LayerParameters()

    @cached_property
    def _backend(self) -> Backend:
        from protocols.he.bfv import BfvBackend
        from protocols.he.parameters import TRIPLES

        return BfvBackend(TRIPLES)

    def arithmetic(self) -> str:
        from protocols.he.engines import description

        return description()

    def parameters(self) -> str:
        from protocols.he.parameters import TRIPLES

        return json.dumps({"triples": TRIPLES.name, "layer": json.loads(self._parameters.canonical())})

    def host(self, spec: LayerSpec) -> HostLayer:
        return MaskedHost(spec, self._backend, self._parameters)

    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        return MaskedCollaborator(spec, self._backend, self._parameters)

    def order(self, trainable: bool) -> SchemeOrder:
        return masked_order(trainable)

    def sizes(self, parameters: str) -> LayerSizes | None:
        return LayerSizes.read(parameters, "triples")

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
        )
