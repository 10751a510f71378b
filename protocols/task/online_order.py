"""Which message may follow which in an on-line session: a prediction that stays open, request after request.

    host            START -Manifest-> JOINED -(signed head of PSI)-> -the scheme's set-up of a resumed task-> READY
                    -RoundStart (TEST, rounds from 1)-> TESTING (-LookupPoints | RowsAsked-> TESTING)*
                    -RequestsOver-> SERVED ... -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED -PopulationOpen-> OPENING
                    -PopulationDigests*-> REGISTERED -FeatureShape-> RESTORED -the set-up-> READY
                    (-LookupReplies | LookupRefused | RowsRefused-> ANSWERED; -BatchOpen-> OPENED -the scheme's->)*
                    -EpochEnd-> ENDED ... -FinishAcknowledged-> FINISHED

Requests come one by one: each is answered before the next. A batch is what follows on a RowsAsked, of as many rows; one
that is refused has a number as well. A round ends when the host says so, and its head is signed as any round's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import FeatureShape
from protocols.lookup.messages import (
    LookupPoints,
    LookupRefused,
    LookupReplies,
    PopulationDigests,
    PopulationOpen,
    RequestsOver,
    RowsAsked,
    RowsRefused,
)
from protocols.psi.transitions import Stream
from protocols.task.alignment import BatchOpen, EpochEnd
from protocols.task.prediction_order import without_training
from protocols.task.round_order import ROUNDS, Round, RoundOrder
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.task.scheme_order import (
    At,
    MessageType,
    OrderState,
    Recorded,
    SchemeOrder,
    Table,
    moves,
    refuse,
)
from protocols.task.scheme_order import State as S

H, C = Sender.HOST, Sender.COLLABORATOR


class OnlineState(OrderState):
    """What has passed last, of an on-line session's messages."""

    OPENING = auto()
    REGISTERED = auto()
    SERVED = auto()  # the host, its round over
    ANSWERED = auto()


O = OnlineState  # noqa: E741 - as S for State


def online_table(sender: Sender, table: Table, scheme: SchemeOrder) -> Table:
    """A direction's table in an on-line session, from that of a task."""
    kept = {edge: to for edge, to in without_training(table).items() if edge[1] != Phase.PSI}
    ready = scheme.set_up[sender]
    if sender is H:
        return {
            **kept,
            **moves(
                Phase.TEST,
                ((ready, O.SERVED), RoundStart, S.TESTING),
                (S.TESTING, LookupPoints, S.TESTING),
                (S.TESTING, RowsAsked, S.TESTING),
                (S.TESTING, RequestsOver, O.SERVED),
            ),
            **moves(Phase.FINISH, ((ready, O.SERVED), TaskFinished, S.FINISHED)),
        }
    idle = (ready, O.ANSWERED, S.ENDED, *scheme.tested)
    return {
        **kept,
        **moves(
            Phase.PSI,
            (S.JOINED, PopulationOpen, O.OPENING),
            ((O.OPENING, O.REGISTERED), PopulationDigests, O.REGISTERED),
        ),
        **moves(Phase.SETUP, (O.REGISTERED, FeatureShape, scheme.restored[sender])),
        **moves(
            Phase.TEST,
            *((idle, reply, O.ANSWERED) for reply in (LookupReplies, LookupRefused, RowsRefused)),
            (idle, BatchOpen, S.OPENED),
            (idle, EpochEnd, S.ENDED),
        ),
        **moves(Phase.FINISH, ((ready, S.ENDED), FinishAcknowledged, S.FINISHED)),
    }


Boundaries = dict[Sender, dict[Phase, frozenset[Enum]]]


def online_boundaries(boundaries: Mapping[Sender, Mapping[Phase, frozenset[Enum]]]) -> Boundaries:
    """In which states a phase or round of an on-line session may be over, from those of a task."""
    host, other = dict(boundaries[H]), dict(boundaries[C])
    host |= {Phase.PSI: frozenset[Enum]({S.JOINED}), Phase.TEST: frozenset[Enum]({O.SERVED})}
    other |= {Phase.PSI: frozenset[Enum]({O.REGISTERED})}
    return {H: host, C: other}


class OnlineRoundOrder(RoundOrder):
    """Requests and their answers, and the rounds that they come in. Arguments as those of the base."""

    _asked: tuple[MessageType, int] | None = None
    _population: Stream | None = None

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """See the base."""
        if message_type is PopulationOpen or message_type is PopulationDigests:
            super().check(sender, message_type, at, recorded)
            self._register(message_type, recorded)
        elif message_type in (LookupPoints, RowsAsked, RequestsOver):
            self._ask(message_type, at, recorded)
        elif message_type is LookupReplies or message_type is LookupRefused:
            self._check_place(sender, message_type, at)
            self._answer(message_type, LookupPoints, recorded)
        elif message_type is BatchOpen or message_type is RowsRefused:
            self._check_place(sender, message_type, at)
            self._answer(message_type, RowsAsked, recorded)
            self._round.batch = at[2]
        elif message_type is EpochEnd:
            self._answer(message_type, RequestsOver, recorded)
            super().check(sender, message_type, at, recorded)
        else:
            super().check(sender, message_type, at, recorded)

    def check_registered(self, sender: Sender, message_type: MessageType) -> None:
        """The registration is over. Raises `MessageOutOfOrder` unless all of the population has come."""
        if self._population is None or not self._population.complete:
            refuse(sender, message_type, "the population had not been registered")

    def _register(self, message_type: MessageType, recorded: Recorded) -> None:
        if message_type is PopulationOpen:
            if not all(recorded):
                refuse(C, message_type, "a population and a chunk have at least one id")
            self._population = Stream(*recorded)
            return
        stream = self._population
        if stream is None or stream.complete or recorded[0] != stream.next:
            refuse(C, message_type, f"chunk {recorded[0]} is not the next one")
        stream.next += 1

    def _ask(self, message_type: MessageType, at: At, recorded: Recorded) -> None:
        self._check_place(H, message_type, at)
        if self._asked is not None:
            refuse(H, message_type, f"{self._asked[0].__name__} had not been answered")
        if message_type is RequestsOver and recorded[0] != at[2]:
            refuse(H, message_type, f"it is of {recorded[0]} batches, and there were {at[2]}")
        self._asked = message_type, recorded[0]

    def _answer(self, message_type: MessageType, question: MessageType, recorded: Recorded) -> None:
        if self._asked is None or self._asked[0] is not question:
            refuse(C, message_type, f"it answers {question.__name__}, which had not come")
        count = self._asked[1]
        if message_type in (LookupReplies, BatchOpen) and recorded[0] != count:
            refuse(C, message_type, f"it is of {recorded[0]}, and {count} were asked for")
        if message_type is LookupRefused and recorded[0] >= count:
            refuse(C, message_type, f"{recorded[0]} are left, and {count} were asked for")
        self._asked = None

    def _check_place(self, sender: Sender, message_type: MessageType, at: At) -> None:
        """In the round under way, behind the batches that it has had."""
        if at[:2] != self._round.stretch or self._round.has_ended or at[0] not in ROUNDS:
            refuse(sender, message_type, "the host has not started this round")
        if at[2] != self._round.batch + 1:
            refuse(sender, message_type, f"it is of batch {at[2] + 1} after {self._round.batch + 1} batches")

    def _start(self, at: At, recorded: Recorded) -> None:
        number = self._round.stretch[1]
        if at != (Phase.TEST, number + 1, 0) or any(recorded):
            refuse(H, RoundStart, f"round {at[1]} after round {number}")
        self._round = Round(at[0], at[1], 0)
