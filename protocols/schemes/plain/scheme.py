"""Scheme "plain": nothing is hidden. The baseline."""

from __future__ import annotations

from protocols.core.message import Message
from protocols.layer.interface import CollaboratorProjection, HostProjection, ProjectionSpec
from protocols.schemes.interface import Scheme
from protocols.schemes.plain.order import plain_order
from protocols.schemes.plain.roles import PlainCollaborator, PlainFeatures, PlainGradient, PlainHost
from protocols.task.scheme_order import SchemeOrder


class Plain(Scheme):
    """Features and gradients in the clear, with or without the projection layer."""

    needs_projection = False
    is_plaintext = True

    def host(self, spec: ProjectionSpec) -> HostProjection:
        return PlainHost(spec)

    def collaborator(self, spec: ProjectionSpec) -> CollaboratorProjection:
        return PlainCollaborator(spec)

    def order(self, trainable: bool) -> SchemeOrder:
        return plain_order(trainable)

    def messages(self) -> tuple[type[Message], ...]:
        return (PlainFeatures, PlainGradient)
