"""Which message may follow which in a prediction: the parties have trained, and predict with what they have.

    host            START -Manifest-> JOINED -PSI-> INTERSECTED -the scheme's set-up of a resumed task-> READY
                    -RoundStart (of phase TEST, round 0)-> TESTING ... -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED -PSI-> INTERSECTED -FeatureShape-> RESTORED
                    -the set-up-> READY -BatchOpen-> OPENED -its test messages-> ... -EpochEnd-> ENDED
                    -FinishAcknowledged-> FINISHED

On line (a session that stays open): protocols/task/online_order.py.

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


def without_training(table: Table) -> Table:
    """What stays of a direction's table of a task: joining, PSI, and what a scheme says in its set-up and tests."""
    return {edge: to for edge, to in table.items() if edge[1] not in _OTHER and edge[2] not in _ROUND}


def prediction_table(sender: Sender, table: Table, scheme: SchemeOrder) -> Table:
    """A direction's table in a prediction, from that of a task."""
    kept = without_training(table)
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


def restore_trained(direction: Direction, phase: int, scheme: SchemeOrder, is_online: bool) -> None:
    """The host is about to set up again what was trained; the collaborator says its features' shape before that.

    In an on-line session the host sends nothing in PSI but its signed head.
    """
    behind = (Phase.PSI, S.JOINED) if is_online else (Phase.PSI, S.INTERSECTED)
    is_host = direction.sender is Sender.HOST
    if phase == Phase.SETUP and is_host and (direction.stretch[0], direction.state) == behind:
        direction.state = scheme.restored[direction.sender]
