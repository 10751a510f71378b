"""What holds across the two directions of PSI: digests answer points, the result comes after the last of them.

The tables of each direction by itself: protocols/psi/transitions.py. In buckets: protocols/psi/bucket_order.py.
"""

from __future__ import annotations

from protocols.core.errors import MessageOutOfOrder
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.psi.bucket_messages import PsiBuckets, PsiBucketsTaken
from protocols.psi.bucket_order import BucketOrder
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.transitions import Stream

H, C = Sender.HOST, Sender.COLLABORATOR


class PsiStreams:
    """Counts the chunks of a run in both directions; of one bucket after the other, where there are buckets."""

    def __init__(self) -> None:
        self._streams: dict[tuple[Sender, type[Message]], Stream] = {}
        self._buckets: BucketOrder | None = None
        self._has_result = False

    def step(self, sender: Sender, message_type: type[Message], recorded: tuple[int, ...]) -> None:
        """Take a message that the direction's own table allows.

        Args:
            sender: whose it is.
            message_type: one of PSI's.
            recorded: its recorded fields.

        Raises:
            MessageOutOfOrder: it may not come here.
        """
        if message_type is PsiOpen:
            self._open(sender, recorded)
        elif message_type is PsiBuckets:
            self._propose(recorded)
        elif message_type is PsiBucketsTaken:
            if self._buckets is None:
                raise MessageOutOfOrder("PsiBucketsTaken of the collaborator: it answers no PsiBuckets")
            self._buckets.take(recorded)
        elif message_type is PsiResult:
            self._result(sender)
        else:
            self._chunk(sender, message_type, recorded[0])

    def check_over(self, sender: Sender) -> None:
        """Raise `MessageOutOfOrder` unless all results have come, so that the phase may be signed."""
        if not (self._has_result if self._buckets is None else self._buckets.is_over):
            raise MessageOutOfOrder(f"Checkpoint of the {sender.role}: the intersection was not told to its end")

    def _open(self, sender: Sender, recorded: tuple[int, ...]) -> None:
        if not all(recorded):
            raise MessageOutOfOrder(f"PsiOpen of the {sender.role}: a set and a chunk have at least one id")
        if self._buckets is not None:
            if not self._is_free(sender):
                raise MessageOutOfOrder(f"PsiOpen of the {sender.role}: the bucket before is not over")
            self._buckets.open(sender, recorded[0])
        self._streams[sender, PsiPoints] = Stream(*recorded)
        if sender is H:
            self._streams[C, PsiDigests] = Stream(*recorded)

    def _is_free(self, sender: Sender) -> bool:
        """Whether a party may open the next bucket: what it sends of the last one is sent, and all is answered."""
        buckets, digests = self._buckets, self._streams.get((C, PsiDigests))
        is_first = buckets is None or not buckets.has_opened(sender)
        return is_first or (buckets is not None and buckets.is_behind(sender)) or bool(digests and digests.complete)

    def _propose(self, recorded: tuple[int, ...]) -> None:
        if {(H, PsiPoints), (C, PsiPoints)} - set(self._streams):
            raise MessageOutOfOrder("PsiBuckets of the host: it came before both sizes were known")
        if any(stream.next for stream in self._streams.values()):
            raise MessageOutOfOrder("PsiBuckets of the host: a run over all ids has begun")
        self._buckets = self._buckets or BucketOrder()
        self._buckets.propose(recorded)

    def _result(self, sender: Sender) -> None:
        digests = self._streams.get((C, PsiDigests))
        if self._buckets is not None:
            if self._buckets.has_opened(H) and not (digests and digests.complete):
                raise MessageOutOfOrder(f"PsiResult of the {sender.role}: it came before all points and digests")
            self._buckets.result()
            return
        is_due = digests is not None and digests.complete and self._streams[H, PsiPoints].complete
        if not is_due or self._has_result:
            raise MessageOutOfOrder(f"PsiResult of the {sender.role}: it came before all points and digests")
        self._has_result = True

    def _chunk(self, sender: Sender, message_type: type[Message], index: int) -> None:
        stream = self._streams[sender, message_type]
        name = f"{message_type.__name__} of the {sender.role}"
        if self._buckets is not None:
            self._buckets.check_chunk(sender, name)
        if stream.complete or index != stream.next:
            raise MessageOutOfOrder(f"{name}: chunk {index} came instead of {stream.next} of {stream.count}")
        if message_type is PsiDigests:
            own, answered = self._streams[C, PsiPoints], self._streams[H, PsiPoints]
            if not own.complete or answered.next <= stream.next:
                raise MessageOutOfOrder(f"{name}: it answers points that had not come")
        stream.next += 1
