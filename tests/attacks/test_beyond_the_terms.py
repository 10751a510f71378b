"""A host that takes more than was agreed on: one round more, a wider layer, larger batches.

Before, only the host knew how long a run would be and how wide its layer; whatever it asked for was given. The same
messages under the terms of both parties are refused where they go too far, by a running party and by an auditor.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protocols.core.errors import MessageOutOfOrder
from protocols.task.order import TaskOrder
from protocols.task.terms import PairTerms, RunLimits
from protocols.transcript.format import Entry
from tests.protocols.task.test_order import entries, order_of, take
from tests.protocols.whole_task import Case

CASE = Case("plain", d=3, o=2, batches=(4, 4, 3), rounds=2)

TERMS = {
    "rounds declared": (PairTerms(max_rounds=1, width=2), "RoundStart", "round 2 of training, and at most 1"),
    "rounds allowed": (PairTerms(5, 2, RunLimits(rounds=1)), "RoundStart", "round 2 of training, and at most 1"),
    "width": (
        PairTerms(2, 2, RunLimits(width=1)),
        "FeatureShape",
        "a layer of 2 outputs",
    ),
    "width of features": (PairTerms(2, 0, RunLimits(width=2)), "FeatureShape", "a layer of 3 outputs"),
    "rows": (PairTerms(2, 2, RunLimits(rows=3)), "FeatureShape", "a batch of 4 samples, and the collaborator allows 3"),
}
WITHIN = {
    "nothing agreed, as before": None,
    "just enough": PairTerms(2, 2, RunLimits(width=2, rounds=2, rows=4)),
}


def taken(terms: PairTerms | None, messages: Sequence[Entry] | None = None) -> tuple[int, str]:
    """How many messages of the run pass, and why the next does not."""
    order = TaskOrder(order_of(CASE.scheme, CASE.trainable), terms=terms)
    run = list(entries(CASE) if messages is None else messages)
    for number, entry in enumerate(run):
        try:
            take(order, entry)
        except MessageOutOfOrder as error:
            return number, f"{entry.type}: {error}"
    assert order.is_finished
    return len(run), ""


@pytest.mark.parametrize("terms", WITHIN.values(), ids=WITHIN)
def test_a_run_within_the_terms_passes(terms: PairTerms | None) -> None:
    assert taken(terms) == (len(entries(CASE)), "")


@pytest.mark.parametrize(("terms", "kind", "problem"), TERMS.values(), ids=TERMS)
def test_what_goes_beyond_them_is_refused(terms: PairTerms, kind: str, problem: str) -> None:
    number, why = taken(terms)
    assert 0 < number < len(entries(CASE))
    assert why.startswith(kind)
    assert problem in why


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (0, "RoundStart: all batches of a round, and at most 2 were agreed on"),
        (3, "RoundStart: 3 batches of a round, and at most 2 were agreed on"),
        (2, "BatchOpen: 3 batches of a round, and at most 2 were agreed on"),
    ],
    ids=["all", "asked for", "sent"],
)
def test_a_round_has_no_more_batches_than_were_declared(wanted: int, problem: str) -> None:
    run = [
        each._replace(recorded=(wanted, *each.recorded[1:])) if each.type == "RoundStart" else each
        for each in entries(CASE)
    ]
    kind, _, why = problem.partition(": ")
    number, found = taken(PairTerms(max_batches=2), run)
    assert run[number].type == kind
    assert why in found


def test_a_later_batch_is_not_larger_either() -> None:
    order = TaskOrder(order_of("plain", True), terms=PairTerms(limits=RunLimits(rows=4)))
    (number, opened) = next(pair for pair in enumerate(entries(CASE)) if pair[1].type == "BatchOpen")
    for entry in entries(CASE)[:number]:
        take(order, entry)
    with pytest.raises(MessageOutOfOrder, match="a batch of 5 samples"):
        take(order, opened._replace(recorded=(5,)))
