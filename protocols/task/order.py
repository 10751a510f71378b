"""Which message may follow which in a whole task: what all schemes have in common, and the scheme's own part.

    host            START -Manifest-> JOINED (-SumKeys-> JOINED) -PSI-> INTERSECTED -SplitDigest-> ALIGNED
                    -the scheme's set-up-> READY
                    -RoundStart-> TRAINING | TESTING ... -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED (-SumKey-> JOINED) -PSI-> INTERSECTED
                    -SplitDigest-> ALIGNED
                    -FeatureShape-> SHAPED -the scheme's set-up-> READY -BatchOpen-> OPENED ... -EpochEnd-> ENDED ...
                    -FinishAcknowledged-> FINISHED
    resumed         the same, but behind JOINED comes ALIGN, or RESTORED and the scheme's set-up from there
    "(...)": once, if the host gets the sum of all projections only
    prediction      protocols/task/prediction_order.py, on line protocols/task/online_order.py
    overlap         protocols/task/overlap_order.py

Each direction runs by itself, as each is streamed; `TaskOrder` adds what holds across the two. Between phases and
rounds both exchange signed heads (`Checkpoint`). Abort may come anywhere. The tables of PSI are those of its roles.

Legal in either party's order of events: a party sends an answer after it has received what it answers, and receives
one after it has sent it. So one table serves both ends' transcripts and a running conversation (`LiveOrder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.layer.messages import FeatureShape
from protocols.psi import transitions as psi
from protocols.psi.bucket_messages import PsiBuckets, PsiBucketsTaken
from protocols.psi.messages import PsiDigests, PsiOpen
from protocols.psi.order import PsiStreams
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.answer_order import Kind, LastSeen
from protocols.task.direction import Direction, StretchOfTask
from protocols.task.history import History
from protocols.task.manifest import Hello, Manifest, ManifestAccepted
from protocols.task.offline_order import OfflineOrder
from protocols.task.online_order import OnlineRoundOrder, online_boundaries, online_table
from protocols.task.overlap_order import OverlapStreams, overlap_table
from protocols.task.prediction_order import prediction_table, restore_trained
from protocols.task.resumed_order import restore
from protocols.task.resumption import ResumePoint
from protocols.task.round_order import ROUNDS, RoundOrder
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.task.scheme_order import At, MessageType, Moves, Recorded, SchemeOrder, Table, moves, refuse
from protocols.task.scheme_order import State as S
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.task.term_order import LIMITED, TermOrder
from protocols.task.terms import PairTerms
from protocols.task.version_order import VersionOrder
from protocols.transcript.messages import Checkpoint, Countersignature

H, C = Sender.HOST, Sender.COLLABORATOR

_PSI_STATES = {
    psi.State.START: S.JOINED,
    psi.State.OPEN: S.PSI_OPEN,
    psi.State.POINTS: S.PSI_POINTS,
    psi.State.BUCKETED: S.PSI_BUCKETED,
    psi.State.BUCKET_OPEN: S.PSI_BUCKET_OPEN,
    psi.State.BUCKET_POINTS: S.PSI_BUCKET_POINTS,
}

_ANSWERS = {
    (H, Manifest): (Hello,),
    (C, ManifestAccepted): (Manifest,),
    (C, SumKey): (Manifest,),
    (H, SumKeys): (SumKey,),
    (C, PsiDigests): (PsiOpen,),
    (C, PsiBucketsTaken): (PsiBuckets,),
    (H, SplitDigest): (SplitDigest,),
    (C, FinishAcknowledged): (TaskFinished,),
    (H, Countersignature): (Checkpoint,),
    (C, Countersignature): (Checkpoint,),
}
"""A message that answers one of these, which the peer must have sent at the same place or later."""


def _lifted(table: psi.Table, end: psi.State) -> Moves:
    """A PSI role's table, between JOINED and INTERSECTED."""
    names = {**_PSI_STATES, end: S.INTERSECTED}
    return {(names[state], Phase.PSI, message_type): names[to] for (state, message_type), to in table.items()}


def _host_table(scheme: SchemeOrder) -> Table:
    ready, over = scheme.set_up[H], (*scheme.host_over, S.TESTING)
    return {
        **moves(Phase.JOIN, (S.START, Manifest, S.JOINED), (S.JOINED, SumKeys, S.JOINED)),
        **_lifted({**psi.HOST_SENDS, **psi.BUCKETED_HOST_SENDS}, psi.State.DONE),
        **moves(Phase.ALIGN, (S.INTERSECTED, SplitDigest, S.ALIGNED)),
        **scheme.host,
        **moves(Phase.TRAIN, ((ready, *over), RoundStart, S.TRAINING)),
        **moves(Phase.TEST, (scheme.host_over, RoundStart, S.TESTING)),
        **moves(Phase.FINISH, (over, TaskFinished, S.FINISHED)),
    }


