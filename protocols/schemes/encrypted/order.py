"""Which message of schemes "bfv" and "paillier" may follow which. "(...)": not always, or, in the set-up, only if
the bottom model is trainable.

host            ALIGNED -SecretsCommitment-> COMMITTED -ProjectionKey-> KEYED -InitialShare-> WEIGHTED -HostShare->
                READY
                TRAINING (-CheckQuery-> CHECKING -EqualityProof-> TRAINING)
                (-RelationQuery-> ASKING -EqualityProof-> TRAINING) -StepGradient-> STEPPED
                -FeatureGradient-> GRADIENT -HostShare-> TRAINING; or -StepSkipped-> TRAINING
                before StepGradient (-FormQuery-> TESTING_FORM -EqualityConfirmation-> TRAINING)
collaborator    SHAPED -SecretsCommitment-> COMMITTED -ProjectionKey-> KEYED -InitialFactor-> WEIGHTED
                (-CollaboratorShare->) READY
both            behind READY, once each, unless resumed: one -RelationQuery-> ASKING -EqualityProof-> READY,
                the other -RelationReply-> VOUCHING -EqualityConfirmation-> READY
                OPENED (-ShareQuery-> TESTING_SHARE -EqualityConfirmation-> TESTED_SHARE)
                (-FormQuery-> TESTING_FORM -EqualityConfirmation-> TESTED_FORM) -Projection-> PROJECTED
                (-CheckReply-> ANSWERED -EqualityConfirmation-> CHECKED)
                (-RelationReply-> VOUCHING -EqualityConfirmation-> CHECKED)
                -WeightGradient-> GRADIENT -CollaboratorShare-> STEPPED
                before a checkpoint, once a step: behind a batch -ShareMark-> MARKED, or ENDED -ShareMark-> ENDED
                the host's (TRAINING -ShareMark-> TRAINING)
In the first batch of a round SecretsCommitment comes first, from both. Training batches are those of a trained bottom
model: a frozen one has batches of a test only (protocols/task/frozen_order.py).
resumed         the same from RESTORED on, where the keys are fresh and the weights as they were. Behind READY, once
                each: one -MarkQuery-> MARKING -EqualityConfirmation-> READY, the other -EqualityProof-> READY
"""

from __future__ import annotations

from enum import auto

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import (
    EqualityConfirmation,
    EqualityProof,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    SecretsCommitment,
    StepSkipped,
)
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    FeatureGradient,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import (
    FormQuery,
    MarkQuery,
    RelationQuery,
    RelationReply,
    ShareMark,
    ShareQuery,
)
from protocols.task.rounds import RoundStart
from protocols.task.scheme_order import (
    At,
    MessageType,
    Moves,
    OrderState,
    Recorded,
    SchemeOrder,
    SchemeRules,
    moves,
    refuse,
)
from protocols.task.scheme_order import State as S

H, C = Sender.HOST, Sender.COLLABORATOR


class EncryptedState(OrderState):
    """What has passed last, of these schemes' messages."""

    COMMITTED = auto()
    RECOMMITTED = auto()
    KEYED = auto()
    WEIGHTED = auto()
    PROJECTED = auto()
    TESTING_SHARE = auto()
    TESTED_SHARE = auto()
    CHECKING = auto()
    ANSWERED = auto()
    CHECKED = auto()
    STEPPED = auto()
    GRADIENT = auto()
    ASKING = auto()
    VOUCHING = auto()
    MARKING = auto()
    MARKED = auto()
    TESTING_FORM = auto()
    TESTED_FORM = auto()


E = EncryptedState
_PROJECTED = (E.PROJECTED, E.CHECKED)

_ANSWERS = {
    (C, InitialFactor): (ProjectionKey,),
    (H, InitialShare): (InitialFactor,),
    (H, CheckQuery): (Projection,),
    (C, CheckReply): (CheckQuery,),
    (H, EqualityProof): (CheckReply, ShareQuery, RelationReply, MarkQuery, FormQuery),
    (C, EqualityConfirmation): (EqualityProof,),
    (C, RelationQuery): (HostShare,),
    (C, MarkQuery): (HostShare,),
    (H, MarkQuery): (CollaboratorShare,),
    (H, FormQuery): (Projection,),
    (H, RelationReply): (RelationQuery,),
    (C, EqualityProof): (RelationReply, MarkQuery, FormQuery),
    (H, EqualityConfirmation): (EqualityProof,),
    (H, RelationQuery): (CollaboratorShare, Projection),
    (C, RelationReply): (RelationQuery,),
    (H, StepGradient): (Projection,),
    (C, WeightGradient): (StepGradient,),
    (H, HostShare): (InitialFactor, ProjectionKey, WeightGradient),
    (H, StepSkipped): (Projection,),
}


