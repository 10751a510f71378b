"""Which message of schemes "bfv" and "paillier" may follow which. "(...)": only if the bottom model is trainable.

host            ALIGNED -ProjectionKey-> KEYED -InitialShare-> WEIGHTED -HostShare-> READY
                TRAINING (-CheckQuery-> CHECKING -EqualityProof-> TRAINING) -StepGradient-> STEPPED
                (-FeatureGradient-> GRADIENT) -HostShare-> TRAINING; or -StepSkipped-> TRAINING
collaborator    SHAPED -ProjectionKey-> KEYED -InitialFactor-> WEIGHTED (-CollaboratorShare->) READY
                OPENED -Projection-> PROJECTED (-CheckReply-> ANSWERED -EqualityConfirmation-> CHECKED)
                -WeightGradient-> GRADIENT (-CollaboratorShare->) STEPPED
resumed         the same from RESTORED on, where the keys are fresh and the weights as they were
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
    StepSkipped,
)
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.task.scheme_order import Moves, OrderState, SchemeOrder, moves
from protocols.task.scheme_order import State as S

H, C = Sender.HOST, Sender.COLLABORATOR


class EncryptedState(OrderState):
    """What has passed last, of these schemes' messages."""

    KEYED = auto()
    WEIGHTED = auto()
    PROJECTED = auto()
    CHECKING = auto()
    ANSWERED = auto()
    CHECKED = auto()
    STEPPED = auto()
    GRADIENT = auto()


E = EncryptedState
_PROJECTED = (E.PROJECTED, E.CHECKED)

_ANSWERS = {
    (C, InitialFactor): (ProjectionKey,),
    (H, InitialShare): (InitialFactor,),
    (H, CheckQuery): (Projection,),
    (C, CheckReply): (CheckQuery,),
    (H, EqualityProof): (CheckReply,),
    (C, EqualityConfirmation): (EqualityProof,),
    (H, StepGradient): (Projection,),
    (C, WeightGradient): (StepGradient,),
    (H, HostShare): (InitialFactor, ProjectionKey, WeightGradient),
    (H, StepSkipped): (Projection,),
}


def _host(trainable: bool) -> Moves:
    return {
        **moves(
            Phase.SETUP,
            (S.ALIGNED, ProjectionKey, E.KEYED),
            (E.KEYED, InitialShare, E.WEIGHTED),
            (S.RESTORED, ProjectionKey, E.WEIGHTED),
            (E.WEIGHTED, HostShare, S.READY),
        ),
        **moves(
            Phase.TRAIN,
            (S.TRAINING, CheckQuery, E.CHECKING),
            (E.CHECKING, EqualityProof, S.TRAINING),
            (S.TRAINING, StepSkipped, S.TRAINING),
            (S.TRAINING, StepGradient, E.STEPPED),
            *([(E.STEPPED, FeatureGradient, E.GRADIENT)] if trainable else []),
            (E.GRADIENT if trainable else E.STEPPED, HostShare, S.TRAINING),
        ),
        **moves(Phase.TEST, (S.TESTING, CheckQuery, E.CHECKING), (E.CHECKING, EqualityProof, S.TESTING)),
    }


def _collaborator(trainable: bool) -> Moves:
    forward = (
        (S.OPENED, Projection, E.PROJECTED),
        (E.PROJECTED, CheckReply, E.ANSWERED),
        (E.ANSWERED, EqualityConfirmation, E.CHECKED),
    )
    return {
        **moves(
            Phase.SETUP,
            (S.SHAPED, ProjectionKey, E.KEYED),
            (E.KEYED, InitialFactor, E.WEIGHTED if trainable else S.READY),
            (S.RESTORED, ProjectionKey, E.WEIGHTED if trainable else S.READY),
            *([(E.WEIGHTED, CollaboratorShare, S.READY)] if trainable else []),
        ),
        **moves(Phase.TEST, *forward),
        **moves(
            Phase.TRAIN,
            *forward,
            (_PROJECTED, WeightGradient, E.GRADIENT if trainable else E.STEPPED),
            *([(E.GRADIENT, CollaboratorShare, E.STEPPED)] if trainable else []),
        ),
    }


def encrypted_order(trainable: bool) -> SchemeOrder:
    """For a bottom model that is trained, or frozen."""
    return SchemeOrder(
        host_over=(S.TRAINING,),
        settled=(*_PROJECTED, E.STEPPED),
        tested=_PROJECTED,
        host=_host(trainable),
        collaborator=_collaborator(trainable),
        batch_ends=(HostShare, StepSkipped),
        answers=_ANSWERS,
        once_a_batch=frozenset({CheckQuery, StepSkipped}),
        steps=(StepGradient,),
        behind_step=(FeatureGradient, WeightGradient),
    )
