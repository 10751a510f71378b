"""Rounds and batches come one after the other, in both directions together.

host            RoundStart(first batch)            its messages of batches that are open
collaborator    BatchOpen -> BatchOpen ...         each after the host has ended the batch before; EpochEnd once
"""

from __future__ import annotations

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.task.alignment import BatchOpen, EpochEnd
from protocols.task.answer_order import LastSeen
from protocols.task.history import History
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import RoundStart
from protocols.task.scheme_order import At, MessageType, Recorded, SchemeOrder, refuse
from protocols.task.version_order import VersionOrder

H, C = Sender.HOST, Sender.COLLABORATOR
ROUNDS = (Phase.TRAIN, Phase.TEST)


class Round:
    """One round.

    Args:
        phase: TRAIN or TEST.
        number: of it.
        skipped: batches that were done before this conversation.

    Attributes:
        stretch: phase and number.
        batch: of the collaborator; -1 before the first.
        has_ended: by its EpochEnd.
    """

    def __init__(self, phase: int, number: int, skipped: int) -> None:
        self.stretch, self.skipped = (phase, number), skipped
        self.batch, self.has_ended = skipped - 1, False

    @property
    def at(self) -> int:
        """The batch that messages are of; behind its EpochEnd, the one that does not come."""
        return self.batch + self.has_ended


class RoundOrder:
    """Which round a conversation is in, and which batch of it.

    Args:
        scheme: says how the host ends a batch.
        point: where the task goes on; None: at its beginning.
        seen: the messages before.
        weights: whose version a round begins with.
        history: hears of every round that starts and every batch that is done.

    Attributes:
        trained: rounds of training that have begun, in all conversations.
    """

    def __init__(
        self, scheme: SchemeOrder, point: ResumePoint | None, seen: LastSeen, weights: VersionOrder, history: History
    ) -> None:
        self._scheme, self._seen, self._weights, self._history = scheme, seen, weights, history
        is_set_up = point is not None and point.is_set_up
        self.trained = point.trained_rounds if point is not None and is_set_up else 0
        self._first_batch = point.batch if point is not None and is_set_up else 0
        self._round = Round(0, 0, 0)  # none has started

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """Take a message that its direction's table allows. Raises `MessageOutOfOrder`."""
        phase, number, batch = at
        if phase not in ROUNDS:
            if number or batch:
                refuse(sender, message_type, f"in phase {Phase(phase).name} there is no round or batch")
        elif message_type is RoundStart:
            self._start(at, recorded)
        elif (phase, number) != self._round.stretch:
            refuse(sender, message_type, "the host has not started this round")
        elif message_type is BatchOpen or message_type is EpochEnd:
            self._end_batch(message_type, at, recorded)
        elif batch != self._round.at if sender is C else batch > self._round.at:
            opened = self._round.batch + 1
            refuse(sender, message_type, f"it is of batch {batch + 1}, but {opened} have been opened")

    def _start(self, at: At, recorded: Recorded) -> None:
        phase, number, batch = at
        if number != self.trained + (phase == Phase.TRAIN) or batch:
            raise MessageOutOfOrder(f"RoundStart of round {number} after {self.trained} rounds of training")
        _, first, every = recorded
        if first != self._first_batch:
            raise MessageOutOfOrder(f"RoundStart with first batch {first}; {self._first_batch} had been done before")
        self._round, self._first_batch, self.trained = Round(phase, number, first), 0, number
        if phase == Phase.TRAIN and every:
            self._history.start(number, first, self._weights.known)

    def _end_batch(self, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """The collaborator goes on to the next batch, or to the end of the round."""
        phase, number, batch = at
        now = self._round
        if now.has_ended or batch != now.batch + 1 or (message_type is EpochEnd and recorded != (batch,)):
            refuse(C, message_type, f"it is of batch {batch + 1} after {now.batch + 1} batches")
        if not self._is_done(batch):
            refuse(C, message_type, "the host had not ended the batch before")
        if phase == Phase.TRAIN:
            self._history.done(number, batch)
        if message_type is EpochEnd:
            now.has_ended = True
        else:
            now.batch = batch

    def _is_done(self, batches: int) -> bool:
        """Whether the host has ended so many batches of a training round; test batches have no end."""
        phase, number = self._round.stretch
        if batches == self._round.skipped or phase != Phase.TRAIN or not self._scheme.awaits_step:
            return True
        return (phase, number, batches - 1) in (self._seen.get((H, each)) for each in self._scheme.batch_ends)

    def finish(self, phase: Phase, number: int) -> bool:
        """No more messages come, in this round: note the batches that are done. Whether the round has ended."""
        now = self._round
        if now.stretch != (phase, number):
            return False
        if phase is Phase.TRAIN and self._is_done(now.batch + 1):
            self._history.done(number, now.batch + 1)
        return now.has_ended
