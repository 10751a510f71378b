"""Which message may follow which where the parties count the ids that both hold, and do nothing else.

    host            START -Manifest-> JOINED -OverlapOpen-> PSI_OPEN -OverlapPoints*-> PSI_POINTS -OverlapSize->
                    INTERSECTED -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED -OverlapOpen-> PSI_OPEN -OverlapPoints*->
                    PSI_POINTS -OverlapDigests*-> INTERSECTED -FinishAcknowledged-> FINISHED

The host's points come when both have said their terms, which must fit; the collaborator's when it has all of them, its
digests behind its points, and the number behind the last digest.
"""

from __future__ import annotations

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.overlap.messages import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize
from protocols.psi.transitions import Stream
from protocols.task.rounds import FinishAcknowledged, TaskFinished
from protocols.task.scheme_order import MessageType, Recorded, Table, moves, refuse
from protocols.task.scheme_order import State as S
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.transcript.messages import Checkpoint

H, C = Sender.HOST, Sender.COLLABORATOR


def overlap_table(sender: Sender, table: Table) -> Table:
    """A direction's table, from that of a task."""
    joining = {edge: to for edge, to in table.items() if edge[1] == Phase.JOIN and edge[2] not in (SumKey, SumKeys)}
    points = (S.PSI_OPEN, S.PSI_POINTS), OverlapPoints, S.PSI_POINTS
    both = (S.JOINED, OverlapOpen, S.PSI_OPEN), points
    if sender is H:
        return {
            **joining,
            **moves(Phase.PSI, *both, (S.PSI_POINTS, OverlapSize, S.INTERSECTED)),
            **moves(Phase.FINISH, (S.INTERSECTED, TaskFinished, S.FINISHED)),
        }
    return {
        **joining,
        **moves(Phase.PSI, *both, ((S.PSI_POINTS, S.INTERSECTED), OverlapDigests, S.INTERSECTED)),
        **moves(Phase.FINISH, (S.INTERSECTED, FinishAcknowledged, S.FINISHED)),
    }


class OverlapStreams:
    """Counts the chunks in both directions, and compares the terms."""

    def __init__(self) -> None:
        self._opened: dict[Sender, Recorded] = {}
        self._streams: dict[tuple[Sender, MessageType], Stream] = {}
        self._has_size = False

    def step(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        """Take a message that the direction's own table allows. Raises `MessageOutOfOrder`."""
        if message_type is OverlapOpen:
            self._open(sender, recorded)
        elif message_type is OverlapSize:
            self._size(recorded[0])
        else:
            self._chunk(sender, message_type, recorded[0])

    def check_over(self, sender: Sender) -> None:
        """Raise `MessageOutOfOrder` unless the number was told, so that the phase may be signed."""
        if not self._has_size:
            refuse(sender, Checkpoint, "the number of common ids was not told")

    def _open(self, sender: Sender, recorded: Recorded) -> None:
        if not all(recorded):
            refuse(sender, OverlapOpen, "a set, a chunk and the terms are of one or more")
        size, chunk, _, _ = recorded
        self._opened[sender] = recorded
        self._streams[sender, OverlapPoints] = Stream(size, chunk)
        if sender is H:
            self._streams[C, OverlapDigests] = Stream(size, chunk)

    def _check_terms(self, sender: Sender, message_type: MessageType) -> None:
        if len(self._opened) < len(Sender):
            refuse(sender, message_type, "it came before both had said their terms")
        sizes, _, least, rounds = zip(*self._opened.values())
        if len(set(rounds)) > 1:
            refuse(sender, message_type, f"the parties round to multiples of {rounds[0]} and of {rounds[1]}")
        if min(sizes) < max(least):
            refuse(sender, message_type, f"a set of {min(sizes)} ids, and at least {max(least)} were asked for")

    def _chunk(self, sender: Sender, message_type: MessageType, index: int) -> None:
        self._check_terms(sender, message_type)
        stream = self._streams[sender, message_type]
        if stream.complete or index != stream.next:
            refuse(sender, message_type, f"chunk {index} came instead of {stream.next} of {stream.count}")
        before = {
            (H, OverlapPoints): None,
            (C, OverlapPoints): (H, OverlapPoints),
            (C, OverlapDigests): (C, OverlapPoints),
        }[sender, message_type]
        if before is not None and not self._streams[before].complete:
            raise MessageOutOfOrder(
                f"{message_type.__name__} of the {sender.role}: the {before[0].role}'s points were not complete"
            )
        stream.next += 1

    def _size(self, size: int) -> None:
        digests = self._streams.get((C, OverlapDigests))
        if digests is None or not digests.complete:
            refuse(H, OverlapSize, "it came before all digests")
        sizes, _, _, (round_to, _) = zip(*self._opened.values())
        if size > min(sizes) or size % round_to:
            refuse(H, OverlapSize, f"{size}, of at most {min(sizes)} and in multiples of {round_to}")
        self._has_size = True
