"""Which message may follow which where a bottom model is frozen: the same in all schemes (protocols/layer/frozen.py).

host            the scheme's set-up; TRAINING -its test messages-> TRAINING -BatchClosed-> TRAINING
collaborator    the scheme's set-up; OPENED -FrozenRows-> REFERRED, and if there are new rows, its test messages from
                there on

So the tables of a scheme's own training batches do not count here, and the weights keep version 0.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import BatchClosed, FrozenRows
from protocols.task.alignment import BatchOpen, EpochEnd
from protocols.task.rounds import RoundStart
from protocols.task.scheme_order import (
    At,
    MessageType,
    Moves,
    Recorded,
    SchemeOrder,
    SchemeRules,
    Table,
    moves,
    refuse,
)
from protocols.task.scheme_order import State as S

H, C = Sender.HOST, Sender.COLLABORATOR
_ROUNDS = (Phase.TRAIN, Phase.TEST)


class FrozenRules(SchemeRules):
    """A scheme's messages come for the new rows of a batch, only if there are any.

    Args:
        inner: the scheme's own, for which every batch is one of a test.
        shows: the collaborator's messages with which the new rows are there.
    """

    def __init__(self, inner: SchemeRules, shows: frozenset[MessageType]) -> None:
        self._inner, self._shows = inner, shows
        self._rows = self._new = 0
        self._is_owed = self._is_closed = False

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """See the base."""
        if message_type is BatchOpen or message_type is EpochEnd:
            self._end_batch(sender, message_type)
            self._rows, self._new, self._is_closed = (recorded[0], 0, False)
        elif message_type is FrozenRows:
            self._new = recorded[0]
            self._is_owed = self._new > 0
            if self._new > self._rows:
                refuse(sender, message_type, f"it has {self._new} new rows in a batch of {self._rows}")
        elif message_type is BatchClosed:
            self._end_batch(sender, message_type)
            self._is_closed = True
        elif message_type is not RoundStart and at[0] in _ROUNDS:
            self._evaluate(sender, message_type)
            self._inner.check(sender, message_type, (Phase.TEST, *at[1:]), recorded)
        else:
            self._inner.check(sender, message_type, at, recorded)

    def _end_batch(self, sender: Sender, message_type: MessageType) -> None:
        if self._is_owed:
            refuse(sender, message_type, f"the {self._new} new rows of the batch before have not come")

    def _evaluate(self, sender: Sender, message_type: MessageType) -> None:
        if not self._new or self._is_closed:
            refuse(sender, message_type, "the batch has no new rows, or is closed")
        if sender is C and message_type in self._shows:
            self._is_owed = False

    def check_offline(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        """See the base."""
        self._inner.check_offline(sender, message_type, recorded)

    def check_finished(self) -> None:
        """See the base."""
        self._inner.check_finished()


def frozen_order(inner: SchemeOrder) -> SchemeOrder:
    """A scheme's part of the order for a frozen bottom model, from what it says of set-up and tests."""
    evaluations = [(edge[2], to in inner.tested) for edge, to in inner.collaborator.items() if edge[1] == Phase.TEST]
    shows = frozenset(kind for kind, _ in evaluations) - {kind for kind, is_shown in evaluations if not is_shown}
    return SchemeOrder(
        host_over=(S.TRAINING,),
        settled=(S.REFERRED, *inner.tested),
        tested=(S.REFERRED, *inner.tested),
        host={
            **_set_up(inner.host),
            **_in_both_rounds(inner.host, S.TESTING, _own_state),
            **moves(Phase.TRAIN, (S.TRAINING, BatchClosed, S.TRAINING)),
        },
        collaborator={
            **_set_up(inner.collaborator),
            **_in_both_rounds(inner.collaborator, S.OPENED, lambda phase: S.REFERRED),
            **{(S.OPENED, phase, FrozenRows): S.REFERRED for phase in _ROUNDS},
        },
        set_up=inner.set_up,
        restored=inner.restored,
        batch_ends=(BatchClosed,),
        answers={**inner.answers, (H, BatchClosed): (FrozenRows,)},
        once_a_batch=frozenset({BatchClosed, *inner.once_a_batch}),
        steps=inner.steps,
        keeps_weights=True,
        offline=inner.offline,
        rules=lambda: FrozenRules(inner.rules(), shows),
    )


def _own_state(phase: Phase) -> S:
    """The host's, between batches."""
    return S.TRAINING if phase is Phase.TRAIN else S.TESTING


def _set_up(table: Table) -> Moves:
    return {edge: to for edge, to in table.items() if edge[1] not in _ROUNDS}


def _in_both_rounds(table: Table, before: Enum, stands_for: Callable[[Phase], Enum]) -> Moves:
    """A scheme's moves of a test, in both kinds of round; `before`: the state that stands for another one in each."""
    return {
        (stands_for(phase) if state is before else state, phase, message_type): (
            stands_for(phase) if to is before else to
        )
        for (state, of, message_type), to in table.items()
        if of == Phase.TEST
        for phase in _ROUNDS
    }
