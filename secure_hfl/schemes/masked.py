"""Scheme "masked": one-time masks online, triples made between the parties ahead of time."""

from __future__ import annotations

import json
from functools import cached_property

from protocols.core.message import Message
from protocols.he.interface import Backend
from protocols.layer.interface import CollaboratorProjection, HostProjection, ProjectionSpec
from protocols.layer.parameters import ProjectionParameters
from protocols.schemes.encrypted.messages import InitialFactor, InitialShare, ProjectionKey
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
    TripleOperand,
    TripleProduct,
    TripleRequest,
)
from protocols.schemes.masked.roles import MaskedCollaborator, MaskedHost
from secure_hfl.schemes import Scheme, register_scheme


@register_scheme("masked")
class Masked(Scheme):
    """Training at nearly plaintext speed; the work is done before, and beside it."""

    host_learns = (
        "the smoothed projection z of each batch: a linear image of the features under weights that nobody knows, "
        "which shows about their norms and inner products"
    )
    collaborator_learns = "the smoothed gradient of its features, if its bottom model is trained; else nothing"

    def __init__(self, parameters: ProjectionParameters | None = None) -> None:
        self._parameters = parameters or ProjectionParameters()

    @cached_property
    def _backend(self) -> Backend:
        from protocols.he.bfv import BfvBackend
        from protocols.he.parameters import TRIPLES

        return BfvBackend(TRIPLES)

    def parameters(self) -> str:
        from protocols.he.parameters import TRIPLES

        return json.dumps({"triples": TRIPLES.name, "layer": json.loads(self._parameters.canonical())})

    def host(self, spec: ProjectionSpec) -> HostProjection:
        return MaskedHost(spec, self._backend, self._parameters)

    def collaborator(self, spec: ProjectionSpec) -> CollaboratorProjection:
        return MaskedCollaborator(spec, self._backend, self._parameters)

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
        )
