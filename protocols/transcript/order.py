"""Follows one conversation message by message: the transition tables, and what holds across the two directions.

Legal in either party's order of events: a party sends an answer after it has received what it answers, and receives
one after it has sent it. So both ends' transcripts, and a running engine, can be checked by the same rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NoReturn

from protocols.agreement import Hello, Manifest, ManifestAccepted
from protocols.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.control import Abort
from protocols.envelope import Phase
from protocols.errors import MessageOutOfOrder
from protocols.masking.messages import (
    MAX_COUNT,
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
    TripleOperand,
    TripleProduct,
    TripleRequest,
)
from protocols.masking.triples import KINDS, TRAIN
from protocols.projection.messages import (
    CheckQuery,
    CheckReply,
    HostShare,
    InitialFactor,
    InitialShare,
    Projection,
    ProjectionKey,
    StepGradient,
    WeightGradient,
)
from protocols.projection.plain import PlainFeatures, PlainGradient
from protocols.projection.roles import StepSkipped
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.transitions import Stream
from protocols.training import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.chain import Sender
from protocols.transcript.facts import Facts
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.transitions import BOUNDARIES, OFFLINE, Kind, State, tables_for

H, C = Sender.HOST, Sender.COLLABORATOR
Place = tuple[int, int, int]
"""Phase, round, batch."""

_ROUNDS = (Phase.TRAIN, Phase.TEST)
_BEFORE_READY = frozenset(state for state in State if state.value < State.READY.value)
_BATCH_FEATURES = (Projection, MaskedFeatures, PlainFeatures)
_BATCH_ENDS = (HostShare, StepSkipped, MaskedStep, PlainGradient)

ANSWERS: Mapping[tuple[Sender, Kind], tuple[Kind, ...]] = {
    (H, Manifest): (Hello,),
    (C, ManifestAccepted): (Manifest,),
    (C, PsiDigests): (PsiOpen,),
    (H, SplitDigest): (SplitDigest,),
    (C, InitialFactor): (ProjectionKey,),
    (H, InitialShare): (InitialFactor,),
    (H, CheckQuery): (Projection,),
    (C, CheckReply): (CheckQuery,),
    (H, StepGradient): (Projection,),
    (C, WeightGradient): (StepGradient,),
    (H, HostShare): (InitialFactor, WeightGradient),
    (H, StepSkipped): _BATCH_FEATURES,
    (H, MaskedCheck): (MaskedFeatures,),
    (H, MaskedGradient): (MaskedGradientFeatures,),
    (H, MaskedStep): (MaskedGradientFeatures,),
    (H, PlainGradient): (PlainFeatures,),
    (C, FinishAcknowledged): (TaskFinished,),
    (H, Countersignature): (Checkpoint,),
    (C, Countersignature): (Checkpoint,),
}
"""A message that answers one of these, which the peer must have sent at the same place."""

ONCE_A_BATCH = frozenset({CheckQuery, MaskedCheck, PlainGradient, StepSkipped})
"""What the tables alone would let come again."""

ONE_TIME: Mapping[tuple[Sender, Kind], str] = {
    (H, MaskedShare): "M",
    (H, MaskedCheck): "M",
    (C, MaskedFeatures): "A",
    (C, MaskedGradientFeatures): "A'",
    (C, MaskedShare): "N",
    (H, MaskedGradient): "D",
    (H, MaskedStep): "G",
}
"""Which one-time mask of its triple a message uses up; `index` says whose triple, and each serves once."""


class TaskOrder:
    """Where one conversation stands.

    Args:
        scheme: "bfv", "paillier", "masked" or "plain".
        trainable: does the collaborator receive gradients?

    Attributes:
        is_finished: the task has ended as it should, signed by both.

    Raises:
        InvalidInput: another scheme.
    """

    def __init__(self, scheme: str, trainable: bool) -> None:
        self._tables = tables_for(scheme, trainable)
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
        self._trained = 0
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
        self._at[sender] = (phase, number)

    def _check_place(self, sender: Sender, kind: Kind, place: Place, facts: Facts) -> None:
        phase, number, batch = place
        if phase not in _ROUNDS:
            if number or batch:
                self._refuse(sender, kind, f"in phase {Phase(phase).name} there is no round or batch")
        elif kind is RoundStart:
            self._start_round(phase, number, batch)
        elif (phase, number) != self._round:
            self._refuse(sender, kind, "the host has not started this round")
        elif kind is BatchOpen or kind is EpochEnd:
            self._end_batch(kind, phase, number, batch, facts)
        elif batch != self._batch if sender is C else batch > self._batch:
            self._refuse(sender, kind, f"it is of batch {batch + 1}, but {self._batch + 1} have been opened")

    def _start_round(self, phase: int, number: int, batch: int) -> None:
        if number != self._trained + (phase == Phase.TRAIN) or batch:
            raise MessageOutOfOrder(f"RoundStart of round {number} after {self._trained} rounds of training")
        self._round, self._batch, self._trained, self._has_ended = (phase, number), -1, number, False

    def _end_batch(self, kind: Kind, phase: int, number: int, batch: int, facts: Facts) -> None:
        """The collaborator goes on to the next batch, or to the end of the round."""
        if self._has_ended or batch != self._batch + 1 or (kind is EpochEnd and facts != (batch,)):
            self._refuse(C, kind, f"it is of batch {batch + 1} after {self._batch + 1} batches")
        if batch and phase == Phase.TRAIN and self._awaits_step:
            ends = (self._seen.get((H, each)) for each in _BATCH_ENDS)
            if (phase, number, batch - 1) not in ends:
                self._refuse(C, kind, "the host had not ended the batch before")
        if kind is EpochEnd:
            self._has_ended = True
        else:
            self._batch = batch

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
        self._signing[sender] = True
