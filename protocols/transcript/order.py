"""Follows one conversation message by message: the transition tables, and what holds across the two directions.

Legal in either party's order of events: a party sends an answer after it has received what it answers, and receives
one after it has sent it. So both ends' transcripts, and a running engine, can be checked by the same rules.
"""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.transitions import Stream
from protocols.schemes.masked.messages import (
    MAX_COUNT,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
    TripleOperand,
    TripleProduct,
    TripleRequest,
)
from protocols.schemes.masked.triples import KINDS, TRAIN
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen, EpochEnd
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.answers import ANSWERS, BATCH_ENDS, BEHIND_STEP, ONCE_A_BATCH, ONE_TIME, STEPS
from protocols.transcript.chain import Sender
from protocols.transcript.facts import VERSION_AT, Facts
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.past import Past
from protocols.transcript.transitions import (
    BOUNDARIES,
    OFFLINE,
    Kind,
    State,
    after_join,
    after_setup,
    tables_for,
)

H, C = Sender.HOST, Sender.COLLABORATOR
Place = tuple[int, int, int]
"""Phase, round, batch."""

_ROUNDS = (Phase.TRAIN, Phase.TEST)
_BEFORE_READY = frozenset(state for state in State if state.value < State.READY.value)


class TaskOrder:
    """Where one conversation stands.

    Args:
        scheme: "bfv", "paillier", "masked" or "plain".
        trainable: does the collaborator receive gradients?
        point: where the task goes on; None: at its beginning.
        past: of the conversations before, rewound to there; what this one adds is noted in it.

    Attributes:
        is_finished: the task has ended as it should, signed by both.

    Raises:
        InvalidInput: another scheme.
    """

    def __init__(
        self, scheme: str, trainable: bool, point: ResumePoint | None = None, past: Past | None = None
    ) -> None:
        self._tables = tables_for(scheme, trainable)
        self._scheme, self._point = scheme, point
        self._past = Past() if past is None else past
        self._is_masked, self._trainable = scheme == "masked", trainable
        self._awaits_step = scheme != "plain" or trainable
        self._states = dict.fromkeys(Sender, State.START)
        self._offline_states = dict.fromkeys(Sender, State.START)
        self._seen: dict[tuple[Sender, Kind], Place] = {}
        self._at: dict[Sender, tuple[int, int]] = dict.fromkeys(Sender, (int(Phase.JOIN), 0))
        self._signing = dict.fromkeys(Sender, False)
        self._signed: dict[Sender, tuple[int, int] | None] = dict.fromkeys(Sender, None)
        self._streams: dict[tuple[Sender, Kind], Stream] = {}
        self._round = (0, 0)  # as the host started it last
        self._batch = -1  # of the collaborator in this round
        self._trained, self._first_batch = 0, 0
        self._versions: tuple[int, int] | None = (0, 0)
        self._stepped: Place | None = None
        if point is not None and point.is_set_up:
            self._trained, self._first_batch = point.round - bool(point.batch), point.batch
            self._versions = self._past.versions(point)
        self._skipped = self._first_batch  # batches that were done before this conversation
        self._has_ended = False
        self._made = [0] * len(KINDS)
        self._owed: dict[Sender, deque[tuple[Kind, Facts]]] = {sender: deque() for sender in Sender}
        self._operands: dict[Sender, Facts] = {}
        self._masks: dict[tuple[str, int], int] = {}
        self._shares = 0

    @property
    def is_finished(self) -> bool:
        """Whether everything has been said."""
        at_end = all(self._signed[sender] == (Phase.FINISH, 0) for sender in Sender)
        return at_end and all(state is State.FINISHED for state in self._states.values())

    def step(self, sender: Sender, kind: Kind, place: Place, facts: Facts) -> None:
        """Take one message. After an error nothing that follows can be judged.

        Raises:
            MessageOutOfOrder: it may not come here. Says why.
        """
        if kind is Abort:
            return
        phase, number, _ = place
        if phase == Phase.OFFLINE:
            self._offline(sender, kind, facts)
            return
        if (phase, number) != self._at[sender]:
            self._leave(sender, phase, number)
        answers = ANSWERS.get((sender, kind))
        if answers is not None:
            self._check_answer(sender, kind, answers, place)
        if kind is Checkpoint or kind is Countersignature:
            self._sign(sender, kind, place)
        else:
            if self._signing[sender] or self._signed[sender] == (phase, number):
                self._refuse(sender, kind, "no message of a phase or round may follow its checkpoint")
            to = self._tables[sender].get((self._states[sender], phase, kind))
            if to is None:
                state = self._states[sender].name
                self._refuse(sender, kind, f"in state {state} of phase {Phase(phase).name} it may not come")
            self._check_place(sender, kind, place, facts)
            self._check_details(sender, kind, place, facts)
            if kind in VERSION_AT:
                self._check_version(sender, kind, place, facts[VERSION_AT[kind]])
            self._states[sender] = to
        self._seen[sender, kind] = place

    def _refuse(self, sender: Sender, kind: Kind, why: str) -> NoReturn:
        raise MessageOutOfOrder(f"{kind.__name__} of the {sender.role}: {why}")

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

    def _check_place(self, sender: Sender, kind: Kind, place: Place, facts: Facts) -> None:
        phase, number, batch = place
        if phase not in _ROUNDS:
            if number or batch:
                self._refuse(sender, kind, f"in phase {Phase(phase).name} there is no round or batch")
        elif kind is RoundStart:
            self._start_round(phase, number, batch, facts)
        elif (phase, number) != self._round:
            self._refuse(sender, kind, "the host has not started this round")
        elif kind is BatchOpen or kind is EpochEnd:
            self._end_batch(kind, phase, number, batch, facts)
        elif batch != self._batch if sender is C else batch > self._batch:
            self._refuse(sender, kind, f"it is of batch {batch + 1}, but {self._batch + 1} have been opened")

    def _start_round(self, phase: int, number: int, batch: int, facts: Facts) -> None:
        if number != self._trained + (phase == Phase.TRAIN) or batch:
            raise MessageOutOfOrder(f"RoundStart of round {number} after {self._trained} rounds of training")
        _, first, every = facts
        if first != self._first_batch:
            raise MessageOutOfOrder(f"RoundStart with first batch {first}; {self._first_batch} had been done before")
        self._round, self._batch, self._trained, self._has_ended = (phase, number), first - 1, number, False
        self._skipped, self._first_batch = first, 0
        if phase == Phase.TRAIN and every:
            self._past.start(number, first, self._version)

    def _end_batch(self, kind: Kind, phase: int, number: int, batch: int, facts: Facts) -> None:
        """The collaborator goes on to the next batch, or to the end of the round."""
        if self._has_ended or batch != self._batch + 1 or (kind is EpochEnd and facts != (batch,)):
            self._refuse(C, kind, f"it is of batch {batch + 1} after {self._batch + 1} batches")
        if not self._is_done(phase, number, batch):
            self._refuse(C, kind, "the host had not ended the batch before")
        if phase == Phase.TRAIN:
            self._past.done(number, batch)
        if kind is EpochEnd:
            self._has_ended = True
        else:
            self._batch = batch

    def _is_done(self, phase: int, number: int, batches: int) -> bool:
        """Whether the host has ended so many batches of a training round; test batches have no end."""
        if batches == self._skipped or phase != Phase.TRAIN or not self._awaits_step:
            return True
        return (phase, number, batches - 1) in (self._seen.get((H, each)) for each in BATCH_ENDS)

    def _check_answer(self, sender: Sender, kind: Kind, answers: tuple[Kind, ...], place: Place) -> None:
        for answered in answers:
            at = self._seen.get((sender.other, answered))
            if at is not None and at[0] == place[0] and at[1] == place[1] and at[2] >= place[2]:
                return
        names = " or ".join(answered.__name__ for answered in answers)
        self._refuse(sender, kind, f"it answers {names}, which had not come")

    # What single types ask for ---------------------------------------------------------------------------------------

    def _check_details(self, sender: Sender, kind: Kind, place: Place, facts: Facts) -> None:
        if kind in ONCE_A_BATCH and self._seen.get((sender, kind)) == place:
            self._refuse(sender, kind, "there is one for each batch")
        if place[0] == Phase.PSI:
            self._psi(sender, kind, facts)
        elif self._is_masked and (mask := ONE_TIME.get((sender, kind))) is not None:
            self._use_mask(sender, kind, mask, place[0], facts[0])
        elif kind is TaskFinished and any(self._owed.values()):
            self._refuse(sender, kind, "one-time masks were asked for and not made to the end")
        elif kind in (TaskFinished, FinishAcknowledged) and facts != (self._trained,):
            self._refuse(sender, kind, f"it is of {facts[0]} rounds, and {self._trained} were trained")

    @property
    def _version(self) -> int | None:
        """Of the weights, if it is known."""
        return self._versions[0] if self._versions is not None and self._versions[0] == self._versions[1] else None

    def _check_version(self, sender: Sender, kind: Kind, place: Place, version: int) -> None:
        # A resumed conversation says its first version itself, if there is none that it must have.
        low, high = self._versions or (version, version)
        is_behind = kind in BEHIND_STEP or (kind is MaskedStep and self._stepped == place)
        if not low - is_behind <= version <= high - is_behind:
            self._refuse(sender, kind, f"it is about version {version} of the weights, which are at version {high}")
        if kind in STEPS:
            self._stepped = place
        if not is_behind:
            self._versions = (version + (kind in STEPS),) * 2

    def _psi(self, sender: Sender, kind: Kind, facts: Facts) -> None:
        if kind is PsiOpen:
            if not all(facts):
                self._refuse(sender, kind, "a set and a chunk have at least one id")
            self._streams[sender, PsiPoints] = Stream(*facts)
            if sender is H:
                self._streams[C, PsiDigests] = Stream(*facts)
            return
        if kind is PsiResult:
            digests = self._streams.get((C, PsiDigests))
            if digests is None or not digests.complete or not self._streams[H, PsiPoints].complete:
                self._refuse(sender, kind, "it came before all points and digests")
            return
        stream = self._streams[sender, kind]
        if stream.complete or facts[0] != stream.next:
            self._refuse(sender, kind, f"chunk {facts[0]} came instead of {stream.next} of {stream.count}")
        if kind is PsiDigests:
            own, answered = self._streams[C, PsiPoints], self._streams[H, PsiPoints]
            if not own.complete or answered.next <= stream.next:
                self._refuse(sender, kind, "it answers points that had not come")
        stream.next += 1

    def _use_mask(self, sender: Sender, kind: Kind, mask: str, phase: int, index: int) -> None:
        # Training and test triples count apart. A share that is sent ahead of its batch is a training triple's.
        key = mask, phase
        if index <= self._masks.get(key, -1):
            self._refuse(sender, kind, f"mask {mask} of triple {index} has been used, or passed over, before")
        self._masks[key] = index
        if phase == Phase.TRAIN:
            self._use_share(sender, kind)

    def _use_share(self, sender: Sender, kind: Kind) -> None:
        """A piece of a training batch takes one MaskedShare of the host; none is ahead when the batch is stepped."""
        self._shares += ((sender, kind) == (H, MaskedShare)) - (kind is MaskedGradientFeatures)
        if self._shares < 0 or (self._shares and kind in (MaskedGradient, MaskedStep)):
            self._refuse(sender, kind, "there is not one MaskedShare of the host for each piece of the batch")

    def _offline(self, sender: Sender, kind: Kind, facts: Facts) -> None:
        to = OFFLINE[sender].get((self._offline_states[sender], Phase.OFFLINE, kind))
        if to is None or not self._is_masked or self._states[H] in _BEFORE_READY:
            self._refuse(sender, kind, "it may not come in the offline lane here")
        if kind is TripleRequest:
            self._ask(facts)
        elif not self._owed[sender] or self._owed[sender].popleft() != (kind, facts):
            self._refuse(sender, kind, "it is not the next of the one-time masks that the host has asked for")
        elif kind is TripleOperand:
            self._operands[sender] = facts
        elif facts > self._operands.get(sender.other, ()):
            self._refuse(sender, kind, "it answers a TripleOperand that had not come")
        self._offline_states[sender] = to

    def _ask(self, facts: Facts) -> None:
        kind, index, count = facts
        if any(self._owed.values()):
            raise MessageOutOfOrder("TripleRequest came before the masks that were asked for were made")
        if kind >= len(KINDS) or index != self._made[kind] or not 1 <= count <= MAX_COUNT:
            raise MessageOutOfOrder(f"TripleRequest is of {count} triples from {index} on, not of the next ones")
        self._made[kind] += count
        self._operands.clear()
        # The collaborator evaluates the first products, the host that of the feature gradient (masking/pool.py).
        is_train = KINDS[kind] == TRAIN
        by_collaborator = range(2 if is_train else 1)
        by_host = (2,) if is_train and self._trainable else ()
        for at in range(index, index + count):
            self._owed[H] += [(TripleOperand, (at, product)) for product in by_collaborator]
            self._owed[H] += [(TripleProduct, (at, product)) for product in by_host]
            self._owed[C] += [(TripleOperand, (at, product)) for product in by_host]
            self._owed[C] += [(TripleProduct, (at, product)) for product in by_collaborator]

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def _sign(self, sender: Sender, kind: Kind, place: Place) -> None:
        here = place[:2]
        if kind is Countersignature:
            if not self._signing[sender]:
                self._refuse(sender, kind, "its sender had not sent a Checkpoint")
            self._signing[sender], self._signed[sender] = False, here
            return
        phase = Phase(place[0])
        if self._signing[sender] or self._signed[sender] == here:
            self._refuse(sender, kind, "there is one for each phase and round")
        if self._states[sender] not in BOUNDARIES[sender].get(phase, frozenset()):
            self._refuse(sender, kind, f"state {self._states[sender].name} is not a boundary")
        if phase in _ROUNDS:
            ended = self._seen.get((C, EpochEnd))
            if ended is None or ended[:2] != here:
                self._refuse(sender, kind, "the round had not ended")
        self._past.over(phase, place[1], self._version)
        self._signing[sender] = True

    # The end ---------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """No more messages come: note in the past what had been reached without being signed."""
        phase, number = self._at[H]
        is_over = self._at[C] == (phase, number) and all(
            self._states[sender] in BOUNDARIES[sender].get(Phase(phase), frozenset()) for sender in Sender
        )
        if phase not in _ROUNDS:
            if is_over:
                self._past.over(Phase(phase), number, self._version)
        elif (phase, number) == self._round:
            if phase == Phase.TRAIN and self._is_done(phase, number, self._batch + 1):
                self._past.done(number, self._batch + 1)
            if is_over and self._has_ended:
                self._past.over(Phase(phase), number, self._version)
