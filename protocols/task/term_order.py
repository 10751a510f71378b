"""A run keeps to its terms: no round or batch beyond the last that was declared, none larger than was allowed.

Counts of ids are not in messages' recorded values, so an auditor cannot see them: the parties themselves compare them
(`RunLimits.check_ids`) before a feature moves.
"""

from __future__ import annotations

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import FeatureShape
from protocols.task.alignment import BatchOpen
from protocols.task.rounds import RoundStart
from protocols.task.scheme_order import At, MessageType, Recorded, refuse
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.task.terms import PairTerms
from protocols.transcript.messages import Checkpoint

LIMITED = frozenset[MessageType]({RoundStart, BatchOpen, FeatureShape, SumKey, SumKeys})
"""Kinds of messages that terms say something about."""


class TermOrder:
    """What the terms say of messages.

    Args:
        terms: of the pair.
    """

    def __init__(self, terms: PairTerms) -> None:
        self._terms, self._rounds = terms, terms.rounds
        self._without_keys = set(Sender) if terms.is_summed else set[Sender]()

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """Raise `MessageOutOfOrder` for a message that goes beyond the terms. Says both numbers."""
        limits = self._terms.limits
        if message_type is RoundStart:
            if self._rounds and at[0] == Phase.TRAIN and at[1] > self._rounds:
                refuse(sender, message_type, f"round {at[1]} of training, and at most {self._rounds} were agreed on")
            self._check_batches(sender, message_type, at[0], recorded[0])
        elif message_type is BatchOpen:
            self._check_rows(sender, message_type, recorded[0])
            self._check_batches(sender, message_type, at[0], at[2] + 1)
        elif message_type is SumKey or message_type is SumKeys:
            if sender not in self._without_keys:
                again = "it has come before" if self._terms.is_summed else "no sum of the projections was agreed on"
                refuse(sender, message_type, again)
            self._without_keys.discard(sender)
        elif message_type is FeatureShape:
            self._check_rows(sender, message_type, recorded[0])
            width = self._terms.width or recorded[1]
            if limits.width and width > limits.width:
                refuse(sender, message_type, f"a layer of {width} outputs, and the collaborator allows {limits.width}")

    def _check_batches(self, sender: Sender, message_type: MessageType, phase: int, asked: int) -> None:
        most = self._terms.max_batches
        if most and phase == Phase.TRAIN and not 0 < asked <= most:
            wanted = f"{asked} batches" if asked else "all batches"
            refuse(sender, message_type, f"{wanted} of a round, and at most {most} were agreed on")

    def check_joined(self, sender: Sender) -> None:
        """A party says that all have joined. Raises `MessageOutOfOrder` if keys of a sum are still owed."""
        if sender in self._without_keys:
            refuse(sender, Checkpoint, "the keys of the sum that was agreed on had not come")

    def _check_rows(self, sender: Sender, message_type: MessageType, rows: int) -> None:
        most = self._terms.limits.rows
        if most and rows > most:
            refuse(sender, message_type, f"a batch of {rows} samples, and the collaborator allows {most}")
