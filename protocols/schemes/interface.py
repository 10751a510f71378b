"""What a scheme is: one way to compute the projection layer, in a folder of its own.

    messages.py              what crosses the wire, declared with `@wire` (protocols/core/wire_format.py)
    order.py                 which message may follow which (protocols/task/scheme_order.py)
    host.py, collaborator.py the two sides of one layer (protocols/layer/interface.py)
    scheme.py                the class that puts them together, registered under its name

A bottom model may be frozen: `host_layer`, `collaborator_layer` and `task_order` are what a task runs with, and make of
a scheme's own sides and order those that send each row of features once (protocols/layer/frozen.py).

A scheme from outside of this project is such a folder too: docs/writing-a-scheme.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Beside, Distant, Mapper, at_once, nowhere
from protocols.core.message import Message
from protocols.he.interface import Backend
from protocols.layer.frozen import FrozenCollaborator, FrozenHost
from protocols.layer.interface import CollaboratorLayer, HostLayer, LayerSpec
from protocols.task.frozen_order import frozen_order
from protocols.task.messages import COMMON_MESSAGES
from protocols.task.scheme_order import SchemeOrder


def _as_it_is(backend: Backend) -> Backend:
    return backend


@dataclass(frozen=True)
class Engine:
    """What whoever runs a scheme lends it, since a scheme itself has no threads and no clock.

    Attributes:
        mapper: where heavy work of a product runs.
        sharing: where the work of a small product is shared; worth it with cores that nobody else wants.
        beside: where work runs whose result is needed later, if it lets other threads run meanwhile.
        deferred: where work waits for who needs its result first; `prepare` asks for it when there is time.
        measured: wraps an encryption backend in one that measures what it does.
        distant: takes large work of products to other machines.
    """

    mapper: Mapper = map
    sharing: Mapper = map
    beside: Beside = at_once
    deferred: Beside = at_once
    measured: Callable[[Backend], Backend] = _as_it_is
    distant: Distant = nowhere


class Scheme(ABC):
    """One way to compute the projection layer, with its parameters.

    Args:
        engine: what whoever runs it lends it; default: nothing.

    Attributes:
        name: what users write; set by `register_scheme`.
        needs_projection: whether a projection layer is part of the scheme (every encrypted one) or optional (plain).
        is_plaintext: whether features cross the wire in the clear.
        can_sum: whether the host can get the sum of all collaborators' projections, and none by itself: its sides have
            `forward_padded` and `decode_sum`, and add `LayerSpec.pads`.
        has_unbound_shares: whether nothing tests that a party computes with its own share of the weights, so that all
            that is said of the scheme is for parties that follow the protocol.
        carried: messages of which the last one is in force until the next, over the ends of rounds, as a judge asks
            for them (protocols/judge/); empty if rounds of this scheme cannot be judged.
    """

    name: ClassVar[str]
    needs_projection: ClassVar[bool] = True
    is_plaintext: ClassVar[bool] = False
    can_sum: ClassVar[bool] = False
    has_unbound_shares: ClassVar[bool] = False
    carried: ClassVar[tuple[type[Message], ...]] = ()

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = Engine() if engine is None else engine

    def parameters(self) -> str:
        """What both sides must agree on beyond the name, as canonical text for the manifest."""
        return ""

    def accepted_parameters(self) -> tuple[str, ...]:
        """What a collaborator here runs with, as the host's manifest may say it: `parameters`, and maybe others."""
        return (self.parameters(),)

    def adopt(self, parameters: str) -> None:
        """Run with what the manifest says from here on: one of `accepted_parameters`."""
        if parameters not in self.accepted_parameters():
            raise InvalidInput(f"scheme {self.name} does not run with these parameters")

    def encryption(self, parameters: str) -> str:
        """Which encryption such parameters say, for people; empty: there is nothing to say.

        Raises:
            InvalidInput: the parameters are unknown or out of range.
        """
        return ""

    def caution(self) -> str:
        """What is wrong with the parameters in force at this party, for its log; empty: nothing."""
        return ""

    def arithmetic(self) -> str:
        """Which implementation computes its encryption here, for people; empty: there is one only."""
        return ""

    def let_go(self) -> None:  # noqa: B027 - most schemes keep nothing
        """A task is over: keep nothing that it was computed with, but what was agreed on. It may be used again."""

    @abstractmethod
    def host(self, spec: LayerSpec) -> HostLayer:
        """The host's side of one collaborator's layer."""

    @abstractmethod
    def collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        """The collaborator's side of its layer."""

    @abstractmethod
    def messages(self) -> tuple[type[Message], ...]:
        """The types of message this scheme sends, beside those that all tasks have."""

    def sizes(self, parameters: str) -> Any:
        """What the bounds functions of its messages go by (`TaskSizes.scheme`), from the parameters in a manifest.

        Raises:
            InvalidInput: the parameters are unknown or out of range.
        """
        return None

    def all_messages(self) -> tuple[type[Message], ...]:
        """Everything that may travel in a task of this scheme."""
        return (*COMMON_MESSAGES, *self.messages())

    @abstractmethod
    def order(self, trainable: bool) -> SchemeOrder:
        """Which of them may follow which, for a bottom model that is trained, or frozen."""

    # What a task runs with -------------------------------------------------------------------------------------------

    def host_layer(self, spec: LayerSpec) -> HostLayer:
        """The host's side, which shows each row of a frozen bottom model once. Raises as `check_sum`."""
        self.check_sum(spec)
        return self.host(spec) if spec.trainable else FrozenHost(spec, self.host(spec))

    def collaborator_layer(self, spec: LayerSpec) -> CollaboratorLayer:
        """The collaborator's side, which sends each row of a frozen bottom model once. Raises as `check_sum`."""
        self.check_sum(spec)
        _check_pads(spec)
        return self.collaborator(spec) if spec.trainable else FrozenCollaborator(spec, self.collaborator(spec))

    def check_sum(self, spec: LayerSpec, is_prediction: bool = False) -> None:
        """Raise `InvalidInput` if the layer is to be a summand, and is none here."""
        if spec.summands > 1 and not (self.can_sum and (spec.trainable or is_prediction)):
            raise InvalidInput(
                f'fusion: scheme {self.name!r} has no sum of projections for such a layer; fusion="sum" is for trained '
                "bottom models in schemes bfv, paillier and masked"
            )

    def task_order(self, trainable: bool) -> SchemeOrder:
        """The order of these."""
        return self.order(True) if trainable else frozen_order(self.order(False))

    # What a prediction runs with: its sides see test batches only, as of a frozen bottom model, and resume -----------

    def prediction_host(self, spec: LayerSpec) -> HostLayer:
        """The host's side. Each row crosses whenever it is asked for; the same row by the same weights is answered
        with the same noise. Raises as `check_sum`."""
        self.check_sum(spec, is_prediction=True)
        return self.host(replace(spec, trainable=False))

    def prediction_collaborator(self, spec: LayerSpec) -> CollaboratorLayer:
        """The collaborator's side. Raises as `check_sum`."""
        self.check_sum(spec, is_prediction=True)
        _check_pads(spec)
        return self.collaborator(replace(spec, trainable=False))

    def prediction_order(self, trainable: bool = False) -> SchemeOrder:
        """The order of these; no bottom model is trained."""
        del trainable
        return self.order(False)


def _check_pads(spec: LayerSpec) -> None:
    if spec.summands > 1 and spec.pads is None:
        raise InvalidInput("a summand needs pads: nothing else keeps it from the host")