def _collaborator_table(scheme: SchemeOrder) -> Table:
    trained = (scheme.set_up[C], S.ENDED, *scheme.settled)
    tested = (S.ENDED, *scheme.tested)
    return {
        **moves(
            Phase.JOIN,
            (S.START, Hello, S.INTRODUCED),
            (S.INTRODUCED, ManifestAccepted, S.JOINED),
            (S.JOINED, SumKey, S.JOINED),
        ),
        **_lifted({**psi.COLLABORATOR_SENDS, **psi.BUCKETED_COLLABORATOR_SENDS}, psi.State.DIGESTS),
        **moves(Phase.ALIGN, (S.INTERSECTED, SplitDigest, S.ALIGNED)),
        **moves(Phase.SETUP, (S.ALIGNED, FeatureShape, S.SHAPED)),
        **scheme.collaborator,
        **moves(Phase.TRAIN, (trained, BatchOpen, S.OPENED), (trained, EpochEnd, S.ENDED)),
        **moves(Phase.TEST, (tested, BatchOpen, S.OPENED), (tested, EpochEnd, S.ENDED)),
        **moves(Phase.FINISH, (S.ENDED, FinishAcknowledged, S.FINISHED)),
    }


class Purpose(Enum):
    """What a conversation is for."""

    TRAINING = auto()
    PREDICTION = auto()
    ONLINE = auto()
    """A prediction that stays open: ids come as they are asked for."""
    OVERLAP = auto()
    """How many ids both have is counted, before anything is trained."""


def purpose_of(is_prediction: bool, is_online: bool, is_overlap: bool) -> Purpose:
    """As the parties' manifest says it."""
    if is_overlap:
        return Purpose.OVERLAP
    if not is_prediction:
        return Purpose.TRAINING
    return Purpose.ONLINE if is_online else Purpose.PREDICTION


def tables_of(scheme: SchemeOrder, purpose: Purpose = Purpose.TRAINING) -> dict[Sender, Table]:
    """Both directions' tables, the offline lane left out."""
    tables: dict[Sender, Table] = {H: _host_table(scheme), C: _collaborator_table(scheme)}
    if purpose is Purpose.TRAINING:
        return tables
    if purpose is Purpose.OVERLAP:
        return {sender: overlap_table(sender, table) for sender, table in tables.items()}
    change = online_table if purpose is Purpose.ONLINE else prediction_table
    return {sender: change(sender, table, scheme) for sender, table in tables.items()}


def boundaries_of(
    scheme: SchemeOrder, purpose: Purpose = Purpose.TRAINING
) -> dict[Sender, dict[Phase, frozenset[Enum]]]:
    """In which states of a direction a phase or round may be over, so that its head is signed."""
    common = {Phase.JOIN: S.JOINED, Phase.PSI: S.INTERSECTED, Phase.ALIGN: S.ALIGNED, Phase.FINISH: S.FINISHED}
    both = {phase: frozenset[Enum]({state}) for phase, state in common.items()}
    ended = frozenset[Enum]({S.ENDED})
    boundaries = {
        H: {
            **both,
            Phase.SETUP: frozenset({scheme.set_up[H]}),
            Phase.TRAIN: frozenset(scheme.host_over),
            Phase.TEST: frozenset({S.TESTING}),
        },
        C: {**both, Phase.SETUP: frozenset({scheme.set_up[C]}), Phase.TRAIN: ended, Phase.TEST: ended},
    }
    return online_boundaries(boundaries) if purpose is Purpose.ONLINE else boundaries


class MessageRule(NamedTuple):
    """What is asked of one kind of message beyond its direction's table.

    Attributes:
        answered: kinds of which it answers one.
        is_once_a_batch: there is one for each batch.
        version_at: which of its recorded values is the weights' version; None: it has none.
        has_terms: the run's terms say something about it.
    """

    answered: tuple[Kind, ...] = ()
    is_once_a_batch: bool = False
    version_at: int | None = None
    has_terms: bool = False


_NOTHING = MessageRule()


def _rules_of(scheme: SchemeOrder, tables: Mapping[Sender, Table]) -> dict[Kind, MessageRule]:
    """Of every kind that has one: worked out once, not for every message."""
    answers = {**_ANSWERS, **scheme.answers}
    types = {key[2] for table in tables.values() for key in table}
    kinds = {*answers, *((sender, message_type) for sender in Sender for message_type in types)}
    rules = {}
    for sender, message_type in kinds:
        recorded = wire_format(message_type).recorded
        rules[sender, message_type] = MessageRule(
            tuple((sender.other, each) for each in answers.get((sender, message_type), ())),
            message_type in scheme.once_a_batch,
            recorded.index("version") if "version" in recorded else None,
            message_type in LIMITED,
        )
    return rules


