"""What a message's length is judged by: the agreement, and what messages before it have announced.

A message type may declare a bounds function (`protocols.core.wire_format.wire`): the fewest and most bytes that its
body can have in this task. An auditor calls it with what the message's entry in a transcript says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from protocols.core.distance import Distance
from protocols.core.sender import Sender

Recorded: TypeAlias = tuple[int, ...]
"""The values of a message's recorded fields, in the order of their names."""

Range: TypeAlias = tuple[int, int]
"""The fewest and the most bytes."""


class Agreement(Protocol):
    """What the parties agreed on, as far as lengths go. `AgreedTerms` (protocols/transcript/) says what each is."""

    @property
    def protocol_version(self) -> int: ...
    @property
    def task_id(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def scheme_parameters(self) -> str: ...
    @property
    def id_normalisation(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def collaborators(self) -> tuple[str, ...]: ...
    @property
    def collaborator(self) -> str: ...
    @property
    def is_trainable(self) -> bool: ...
    @property
    def has_projection(self) -> bool: ...
    @property
    def projection_width(self) -> int: ...
    @property
    def is_reproducible(self) -> bool: ...
    @property
    def resumed_from(self) -> str: ...
    @property
    def resumed_at(self) -> tuple[int, ...]: ...
    @property
    def host_seam(self) -> str: ...
    @property
    def collaborator_seam(self) -> str: ...
    @property
    def width_limit(self) -> int: ...
    @property
    def round_limit(self) -> int: ...
    @property
    def rate_limit(self) -> float: ...
    @property
    def row_limit(self) -> int: ...
    @property
    def id_limit(self) -> int: ...
    @property
    def least_others(self) -> int: ...
    @property
    def is_summed(self) -> bool: ...
    @property
    def trained(self) -> str: ...
    @property
    def prediction_limit(self) -> int: ...
    @property
    def asked_limit(self) -> int: ...
    @property
    def is_online(self) -> bool: ...
    @property
    def is_overlap(self) -> bool: ...


class TaskSizes:
    """The sizes of one task.

    Args:
        agreed: what the parties agreed on.
        scheme: what the task's scheme makes of its parameters (`Scheme.sizes`), for its own messages' bounds.

    Attributes:
        worked_out: what bounds keep of their work from one message to the next, each under a key of its own. Emptied
            when something is announced that differs from the last time, and that a bound has asked for.
    """

    def __init__(self, agreed: Agreement, scheme: Any = None) -> None:
        self.agreed, self.scheme = agreed, scheme
        self.worked_out: dict[object, Any] = {}
        self._announced: tuple[dict[type, Recorded], dict[type, Recorded]] = ({}, {})
        self._asked_for: set[type] = set()

    def note(self, sender: Sender, message_type: type, recorded: Recorded) -> None:
        """Keep what a message announces."""
        announced = self._announced[sender is Sender.HOST]
        if message_type in self._asked_for and announced.get(message_type) != recorded:
            self.worked_out.clear()
        announced[message_type] = recorded

    def announced(self, message_type: type, sender: Sender) -> Recorded | None:
        """What the last message of this type and sender announced; None before the first."""
        self._asked_for.add(message_type)
        return self._announced[sender is Sender.HOST].get(message_type)


Bounds: TypeAlias = Callable[[TaskSizes, Sender, Recorded], Range | None]
"""(task, sender, recorded fields) -> range of the body's length; None: it cannot be told.

Raises `InvalidInput` if what the message says of itself is impossible in this task.
"""


Measure: TypeAlias = Callable[[TaskSizes, Sender, Recorded], Distance | None]
"""(task, sender, recorded fields) -> what such a message shows its receiver of the sender's secrets; None: unknown."""


def exactly(size: Callable[[Recorded], int]) -> Bounds:
    """Bounds of a message whose length follows from its recorded fields."""

    def bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
        length = size(recorded)
        return length, length

    return bounds


def between(low: int, high: int) -> Bounds:
    """The same bounds in every task."""
    return lambda task, sender, recorded: (low, high)
