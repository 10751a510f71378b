"""Scheme "rounded": a quarter of plain's traffic, and as little hidden."""

from __future__ import annotations

from protocols.core.message import Message
from protocols.layer.interface import CollaboratorLayer, HostLayer, LayerSpec
from protocols.schemes.interface import Scheme
from protocols.schemes.registry import register_scheme
from protocols.task.scheme_order import SchemeOrder
from rounded.collaborator import RoundedCollaborator
from rounded.host import RoundedHost
from rounded.messages import RoundedFeatures, RoundedGradient
from rounded.order import rounded_order


@register_scheme("rounded")
class Rounded(Scheme):
    """Features and gradients to 8 bits, in the clear, without a projection layer."""

    needs_projection = False
    is_plaintext = True

    def host(self, spec: LayerSpec) -> HostLayer:
        return RoundedHost(spec)

    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        return RoundedCollaborator(spec)

    def messages(self) -> tuple[type[Message], ...]:
        return (RoundedFeatures, RoundedGradient)

    def order(self, trainable: bool) -> SchemeOrder:
        return rounded_order(trainable)
