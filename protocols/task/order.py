"""Which message may follow which in a whole task: what all schemes have in common, and the scheme's own part.

    host            START -Manifest-> JOINED -PSI-> INTERSECTED -SplitDigest-> ALIGNED -the scheme's set-up-> READY
                    -RoundStart-> TRAINING | TESTING ... -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED -PSI-> INTERSECTED -SplitDigest-> ALIGNED
                    -FeatureShape-> SHAPED -the scheme's set-up-> READY -BatchOpen-> OPENED ... -EpochEnd-> ENDED ...
                    -FinishAcknowledged-> FINISHED
    resumed         the same, but behind JOINED comes ALIGN, or RESTORED and the scheme's set-up from there

Each direction runs by itself, as each is streamed; `TaskOrder` adds what holds across the two. Between phases and
rounds both exchange signed heads (`Checkpoint`). Abort may come anywhere. The tables of PSI are those of its roles.

Legal in either party's order of events: a party sends an answer after it has received what it answers, and receives
one after it has sent it. So one table serves both ends' transcripts and a running conversation (`LiveOrder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.layer.messages import FeatureShape
from protocols.psi import transitions as psi
from protocols.psi.messages import PsiDigests, PsiOpen
from protocols.psi.order import PsiStreams
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.history import History
from protocols.task.manifest import Hello, Manifest, ManifestAccepted
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.task.scheme_order import At, MessageType, Moves, Recorded, SchemeOrder, Table, moves, refuse
from protocols.task.scheme_order import State as S
from protocols.transcript.messages import Checkpoint, Countersignature

H, C = Sender.HOST, Sender.COLLABORATOR

_ROUNDS = (Phase.TRAIN, Phase.TEST)
_PSI_STATES = {psi.State.OPEN: S.PSI_OPEN, psi.State.POINTS: S.PSI_POINTS, psi.State.START: S.JOINED}

_ANSWERS = {
    (H, Manifest): (Hello,),
    (C, ManifestAccepted): (Manifest,),
    (C, PsiDigests): (PsiOpen,),
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
        **moves(Phase.JOIN, (S.START, Manifest, S.JOINED)),
        **_lifted(psi.HOST_SENDS, psi.State.DONE),
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
        **moves(Phase.JOIN, (S.START, Hello, S.INTRODUCED), (S.INTRODUCED, ManifestAccepted, S.JOINED)),
        **_lifted(psi.COLLABORATOR_SENDS, psi.State.DIGESTS),
        **moves(Phase.ALIGN, (S.INTERSECTED, SplitDigest, S.ALIGNED)),
        **moves(Phase.SETUP, (S.ALIGNED, FeatureShape, S.SHAPED)),
        **scheme.collaborator,
        **moves(Phase.TRAIN, (trained, BatchOpen, S.OPENED), (trained, EpochEnd, S.ENDED)),
        **moves(Phase.TEST, (tested, BatchOpen, S.OPENED), (tested, EpochEnd, S.ENDED)),
        **moves(Phase.FINISH, (S.ENDED, FinishAcknowledged, S.FINISHED)),
    }


def tables_of(scheme: SchemeOrder) -> dict[Sender, Table]:
    """Both directions' tables, the offline lane left out."""
    return {H: _host_table(scheme), C: _collaborator_table(scheme)}


def boundaries_of(scheme: SchemeOrder) -> dict[Sender, dict[Phase, frozenset[Enum]]]:
    """In which states of a direction a phase or round may be over, so that its head is signed."""
    common = {Phase.JOIN: S.JOINED, Phase.PSI: S.INTERSECTED, Phase.ALIGN: S.ALIGNED, Phase.FINISH: S.FINISHED}
    both = {phase: frozenset[Enum]({state}) for phase, state in common.items()}
    ended = frozenset[Enum]({S.ENDED})
    return {
        H: {
            **both,
            Phase.SETUP: frozenset({scheme.set_up[H]}),
            Phase.TRAIN: frozenset(scheme.host_over),
            Phase.TEST: frozenset({S.TESTING}),
        },
        C: {**both, Phase.SETUP: frozenset({scheme.set_up[C]}), Phase.TRAIN: ended, Phase.TEST: ended},
    }