class TaskOrder:
    """Where one conversation stands.

    Args:
        scheme: the scheme's part of the order, for a bottom model that is trained or frozen as this one.
        point: where the task goes on; None: at its beginning.
        history: of the conversations before, rewound to there; what this one reaches is noted in it.
        terms: what the parties hold each other to; None: nothing.
        purpose: what the conversation is for.

    Attributes:
        is_finished: the task has ended as it should, signed by both.
    """

    def __init__(
        self,
        scheme: SchemeOrder,
        point: ResumePoint | None = None,
        history: History | None = None,
        terms: PairTerms | None = None,
        purpose: Purpose = Purpose.TRAINING,
    ) -> None:
        tables, boundaries = tables_of(scheme, purpose), boundaries_of(scheme, purpose)
        self._scheme, self._point, self._purpose = scheme, point, purpose
        self._history = History() if history is None else history
        self._directions = {sender: Direction(sender, tables[sender], boundaries[sender]) for sender in Sender}
        self._rules = _rules_of(scheme, tables)
        self._scheme_rules = scheme.rules()
        self._seen = LastSeen()
        self._psi = OverlapStreams() if purpose is Purpose.OVERLAP else PsiStreams()
        is_restored = point is not None and point.is_set_up and not scheme.keeps_weights
        versions = self._history.versions(point) if point and is_restored else (0, 0)
        self._weights = VersionOrder(scheme, versions if purpose is Purpose.TRAINING else None)
        of_rounds = scheme, point, self._seen, self._weights, self._history
        self._online = OnlineRoundOrder(*of_rounds) if purpose is Purpose.ONLINE else None
        self._rounds = self._online or RoundOrder(*of_rounds)
        self._terms = TermOrder(terms or PairTerms())
        self._offline = OfflineOrder(scheme, self._scheme_rules, self._directions[H])

    @property
    def is_finished(self) -> bool:
        """Whether everything has been said."""
        both = self._directions.values()
        return all(each.state is S.FINISHED and each.head.signed == (Phase.FINISH, 0) for each in both)

    def step(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """Take one message. After an error nothing that follows can be judged.

        Raises:
            MessageOutOfOrder: it may not come here. Says why.
        """
        if message_type is Abort:
            return
        phase, number, _ = at
        if phase == Phase.OFFLINE:
            self._offline.step(sender, message_type, recorded)
            return
        direction, stretch = self._directions[sender], (phase, number)
        if stretch != direction.stretch:
            self._go_on(direction, stretch)
        rule = self._rules.get((sender, message_type), _NOTHING)
        if rule.answered:
            self._seen.check_answer(sender, message_type, at, rule.answered)
        if message_type is Checkpoint:
            self._sign(direction, stretch)
        elif message_type is Countersignature:
            direction.head.countersign(sender, stretch)
        else:
            to = direction.state_behind(message_type, stretch)
            self._check(sender, message_type, at, recorded, rule)
            direction.state = to
        self._seen[sender, message_type] = at

    def _go_on(self, direction: Direction, stretch: StretchOfTask) -> None:
        """To another phase or round."""
        direction.check_signed()
        if self._point is not None:
            restore(direction, stretch[0], self._scheme, self._point)
        elif self._purpose in (Purpose.PREDICTION, Purpose.ONLINE):
            restore_trained(direction, stretch[0], self._scheme, self._purpose is Purpose.ONLINE)
        direction.stretch = stretch

    def _check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded, rule: MessageRule) -> None:
        """What holds across the two directions."""
        self._rounds.check(sender, message_type, at, recorded)
        if rule.has_terms:
            self._terms.check(sender, message_type, at, recorded)
        if rule.is_once_a_batch and self._seen.get((sender, message_type)) == at:
            refuse(sender, message_type, "there is one for each batch")
        if at[0] == Phase.PSI and self._online is None:
            self._psi.step(sender, message_type, recorded)
        elif message_type is TaskFinished or message_type is FinishAcknowledged:
            self._check_end(sender, message_type, recorded)
        else:
            self._scheme_rules.check(sender, message_type, at, recorded)
        if rule.version_at is not None:
            self._weights.check(sender, message_type, at, recorded[rule.version_at])

    def _check_end(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        if message_type is TaskFinished:
            self._scheme_rules.check_finished()
        trained = self._rounds.trained
        if recorded != (trained,):
            refuse(sender, message_type, f"it is of {recorded[0]} rounds, and {trained} were trained")

    def _sign(self, direction: Direction, stretch: StretchOfTask) -> None:
        """A `Checkpoint`: the phase or round is over."""
        direction.check_can_be_signed(stretch)
        phase, number = Phase(stretch[0]), stretch[1]
        if phase is Phase.JOIN:
            self._terms.check_joined(direction.sender)
        elif phase is Phase.PSI and self._online is not None:
            self._online.check_registered(direction.sender, Checkpoint)
        elif phase is Phase.PSI:
            self._psi.check_over(direction.sender)
        elif phase in ROUNDS:
            ended = self._seen.get((C, EpochEnd))
            if ended is None or ended[:2] != stretch:
                refuse(direction.sender, Checkpoint, "the round had not ended")
        self._history.over(phase, number, self._weights.known)
        direction.head.is_begun = True

    def finish(self) -> None:
        """No more messages come: note in the history what had been reached without being signed."""
        phase, number = Phase(self._directions[H].stretch[0]), self._directions[H].stretch[1]
        both = self._directions.values()
        is_over = all(each.stretch == (phase, number) and each.is_at_boundary(phase) for each in both)
        has_ended = phase not in ROUNDS or self._rounds.finish(phase, number)
        if is_over and has_ended:
            self._history.over(phase, number, self._weights.known)