_HOST_TRAINS = moves(
    Phase.TRAIN,
    (S.TRAINING, SecretsCommitment, S.TRAINING),
    (S.TRAINING, ShareMark, S.TRAINING),
    (S.TRAINING, CheckQuery, E.CHECKING),
    ((S.TRAINING, E.CHECKING), EqualityProof, S.TRAINING),
    (S.TRAINING, RelationQuery, E.ASKING),
    (E.ASKING, EqualityProof, S.TRAINING),
    (S.TRAINING, FormQuery, E.TESTING_FORM),
    (E.TESTING_FORM, EqualityConfirmation, S.TRAINING),
    (S.TRAINING, StepSkipped, S.TRAINING),
    (S.TRAINING, StepGradient, E.STEPPED),
    (E.STEPPED, FeatureGradient, E.GRADIENT),
    (E.GRADIENT, HostShare, S.TRAINING),
)


def _asks_for_a_mark() -> tuple[tuple[S | E, MessageType, S | E], ...]:
    return (S.READY, MarkQuery, E.MARKING), (E.MARKING, EqualityConfirmation, S.READY)


def _host(trainable: bool) -> Moves:
    return {
        **moves(
            Phase.SETUP,
            (S.ALIGNED, SecretsCommitment, E.COMMITTED),
            (E.COMMITTED, ProjectionKey, E.KEYED),
            (E.KEYED, InitialShare, E.WEIGHTED),
            (S.RESTORED, SecretsCommitment, E.RECOMMITTED),
            (E.RECOMMITTED, ProjectionKey, E.WEIGHTED),
            (E.WEIGHTED, HostShare, S.READY),
            (S.READY, RelationReply, E.VOUCHING),
            (E.VOUCHING, EqualityConfirmation, S.READY),
            *([(S.READY, RelationQuery, E.ASKING), (E.ASKING, EqualityProof, S.READY)] if trainable else []),
            (S.READY, EqualityProof, S.READY),
            *(_asks_for_a_mark() if trainable else ()),
        ),
        **moves(
            Phase.TEST,
            (S.TESTING, SecretsCommitment, S.TESTING),
            (S.TESTING, CheckQuery, E.CHECKING),
            ((S.TESTING, E.CHECKING), EqualityProof, S.TESTING),
        ),
        **(_HOST_TRAINS if trainable else {}),
    }


_FORWARD = (
    (S.OPENED, SecretsCommitment, S.OPENED),
    (S.OPENED, ShareQuery, E.TESTING_SHARE),
    (E.TESTING_SHARE, EqualityConfirmation, E.TESTED_SHARE),
    ((S.OPENED, E.TESTED_SHARE), FormQuery, E.TESTING_FORM),
    (E.TESTING_FORM, EqualityConfirmation, E.TESTED_FORM),
    ((S.OPENED, E.TESTED_SHARE, E.TESTED_FORM), Projection, E.PROJECTED),
    (E.PROJECTED, CheckReply, E.ANSWERED),
    (E.ANSWERED, EqualityConfirmation, E.CHECKED),
)

_COLLABORATOR_TRAINS = moves(
    Phase.TRAIN,
    *_FORWARD,
    (_PROJECTED, RelationReply, E.VOUCHING),
    (E.VOUCHING, EqualityConfirmation, E.CHECKED),
    (_PROJECTED, EqualityProof, E.CHECKED),
    (_PROJECTED, WeightGradient, E.GRADIENT),
    (E.GRADIENT, CollaboratorShare, E.STEPPED),
    ((*_PROJECTED, E.STEPPED), ShareMark, E.MARKED),
    (S.ENDED, ShareMark, S.ENDED),
)


