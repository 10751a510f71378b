"""The order of a task, held to while it runs: what an auditor would refuse is neither sent nor taken.

    live = LiveOrder(Sender.HOST, scheme.task_order)
    live.sent(place, message)          before it goes out
    live.received(place, message)      before any role sees it

The order follows from the manifest. The one message before it, Hello, waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

from protocols.core.envelope import Phase, Place
from protocols.core.errors import CallOutOfOrder, MessageOutOfOrder
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.wire_format import recorded_of
from protocols.task.abort import Abort
from protocols.task.manifest import Hello, Manifest
from protocols.task.order import TaskOrder, purpose_of
from protocols.task.scheme_order import SchemeOrder


class LiveOrder:
    """One conversation, as one party sees it. Called by one thread at a time.

    Args:
        own: which party this is.
        order_of: the scheme's part of the order, for a bottom model that is trained, or frozen; in a prediction,
            `Scheme.prediction_order`.
    """

    def __init__(self, own: Sender, order_of: Callable[[bool], SchemeOrder]) -> None:
        self._own, self._order_of = own, order_of
        self._hello: Hello | None = None
        self._order: TaskOrder | None = None

    def sent(self, place: Place, message: Message) -> None:
        """Raises `CallOutOfOrder` if this party may not send this now."""
        try:
            self._step(self._own, place, message)
        except MessageOutOfOrder as error:
            raise CallOutOfOrder(str(error)) from error

    def received(self, place: Place, message: Message) -> None:
        """Raises `MessageOutOfOrder` if the peer may not send this now."""
        self._step(self._own.other, place, message)

    def _step(self, sender: Sender, place: Place, message: Message) -> None:
        if isinstance(message, Abort):
            return
        if self._order is None:
            if isinstance(message, Hello) and self._hello is None and sender is Sender.COLLABORATOR:
                self._hello = message
                return
            self._order = self._begin(message)
        at = (int(place.phase), place.round, place.batch)
        self._order.step(sender, type(message), at, recorded_of(message))

    def _begin(self, manifest: Message) -> TaskOrder:
        hello = self._hello
        if hello is None or not isinstance(manifest, Manifest):
            raise MessageOutOfOrder(f"{type(manifest).__name__} came before Hello and Manifest")
        if hello.feature_key not in manifest.feature_keys:
            raise MessageOutOfOrder("a Manifest that does not list the collaborator")
        trainable = manifest.trainable[manifest.feature_keys.index(hello.feature_key)]
        terms = manifest.pair_terms(hello.feature_key)
        purpose = purpose_of(manifest.is_prediction, manifest.is_online, manifest.is_overlap)
        order = TaskOrder(self._order_of(trainable), manifest.resume_point, None, terms, purpose)
        order.step(Sender.COLLABORATOR, Hello, (int(Phase.JOIN), 0, 0), recorded_of(hello))
        return order
