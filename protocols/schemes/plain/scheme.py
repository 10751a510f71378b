"""Scheme "plain": nothing is hidden. The baseline."""

from __future__ import annotations

from protocols.core.message import Message
from protocols.layer.interface import CollaboratorLayer, HostLayer, LayerSpec
from protocols.schemes.interface import Scheme
from protocols.schemes.plain.collaborator import PlainCollaborator
from protocols.schemes.plain.host import PlainHost
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient
from protocols.schemes.plain.order import plain_order
from protocols.task.scheme_order import SchemeOrder


class Plain(Scheme):
    """Features and gradients in the clear, with or without the projection layer."""

    needs_projection = False
    is_plaintext = True

    def host(self, spec: LayerSpec) -> HostLayer:
        return PlainHost(spec)

    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        return PlainCollaborator(spec)

    def order(self, trainable: bool) -> SchemeOrder:
        return plain_order(trainable)

    def messages(self) -> tuple[type[Message], ...]:
        return (PlainFeatures, PlainGradient)
