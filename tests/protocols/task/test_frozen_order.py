"""The order of a task with a frozen bottom model: rows that are new are shown, once, and nothing moves the weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.layer.messages import BatchClosed, FrozenRows, StepSkipped
from protocols.schemes.encrypted.messages import CheckQuery, FeatureGradient, Projection, StepGradient, WeightGradient
from protocols.schemes.masked.messages import MaskedGradient, MaskedGradientFeatures, MaskedStep
from protocols.schemes.plain.messages import PlainGradient
from protocols.schemes.registry import registered_scheme
from protocols.schemes.shares.messages import HostShare
from protocols.task.order import TaskOrder, tables_of
from protocols.transcript.format import Entry
from tests.protocols.task.test_order import entries, order_of, take_all
from tests.protocols.whole_task import Case

CASES = [Case(scheme, trainable=False, skip=1) for scheme in ("plain", "bfv", "masked")]
BACKWARD = (StepGradient, FeatureGradient, WeightGradient, StepSkipped, PlainGradient)
BACKWARD += (MaskedGradient, MaskedGradientFeatures, MaskedStep)
EVALUATIONS = {
    "PlainFeatures",
    "Projection",
    "CheckQuery",
    "CheckReply",
    "MaskedShare",
    "MaskedFeatures",
    "MaskedCheck",
}


@pytest.mark.parametrize("scheme", ["plain", "bfv", "paillier", "masked"])
def test_no_message_of_a_backward_pass_has_a_place(scheme: str) -> None:
    for table in tables_of(registered_scheme(scheme).task_order(trainable=False)).values():
        assert not {kind for _, _, kind in table} & set(BACKWARD)
        assert not any(kind is HostShare for _, phase, kind in table if phase != Phase.SETUP)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.scheme)
def test_rounds_after_the_first_carry_references_alone(case: Case) -> None:
    later = [entry for entry in entries(case) if entry.phase == Phase.TRAIN and entry.round == 2]
    expected = {"RoundStart", "BatchOpen", "FrozenRows", "BatchClosed", "EpochEnd", "Checkpoint", "Countersignature"}
    assert {entry.type for entry in later} == expected
    assert {entry.recorded for entry in later if entry.type == "FrozenRows"} == {(0,)}
    first = [entry for entry in entries(case) if entry.phase == Phase.TRAIN and entry.round == 1]
    assert [entry.recorded for entry in first if entry.type == "FrozenRows"] == [(4,), (4,), (3,)]
    assert sum(entry.type in EVALUATIONS for entry in first) >= 3


Edit = Callable[[list[Entry]], list[Entry]]


def at(run: list[Entry], kind: str, number: int = 0) -> int:
    """Where the message of this type and number is."""
    return [place for place, entry in enumerate(run) if entry.type == kind][number]


def new_rows(batch: int, count: int) -> Edit:
    """A batch says that it has so many new rows."""

    def edit(run: list[Entry]) -> list[Entry]:
        place = at(run, "FrozenRows", batch)
        return [*run[:place], run[place]._replace(recorded=(count,)), *run[place + 1 :]]

    return edit


def late_query(run: list[Entry]) -> list[Entry]:
    """A check is asked for when the batch is closed."""
    closed = at(run, "BatchClosed", 1)
    query = run[at(run, "CheckQuery")]
    return [*run[: closed + 1], query._replace(batch=run[closed].batch), *run[closed + 1 :]]


def closed_first(run: list[Entry]) -> list[Entry]:
    """The host closes the first batch before its rows have come."""
    shown, closed = at(run, "Projection"), at(run, "BatchClosed")
    return [*run[:shown], run[closed], *run[shown:closed], *run[closed + 1 :]]


def moved(run: list[Entry]) -> list[Entry]:
    """The second batch's rows are shown by other weights."""
    place = at(run, "Projection", 1)
    return [*run[:place], run[place]._replace(recorded=(1,)), *run[place + 1 :]]


EDITS: dict[str, tuple[Edit, str]] = {
    "rows that never come": (new_rows(4, 2), "BatchClosed .* 2 new rows of the batch before have not come"),
    "rows of a test that never come": (new_rows(-1, 0), "has no new rows"),
    "rows that are shown and not new": (new_rows(0, 0), "has no new rows"),
    "more new rows than the batch has": (new_rows(0, 5), "5 new rows in a batch of 4"),
    "a check behind the batch": (late_query, "has no new rows, or is closed"),
    "a batch that is closed too early": (closed_first, "have not come"),
    "weights that have moved": (moved, "weights, which are at version 0"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_cannot_be_is_refused(edit: str) -> None:
    change, why = EDITS[edit]
    case = CASES[1]
    with pytest.raises(MessageOutOfOrder, match=why):
        take_all(TaskOrder(order_of(case.scheme, case.trainable)), change(entries(case)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.scheme)
def test_every_training_batch_is_closed_by_the_host(case: Case) -> None:
    run = entries(case)
    for number in range(5):
        place = at(run, "BatchClosed", number)
        with pytest.raises(MessageOutOfOrder, match="the host had not ended the batch before"):
            take_all(TaskOrder(order_of(case.scheme, case.trainable)), [*run[:place], *run[place + 1 :]])


@pytest.mark.parametrize("kind", [FrozenRows, BatchClosed])
def test_a_trained_model_has_no_such_messages(kind: type) -> None:
    for scheme in ("plain", "bfv", "paillier", "masked"):
        tables = tables_of(registered_scheme(scheme).task_order(trainable=True))
        assert not any(kind is each for sender in (H, C) for _, _, each in tables[sender])
    assert {each for _, _, each in tables_of(order_of("bfv", False))[C]} >= {FrozenRows, Projection}
    assert {each for _, _, each in tables_of(order_of("bfv", False))[H]} >= {BatchClosed, CheckQuery}
