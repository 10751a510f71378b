"""What a task will tell whom, before anybody has agreed to it: the ledger of a run that sends all its scheme may send.

The ledger of a run that was (`run_ledger`) goes by what crossed the wire. This one takes the tables by which the same
auditor checks it, so a run that keeps to them cannot tell more than stands here.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.schemes.registry import registered_scheme
from protocols.task.order import tables_of
from protocols.task.scheme_order import SchemeOrder
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.transcript.run_ledger import Crossed, RunLedger, ledger_of_run

_IN_ROUNDS = (Phase.TRAIN, Phase.TEST)


def expected_ledger(
    scheme: str, host: str, collaborator: str, rounds: int, *, is_trained: bool, summed: tuple[str, ...] = ()
) -> RunLedger:
    """The ledger of the two parties' part of a task that goes as planned.

    Args:
        scheme: of a registered name.
        host, collaborator: their names.
        rounds: of training, 1 or more; each with a test.
        is_trained: whether the collaborator's bottom model is trained, and so shown gradients.
        summed: the collaborators whose projections the host gets the sum of; empty: it gets each by itself.
    """
    order = registered_scheme(scheme).task_order(is_trained)
    crossed = {each for each in _crossing(order, rounds) if summed or each.type not in (SumKey, SumKeys)}
    return ledger_of_run(host, collaborator, crossed, order.steps, summed=summed)


def _crossing(order: SchemeOrder, rounds: int) -> Iterator[Crossed]:
    for sender, table in tables_of(order).items():
        for _, phase, message_type in table:
            numbers = range(1, rounds + 1) if phase in _IN_ROUNDS else (0,)
            yield from (Crossed(sender, message_type, number) for number in numbers)
    for sender in Sender:
        for _, _, message_type in order.offline.get(sender, ()):
            yield Crossed(sender, message_type, 0)
