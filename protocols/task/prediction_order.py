"""Which message may follow which in a prediction: the parties have trained, and predict with what they have.

    host            START -Manifest-> JOINED -PSI-> INTERSECTED -the scheme's set-up of a resumed task-> READY
                    -RoundStart (of phase TEST, round 0)-> TESTING ... -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED -PSI-> INTERSECTED -FeatureShape-> RESTORED
                    -the set-up-> READY -BatchOpen-> OPENED -its test messages-> ... -EpochEnd-> ENDED
                    -FinishAcknowledged-> FINISHED

The ids are those that the host asks about, so there is nothing to split. Where all parties hold none of them, the end
follows on PSI. There is one round, of test batches, and none that trains.
"""

from __future__ import annotations

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.layer.messages import FeatureShape
from protocols.task.alignment import BatchOpen, EpochEnd
from protocols.task.direction import Direction
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.task.scheme_order import SchemeOrder, Table, moves
from protocols.task.scheme_order import State as S

_OTHER = (Phase.ALIGN, Phase.TRAIN)
_ROUND = (RoundStart, BatchOpen, EpochEnd, FeatureShape, TaskFinished, FinishAcknowledged)


def prediction_table(sender: Sender, table: Table, scheme: SchemeOrder) -> Table:
    """A direction's table in a prediction, from that of a task."""
    kept = {edge: to for edge, to in table.items() if edge[1] not in _OTHER and edge[2] not in _ROUND}
    ready = scheme.set_up[sender]
    if sender is Sender.HOST:
        return {
            **kept,
            **moves(Phase.TEST, (ready, RoundStart, S.TESTING)),
            **moves(Phase.FINISH, ((S.INTERSECTED, S.TESTING), TaskFinished, S.FINISHED)),
        }
    tested = (ready, *scheme.tested)
    return {
        **kept,
        **moves(Phase.SETUP, (S.INTERSECTED, FeatureShape, scheme.restored[sender])),
        **moves(Phase.TEST, (tested, BatchOpen, S.OPENED), (tested, EpochEnd, S.ENDED)),
        **moves(Phase.FINISH, ((S.INTERSECTED, S.ENDED), FinishAcknowledged, S.FINISHED)),
    }


def restore_trained(direction: Direction, phase: int, scheme: SchemeOrder) -> None:
    """The host is about to set up again what was trained; the collaborator says its features' shape before that."""
    if phase == Phase.SETUP and direction.sender is Sender.HOST and direction.state is S.INTERSECTED:
        direction.state = scheme.restored[direction.sender]