def _collaborator(trainable: bool) -> Moves:
    return {
        **moves(
            Phase.SETUP,
            (S.SHAPED, SecretsCommitment, E.COMMITTED),
            (E.COMMITTED, ProjectionKey, E.KEYED),
            (E.KEYED, InitialFactor, E.WEIGHTED if trainable else S.READY),
            (S.RESTORED, SecretsCommitment, E.RECOMMITTED),
            (E.RECOMMITTED, ProjectionKey, E.WEIGHTED if trainable else S.READY),
            *([(E.WEIGHTED, CollaboratorShare, S.READY)] if trainable else []),
            (S.READY, RelationQuery, E.ASKING),
            (E.ASKING, EqualityProof, S.READY),
            *([(S.READY, RelationReply, E.VOUCHING), (E.VOUCHING, EqualityConfirmation, S.READY)] if trainable else []),
            *_asks_for_a_mark(),
            *([(S.READY, EqualityProof, S.READY)] if trainable else []),
        ),
        **moves(Phase.TEST, *_FORWARD),
        **(_COLLABORATOR_TRAINS if trainable else {}),
    }


class CommitmentRules(SchemeRules):
    """Before the first projection of a round of training, both sides have committed to their secrets of it, once."""

    def __init__(self) -> None:
        self._owed = set[Sender]()

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """See the base."""
        if message_type is RoundStart and at[0] == Phase.TRAIN:
            self._owed = {H, C}
        elif message_type is SecretsCommitment and at[0] != Phase.SETUP:
            if sender not in self._owed:
                refuse(sender, message_type, "there is one for each round of training")
            self._owed.discard(sender)
        elif message_type is Projection and self._owed:
            roles = " and the ".join(sorted(each.role for each in self._owed))
            refuse(sender, message_type, f"the {roles} had not committed to secrets of this round")


_BEGINS = (CheckReply, ShareQuery, RelationReply, MarkQuery, FormQuery)
"""What carries the first element of a comparison."""


class EncryptedRules(CommitmentRules):
    """Set-up and steps let each side ask once about the other's share; every question has one reply, and one proof.

    Each side marks the other's share once behind a step, and asks for a mark once, where no first share is made.
    """

    def __init__(self) -> None:
        super().__init__()
        self._may_ask, self._may_mark = set[Sender](), set[Sender]()
        self._may_ask_for_marks = {H, C}
        self._owed_replies, self._owed_proofs = dict.fromkeys(Sender, 0), dict.fromkeys(Sender, 0)
        self._owed_confirmations = dict.fromkeys(Sender, 0)

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """See the base."""
        super().check(sender, message_type, at, recorded)
        if message_type in (InitialShare, StepGradient):
            self._may_ask = {H, C}
        elif message_type in (ShareQuery, RelationQuery):
            if sender not in self._may_ask:
                refuse(sender, message_type, f"the {sender.other.role}'s share has not moved since it was tested")
            self._may_ask.discard(sender)
        self._check_marks(sender, message_type)
        self._count(self._owed_replies, sender, message_type, (RelationQuery,), RelationReply)
        self._count(self._owed_proofs, sender, message_type, _BEGINS, EqualityProof)
        self._count(self._owed_confirmations, sender, message_type, (EqualityProof,), EqualityConfirmation)

    def _check_marks(self, sender: Sender, message_type: MessageType) -> None:
        if message_type is StepGradient:
            self._may_mark = {H, C}
        elif message_type is InitialShare:
            self._may_ask_for_marks = set()
        elif message_type is ShareMark or message_type is MarkQuery:
            allowed = self._may_mark if message_type is ShareMark else self._may_ask_for_marks
            if sender not in allowed:
                refuse(sender, message_type, "there is one for each step, or each resumption")
            allowed.discard(sender)

    @staticmethod
    def _count(
        owed: dict[Sender, int],
        sender: Sender,
        message_type: MessageType,
        asking: tuple[MessageType, ...],
        answer: MessageType,
    ) -> None:
        owed[sender.other] += message_type in asking
        owed[sender] -= message_type is answer
        if owed[sender] < 0:
            refuse(sender, message_type, "nothing was asked")


def encrypted_order(trainable: bool) -> SchemeOrder:
    """For a bottom model that is trained, or not: then set-up and tests are all (protocols/task/frozen_order.py)."""
    return SchemeOrder(
        host_over=(S.TRAINING,),
        settled=(*_PROJECTED, E.STEPPED, E.MARKED),
        tested=_PROJECTED,
        host=_host(trainable),
        collaborator=_collaborator(trainable),
        batch_ends=(HostShare, StepSkipped),
        answers=_ANSWERS,
        once_a_batch=frozenset({CheckQuery, FormQuery, StepSkipped}),
        steps=(StepGradient,),
        behind_step=(FeatureGradient, WeightGradient),
        rules=EncryptedRules,
    )
