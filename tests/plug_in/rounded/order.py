"""Which message of scheme "rounded" may follow which.

host            TRAINING -RoundedGradient | StepSkipped-> TRAINING         only if the bottom model is trainable
collaborator    OPENED -RoundedFeatures-> PROJECTED
"""

from __future__ import annotations

from enum import Enum, auto

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import StepSkipped
from protocols.task.scheme_order import SchemeOrder, moves
from protocols.task.scheme_order import State as S
from rounded.messages import RoundedFeatures, RoundedGradient

_SET_UP = {Sender.HOST: S.ALIGNED, Sender.COLLABORATOR: S.SHAPED}
_REPLIES = (RoundedGradient, StepSkipped)


class RoundedState(Enum):
    """What has passed last, of this scheme's messages."""

    PROJECTED = auto()


def rounded_order(trainable: bool) -> SchemeOrder:
    """For a bottom model that is trained, or frozen."""
    projected = RoundedState.PROJECTED
    replies = [(S.TRAINING, reply, S.TRAINING) for reply in _REPLIES] if trainable else []
    return SchemeOrder(
        host_over=(S.TRAINING,),
        settled=(projected,),
        tested=(projected,),
        host=moves(Phase.TRAIN, *replies),
        collaborator={
            **moves(Phase.TRAIN, (S.OPENED, RoundedFeatures, projected)),
            **moves(Phase.TEST, (S.OPENED, RoundedFeatures, projected)),
        },
        set_up=_SET_UP,
        restored=_SET_UP,
        awaits_step=trainable,
        batch_ends=_REPLIES,
        answers={(Sender.HOST, reply): (RoundedFeatures,) for reply in _REPLIES},
        once_a_batch=frozenset(_REPLIES),
    )
