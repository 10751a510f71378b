"""Which message of scheme "plain" may follow which.

host            TRAINING -PlainGradient | StepSkipped-> TRAINING         only if the bottom model is trainable
collaborator    OPENED -PlainFeatures-> PROJECTED

Nothing is sent to set it up, for the first time or again.
"""

from __future__ import annotations

from enum import auto

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import StepSkipped
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient
from protocols.task.scheme_order import OrderState, SchemeOrder, moves
from protocols.task.scheme_order import State as S

_SET_UP = {Sender.HOST: S.ALIGNED, Sender.COLLABORATOR: S.SHAPED}


class PlainState(OrderState):
    """What has passed last, of this scheme's messages."""

    PROJECTED = auto()


def plain_order(trainable: bool) -> SchemeOrder:
    """For a bottom model that is trained, or frozen."""
    replies = [(S.TRAINING, reply, S.TRAINING) for reply in (PlainGradient, StepSkipped)] if trainable else []
    projected = PlainState.PROJECTED
    return SchemeOrder(
        host_over=(S.TRAINING,),
        settled=(projected,),
        tested=(projected,),
        host=moves(Phase.TRAIN, *replies),
        collaborator={
            **moves(Phase.TRAIN, (S.OPENED, PlainFeatures, projected)),
            **moves(Phase.TEST, (S.OPENED, PlainFeatures, projected)),
        },
        set_up=_SET_UP,
        restored=_SET_UP,
        awaits_step=trainable,
        batch_ends=(StepSkipped, PlainGradient),
        answers={(Sender.HOST, reply): (PlainFeatures,) for reply in (StepSkipped, PlainGradient)},
        once_a_batch=frozenset({PlainGradient, StepSkipped}),
    )
