"""What holds across the two directions of a PSI run: digests answer points, the result comes after the last of them.

The tables of each direction by itself: protocols/psi/transitions.py.
"""

from __future__ import annotations

from protocols.core.errors import MessageOutOfOrder
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.transitions import Stream

H, C = Sender.HOST, Sender.COLLABORATOR


class PsiStreams:
    """Counts the chunks of one run in both directions."""

    def __init__(self) -> None:
        self._streams: dict[tuple[Sender, type[Message]], Stream] = {}

    def step(self, sender: Sender, message_type: type[Message], recorded: tuple[int, ...]) -> None:
        """Take a message that the direction's own table allows.

        Args:
            sender: whose it is.
            message_type: one of the four.
            recorded: its set size and chunk, or its index.

        Raises:
            MessageOutOfOrder: it may not come here.
        """
        if message_type is PsiOpen:
            self._open(sender, recorded)
        elif message_type is PsiResult:
            digests = self._streams.get((C, PsiDigests))
            if digests is None or not digests.complete or not self._streams[H, PsiPoints].complete:
                raise MessageOutOfOrder(f"PsiResult of the {sender.role}: it came before all points and digests")
        else:
            self._chunk(sender, message_type, recorded[0])

    def _open(self, sender: Sender, recorded: tuple[int, ...]) -> None:
        if not all(recorded):
            raise MessageOutOfOrder(f"PsiOpen of the {sender.role}: a set and a chunk have at least one id")
        self._streams[sender, PsiPoints] = Stream(*recorded)
        if sender is H:
            self._streams[C, PsiDigests] = Stream(*recorded)

    def _chunk(self, sender: Sender, message_type: type[Message], index: int) -> None:
        stream = self._streams[sender, message_type]
        name = f"{message_type.__name__} of the {sender.role}"
        if stream.complete or index != stream.next:
            raise MessageOutOfOrder(f"{name}: chunk {index} came instead of {stream.next} of {stream.count}")
        if message_type is PsiDigests:
            own, answered = self._streams[C, PsiPoints], self._streams[H, PsiPoints]
            if not own.complete or answered.next <= stream.next:
                raise MessageOutOfOrder(f"{name}: it answers points that had not come")
        stream.next += 1