def _version_indices(tables: Mapping[Sender, Table]) -> dict[MessageType, int]:
    """Which of a type's recorded values is the weights' version: looked up once, not for every message."""
    names = {key[2]: wire_format(key[2]).recorded for table in tables.values() for key in table}
    return {message_type: each.index("version") for message_type, each in names.items() if "version" in each}


def after_join(scheme: SchemeOrder, point: ResumePoint) -> tuple[Phase, dict[Sender, Enum]]:
    """Which phase follows when a conversation goes on from `point`, and the states that it begins in."""
    if not point.is_set_up:
        return Phase.ALIGN, dict.fromkeys(Sender, S.INTERSECTED)
    return Phase.SETUP, dict(scheme.restored)


def after_setup(point: ResumePoint) -> dict[Sender, Enum]:
    """The states behind a round that was over; empty if the next message is as after any set-up."""
    if point.batch or point.phase not in _ROUNDS:
        return {}
    return {H: S.TRAINING if point.phase is Phase.TRAIN else S.TESTING, C: S.ENDED}


class TaskOrder:
    """Where one conversation stands.

    Args:
        scheme: the scheme's part of the order, for a bottom model that is trained or frozen as this one.
        point: where the task goes on; None: at its beginning.
        history: of the conversations before, rewound to there; what this one reaches is noted in it.

    Attributes:
        is_finished: the task has ended as it should, signed by both.
    """

    def __init__(self, scheme: SchemeOrder, point: ResumePoint | None = None, history: History | None = None) -> None:
        self._scheme, self._point = scheme, point
        self._tables, self._boundaries = tables_of(scheme), boundaries_of(scheme)
        self._version_at = _version_indices(self._tables)
        self._answers = {**_ANSWERS, **scheme.answers}
        self._rules = scheme.rules()
        self._history = History() if history is None else history
        self._states: dict[Sender, Enum] = dict.fromkeys(Sender, S.START)
        self._offline_states: dict[Sender, Enum] = dict.fromkeys(Sender, S.START)
        self._seen: dict[tuple[Sender, MessageType], At] = {}
        self._at: dict[Sender, tuple[int, int]] = dict.fromkeys(Sender, (int(Phase.JOIN), 0))
        self._signing = dict.fromkeys(Sender, False)
        self._signed: dict[Sender, tuple[int, int] | None] = dict.fromkeys(Sender, None)
        self._psi = PsiStreams()
        self._round = (0, 0)  # as the host started it last
        self._batch = -1  # of the collaborator in this round
        self._trained, self._first_batch = 0, 0
        self._versions: tuple[int, int] | None = (0, 0)
        self._stepped: At | None = None
        if point is not None and point.is_set_up:
            self._trained, self._first_batch = point.round - bool(point.batch), point.batch
            self._versions = self._history.versions(point)
        self._skipped = self._first_batch  # batches that were done before this conversation
        self._has_ended = False

    @property
    def is_finished(self) -> bool:
        """Whether everything has been said."""
        at_end = all(self._signed[sender] == (Phase.FINISH, 0) for sender in Sender)
        return at_end and all(state is S.FINISHED for state in self._states.values())

    def step(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """Take one message. After an error nothing that follows can be judged.

        Raises:
            MessageOutOfOrder: it may not come here. Says why.
        """
        if message_type is Abort:
            return
        phase, number, _ = at
        if phase == Phase.OFFLINE:
            self._offline(sender, message_type, recorded)
            return
        if (phase, number) != self._at[sender]:
            self._leave(sender, phase, number)
        answered = self._answers.get((sender, message_type))
        if answered is not None:
            self._check_answer(sender, message_type, answered, at)
        if message_type is Checkpoint or message_type is Countersignature:
            self._sign(sender, message_type, at)
        else:
            self._take(sender, message_type, at, recorded)
        self._seen[sender, message_type] = at

    def _take(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        phase = at[0]
        if self._signing[sender] or self._signed[sender] == at[:2]:
            refuse(sender, message_type, "no message of a phase or round may follow its checkpoint")
        to = self._tables[sender].get((self._states[sender], phase, message_type))
        if to is None:
            state = self._states[sender].name
            refuse(sender, message_type, f"in state {state} of phase {Phase(phase).name} it may not come")
        self._check_place(sender, message_type, at, recorded)
        self._check_details(sender, message_type, at, recorded)
        index = self._version_at.get(message_type)
        if index is not None:
            self._check_version(sender, message_type, at, recorded[index])
        self._states[sender] = to

    # Places ----------------------------------------------------------------------------------------------------------

    def _leave(self, sender: Sender, phase: int, number: int) -> None:
        before = self._at[sender]
        if self._signed[sender] != before:
            name = f"{Phase(before[0]).name} {before[1] or ''}".strip()
            raise MessageOutOfOrder(f"the {sender.role} went on after {name} without a checkpoint")
        if self._point is not None:
            self._restore(sender, before[0], phase, self._point)
        self._at[sender] = (phase, number)

    def _restore(self, sender: Sender, left: int, phase: int, point: ResumePoint) -> None:
        """Behind the joining, and behind the set-up, a resumed task is where its checkpoint was made."""
        if left == Phase.JOIN:
            expected, states = after_join(self._scheme, point)
            if phase != expected:
                problem = f"the {sender.role} went on with {Phase(phase).name}, not with {expected.name}"
                raise MessageOutOfOrder(f"{problem}, in a task that is resumed from {point}")
            self._states[sender] = states[sender]
        elif left == Phase.SETUP:
            self._states[sender] = after_setup(point).get(sender, self._states[sender])

    def _check_place(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        phase, number, batch = at
        if phase not in _ROUNDS:
            if number or batch:
                refuse(sender, message_type, f"in phase {Phase(phase).name} there is no round or batch")
        elif message_type is RoundStart:
            self._start_round(phase, number, batch, recorded)
        elif (phase, number) != self._round:
            refuse(sender, message_type, "the host has not started this round")
        elif message_type is BatchOpen or message_type is EpochEnd:
            self._end_batch(message_type, at, recorded)
        elif batch != self._batch if sender is C else batch > self._batch:
            refuse(sender, message_type, f"it is of batch {batch + 1}, but {self._batch + 1} have been opened")

    def _start_round(self, phase: int, number: int, batch: int, recorded: Recorded) -> None:
        if number != self._trained + (phase == Phase.TRAIN) or batch:
            raise MessageOutOfOrder(f"RoundStart of round {number} after {self._trained} rounds of training")
        _, first, every = recorded
        if first != self._first_batch:
            raise MessageOutOfOrder(f"RoundStart with first batch {first}; {self._first_batch} had been done before")
        self._round, self._batch, self._trained, self._has_ended = (phase, number), first - 1, number, False
        self._skipped, self._first_batch = first, 0
        if phase == Phase.TRAIN and every:
            self._history.start(number, first, self._version)

    def _end_batch(self, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """The collaborator goes on to the next batch, or to the end of the round."""
        phase, number, batch = at
        if self._has_ended or batch != self._batch + 1 or (message_type is EpochEnd and recorded != (batch,)):
            refuse(C, message_type, f"it is of batch {batch + 1} after {self._batch + 1} batches")
        if not self._is_done(phase, number, batch):
            refuse(C, message_type, "the host had not ended the batch before")
        if phase == Phase.TRAIN:
            self._history.done(number, batch)
        if message_type is EpochEnd:
            self._has_ended = True
        else:
            self._batch = batch

    def _is_done(self, phase: int, number: int, batches: int) -> bool:
        """Whether the host has ended so many batches of a training round; test batches have no end."""
        if batches == self._skipped or phase != Phase.TRAIN or not self._scheme.awaits_step:
            return True
        return (phase, number, batches - 1) in (self._seen.get((H, each)) for each in self._scheme.batch_ends)

    def _check_answer(
        self, sender: Sender, message_type: MessageType, answered: tuple[MessageType, ...], at: At
    ) -> None:
        for each in answered:
            seen = self._seen.get((sender.other, each))
            if seen is not None and seen[:2] == at[:2] and seen[2] >= at[2]:
                return
        names = " or ".join(each.__name__ for each in answered)
        refuse(sender, message_type, f"it answers {names}, which had not come")

    # What single types ask for ---------------------------------------------------------------------------------------

    def _check_details(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        if message_type in self._scheme.once_a_batch and self._seen.get((sender, message_type)) == at:
            refuse(sender, message_type, "there is one for each batch")
        if at[0] == Phase.PSI:
            self._psi.step(sender, message_type, recorded)
        elif message_type in (TaskFinished, FinishAcknowledged):
            if message_type is TaskFinished:
                self._rules.check_finished()
            if recorded != (self._trained,):
                refuse(sender, message_type, f"it is of {recorded[0]} rounds, and {self._trained} were trained")
        else:
            self._rules.check(sender, message_type, at, recorded)

    @property
    def _version(self) -> int | None:
        """Of the weights, if it is known."""
        return self._versions[0] if self._versions is not None and self._versions[0] == self._versions[1] else None

    def _check_version(self, sender: Sender, message_type: MessageType, at: At, version: int) -> None:
        # A resumed conversation says its first version itself, if there is none that it must have.
        low, high = self._versions or (version, version)
        is_step = message_type in self._scheme.steps
        # A step in several pieces moves the weights with its first.
        is_behind = message_type in self._scheme.behind_step or (is_step and self._stepped == at)
        if not low - is_behind <= version <= high - is_behind:
            problem = f"it is about version {version} of the weights, which are at version {high}"
            refuse(sender, message_type, problem)
        if is_step:
            self._stepped = at
        if not is_behind:
            self._versions = (version + is_step,) * 2

    def _offline(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        to = self._scheme.offline[sender].get((self._offline_states[sender], Phase.OFFLINE, message_type))
        is_set_up = self._at[H][0] > Phase.SETUP or self._states[H] is self._scheme.set_up[H]
        if to is None or not is_set_up:
            refuse(sender, message_type, "it may not come in the offline lane here")
        self._rules.check_offline(sender, message_type, recorded)
        self._offline_states[sender] = to

    # Signed heads ----------------------------------------------------------------------------------------------------

    def _sign(self, sender: Sender, message_type: MessageType, at: At) -> None:
        here = at[:2]
        if message_type is Countersignature:
            if not self._signing[sender]:
                refuse(sender, message_type, "its sender had not sent a Checkpoint")
            self._signing[sender], self._signed[sender] = False, here
            return
        phase = Phase(at[0])
        if self._signing[sender] or self._signed[sender] == here:
            refuse(sender, message_type, "there is one for each phase and round")
        if not self._is_boundary(sender, phase):
            refuse(sender, message_type, f"state {self._states[sender].name} is not a boundary")
        if phase in _ROUNDS:
            ended = self._seen.get((C, EpochEnd))
            if ended is None or ended[:2] != here:
                refuse(sender, message_type, "the round had not ended")
        self._history.over(phase, at[1], self._version)
        self._signing[sender] = True

    def _is_boundary(self, sender: Sender, phase: Phase) -> bool:
        return self._states[sender] in self._boundaries[sender].get(phase, frozenset())

    # The end ---------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """No more messages come: note in the history what had been reached without being signed."""
        phase, number = Phase(self._at[H][0]), self._at[H][1]
        is_over = self._at[C] == (phase, number) and all(self._is_boundary(sender, phase) for sender in Sender)
        if phase not in _ROUNDS:
            if is_over:
                self._history.over(phase, number, self._version)
        elif (phase, number) == self._round:
            if phase == Phase.TRAIN and self._is_done(phase, number, self._batch + 1):
                self._history.done(number, self._batch + 1)
            if is_over and self._has_ended:
                self._history.over(phase, number, self._version)
