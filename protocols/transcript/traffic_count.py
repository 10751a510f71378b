"""How much crossed the wire, counted while transcripts are read."""

from __future__ import annotations

from collections.abc import Iterable

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.task.abort import Abort
from protocols.task.manifest import Hello
from protocols.transcript.format import Entry
from protocols.transcript.report import Traffic


class TrafficCount:
    """The messages of one transcript.

    Attributes:
        sums: [messages, bytes] by (sender, type, phase, round).
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[Sender, str, int, int], list[int]] = {}

    def add(self, entry: Entry) -> None:
        """One message."""
        sums = self.sums.setdefault((entry.sender, entry.type, entry.phase, entry.round), [0, 0])
        sums[0] += 1
        sums[1] += entry.length

    def bytes_of(self, sender: Sender) -> int:
        """All that one party sent."""
        return sum(size for key, (_, size) in self.sums.items() if key[0] is sender)

    @property
    def messages(self) -> int:
        """All messages."""
        return sum(messages for messages, _ in self.sums.values())

    @property
    def has_abort(self) -> bool:
        """Whether a party stopped the task."""
        return any(message_type == Abort.__name__ for _, message_type, _, _ in self.sums)

    @property
    def is_behind_joining(self) -> bool:
        """Whether anything followed the joining."""
        return any(phase != Phase.JOIN for _, _, phase, _ in self.sums)

    def is_joining_only(self, writer: Sender | None) -> bool:
        """Whether there is nothing but joining, and of the other party nothing behind its Hello."""
        first = (Hello.__name__, Abort.__name__)
        return all(
            phase == Phase.JOIN and (sender is writer or message_type in first)
            for sender, message_type, phase, _ in self.sums
        )


def traffic_of(counts: Iterable[TrafficCount]) -> tuple[Traffic, ...]:
    """Of all conversations together."""
    total: dict[tuple[Sender, str, int, int], list[int]] = {}
    for count in counts:
        for key, (messages, size) in count.sums.items():
            sums = total.setdefault(key, [0, 0])
            sums[0] += messages
            sums[1] += size
    return tuple(
        Traffic(sender.role, message_type, Phase(phase).name.lower(), number, *sums)
        for (sender, message_type, phase, number), sums in total.items()
    )
