"""Scheme "plain": nothing is hidden. The baseline."""

from __future__ import annotations

from protocols.core.message import Message
from protocols.layer.interface import CollaboratorProjection, HostProjection, ProjectionSpec
from protocols.schemes.plain.roles import PlainCollaborator, PlainFeatures, PlainGradient, PlainHost
from secure_hfl.schemes import Scheme, register_scheme


@register_scheme("plain")
class Plain(Scheme):
    """Features and gradients in the clear, with or without the projection layer."""

    needs_projection = False
    is_plaintext = True
    host_learns = "every feature of every collaborator, IN THE CLEAR"
    collaborator_learns = "the gradient of its features for every batch, IN THE CLEAR, which tells about labels"

    def host(self, spec: ProjectionSpec) -> HostProjection:
        return PlainHost(spec)

    def collaborator(self, spec: ProjectionSpec) -> CollaboratorProjection:
        return PlainCollaborator(spec)

    def messages(self) -> tuple[type[Message], ...]:
        return (PlainFeatures, PlainGradient)
