"""An on-line session in memory, in every scheme: what it computes, its order, and what an auditor says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.known_messages import MESSAGE_TYPES
from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput, MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.he.interface import as_signed
from protocols.layer.pads import total
from protocols.lookup import LookupRefused
from protocols.schemes.registry import registered_scheme
from protocols.task.abort import Abort
from protocols.task.order import Purpose, TaskOrder, tables_of
from protocols.transcript.format import Entry
from protocols.transcript.messages import Checkpoint, Countersignature
from tests.protocols.lookup.online_task import Online
from tests.protocols.task.test_order import changed, entries_of, pairs, take, take_all
from tests.protocols.transcript.recorded_runs import check
from tests.protocols.whole_task import Case, Saved, Task

LARGE = 10 * 2**48
"""In steps of a result: larger than any projection here. Four uniform numbers are all below it once in 10^8 times."""

CASES = (*map(Case, ("bfv", "masked", "plain")), Case("masked", names=("patient", "shop")))


@lru_cache
def saved(case: Case) -> Saved:
    return Task(case).run().saved[-1]


@dataclass
class Session:
    """What is left of one. Answers: of each collaborator."""

    first: list[Any]
    alone: list[Any]
    again: list[Any]
    files: list[tuple[bytes, bytes]]
    views: list[list[Any]]


@lru_cache
def session(case: Case) -> Session:
    """Two rounds: a lookup and two batches of it, one of them again; then a lookup that finds nothing, and a batch."""
    run = Online(case, saved(case)).begin()
    run.start()
    found = run.find(["id3", "nobody", "id7"])
    assert [list(each >= 0) for each in found] == [[True, False, True]] * len(found)
    both = [each[[0, 2]] for each in found]
    first = run.ask(["id3", "id7"], both)
    alone = run.ask(["id7"], [each[1:] for each in both])
    run.end()
    run.start()
    assert all((each < 0).all() for each in run.find(["id99"]))
    again = run.ask(["id7", "id3"], [each[::-1] for each in both])
    run.end()
    run.finish()
    files = [(line.wire.files[H], line.wire.files[C]) for line in run.lines]
    return Session(first, alone, again, files, list(run.views.values()))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_are_answered_alike_whenever_they_are_asked_for_and_transcripts_hold(case: Case) -> None:
    run = session(case)
    for first, alone, again in zip(run.first, run.alone, run.again, strict=True):
        assert len(first) == 2
        assert np.array_equal(first[1:], alone), "the same question had another answer"
        assert np.array_equal(first[::-1], again)
    assert run.views == [[3, ("id3", "id7"), ("id7",), 1, ("id7", "id3")]] * len(case.names)
    for files in run.files:
        report = check(*files)
        assert report.holds, report.findings
        assert report.manifests[0].terms["session"].startswith("on line")
        ledger = report.ledger
        assert ledger is not None
        assert any("which of the sample ids that it looks up" in said for said in ledger.host_learned)
        assert any("how often, and when" in said for said in ledger.collaborator_learned)
        assert any("how many sample ids hospital looks up" in said for said in ledger.collaborator_learned)
        assert any("how many sample ids predictions can be asked of" in said for said in ledger.both_learned)


def test_a_budget_refuses_by_name_and_the_session_goes_on() -> None:
    case = Case("plain", names=("patient", "shop"))
    run = Online(case, saved(case), spent={"id3"}, left=3, asked_limit=3, prediction_limit=1).begin()
    run.start()
    found = run.find(["id3", "id7"])
    answers = run.ask(["id3", "id7"], found)
    assert list(answers[0]) == [True, False]
    assert answers[1].shape[0] == 2, "the other collaborator has answered"
    assert run.ask(["id7"], [each[1:] for each in found])[0].shape[0] == 1
    refused, others = run.find(["id1", "id2"])
    assert refused == LookupRefused(1)
    assert (others >= 0).all()
    assert (run.find(["id1"])[0] >= 0).all()
    run.end()
    run.finish()
    seen = set()
    for line in run.lines:
        report = check(line.wire.files[H], line.wire.files[C])
        assert report.holds, report.findings
        seen |= {key[1] for key in report.by_type}
    of_lookups = {kind.__name__ for kind in MESSAGE_TYPES if kind.__module__ == "protocols.lookup.messages"}
    assert len(of_lookups) == 8
    assert of_lookups <= seen


@pytest.mark.parametrize("scheme", ["bfv", "masked"])
def test_a_sum_is_of_the_same_rows_of_all_collaborators_or_is_nothing(scheme: str) -> None:
    """Also behind a batch that one of them has refused."""
    case = Case(scheme, names=("patient", "shop"), is_summed=True)
    run = Online(case, saved(case), spent={"id9"}).begin()
    run.start()
    found = run.find(["id3", "id7", "id9"])
    first = run.sum_of(["id3", "id7"], [each[:2] for each in found])
    assert np.abs(first).max() < 10
    refused, shown = run.ask(["id3", "id7", "id9"], found)
    assert list(refused) == [False, False, True]
    assert np.abs(as_signed(shown)).max() > LARGE, "a summand by itself is uniform"
    assert np.array_equal(run.sum_of(["id3"], [each[:1] for each in found]), first[:1])
    mixed = total(run.ask(["id7", "id3"], [found[0][[1, 0]], found[1][:2]], last=["id3", "id7"]))
    assert np.abs(as_signed(mixed)).max() > LARGE, "rows of different samples were added"
    run.end()
    run.finish()
    for line in run.lines:
        report = check(line.wire.files[H], line.wire.files[C])
        assert report.holds, report.findings
        assert report.ledger is not None
        assert "the sum of their projections" in report.ledger.host_may_infer[0]


def test_a_session_without_a_request_is_complete() -> None:
    case = Case("plain")
    run = Online(case, saved(case)).begin()
    run.finish()
    assert check(run.wire.files[H], run.wire.files[C]).holds


# Order ----------------------------------------------------------------------------------------------------------------


def order_of(case: Case) -> TaskOrder:
    return TaskOrder(registered_scheme(case.scheme).prediction_order(), purpose=Purpose.ONLINE)


def accepts(case: Case, run: list[Entry]) -> bool:
    order = order_of(case)
    try:
        for entry in run:
            take(order, entry)
    except MessageOutOfOrder:
        return False
    return order.is_finished


ORDERED = CASES[:2]


@pytest.mark.parametrize("case", ORDERED, ids=str)
def test_sessions_are_legal_at_both_ends_and_nothing_may_be_left_out_or_come_twice(case: Case) -> None:
    host, collaborator = map(entries_of, session(case).files[0])
    assert accepts(case, host)
    assert accepts(case, collaborator)
    # Whether ids are looked up, and rows asked for, is open; one message of a pair by itself never fits.
    free = {"CheckQuery", "MaskedCheck", "MaskedShare", "MaskedFeatures", "Abort"}
    for at, entry in enumerate(host):
        if entry.type not in free:
            assert not accepts(case, [*host[:at], *host[at + 1 :]]), (at, entry)
        assert not accepts(case, [*host[: at + 1], *host[at:]]), (at, entry)
    for first, second in pairs(host):
        swapped = list(host)
        swapped[first], swapped[second] = host[second], host[first]
        if (host[first].type, host[first].recorded) != (host[second].type, host[second].recorded):
            assert not accepts(case, swapped), (host[first], host[second])


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("PopulationOpen", {"recorded": (0, 4)}),
        ("PopulationOpen", {"recorded": (99, 4)}),
        ("PopulationDigests", {"recorded": (1,)}),
        ("LookupReplies", {"recorded": (2,)}),
        ("LookupPoints", {"batch": 1}),
        ("LookupPoints", {"round": 2}),
        ("LookupReplies", {"batch": 1}),
        ("RowsAsked", {"recorded": (3,)}),
        ("RowsAsked", {"batch": 1}),
        ("BatchOpen", {"recorded": (1,)}),
        ("BatchOpen", {"batch": 1}),
        ("RequestsOver", {"recorded": (1,)}),
        ("EpochEnd", {"recorded": (1,)}),
        ("RoundStart", {"round": 2}),
        ("RoundStart", {"round": 0}),
        ("RoundStart", {"recorded": (1, 0, 0)}),
        ("RoundStart", {"phase": int(Phase.TRAIN)}),
        ("TaskFinished", {"recorded": (1,)}),
    ],
)
def test_a_message_with_other_numbers_is_refused(kind: str, fields: dict[str, Any]) -> None:
    case = CASES[2]
    assert not accepts(case, changed(entries_of(session(case).files[0][0]), kind, **fields))


@pytest.mark.parametrize("case", ORDERED, ids=str)
def test_every_state_refuses_every_type_that_its_table_lacks(case: Case) -> None:
    order, tables = order_of(case), tables_of(registered_scheme(case.scheme).prediction_order(), Purpose.ONLINE)
    tried = 0
    for entry in entries_of(session(case).files[0][0]):
        place = (entry.phase, entry.round, entry.batch)
        for sender in Sender if entry.phase != Phase.OFFLINE else ():
            direction = order._directions[sender]
            before = direction.stretch
            for kind in MESSAGE_TYPES:
                if (direction.state, entry.phase, kind) not in tables[sender] and kind not in (
                    Abort,
                    Checkpoint,
                    Countersignature,
                ):
                    tried += 1
                    with pytest.raises(MessageOutOfOrder):
                        order.step(sender, kind, place, (0,) * len(wire_format(kind).recorded))
                    direction.stretch = before
        take(order, entry)
    assert tried > 1000


def test_sessions_of_another_kind_do_not_pass_as_this_one() -> None:
    case = CASES[2]
    run = entries_of(session(case).files[0][0])
    scheme = registered_scheme(case.scheme).prediction_order()
    for purpose in (Purpose.TRAINING, Purpose.PREDICTION):
        order = TaskOrder(scheme, purpose=purpose)
        with pytest.raises(MessageOutOfOrder):
            take_all(order, run)


def test_only_a_prediction_is_on_line() -> None:
    case = CASES[2]
    manifest = Online(case, saved(case)).begin().manifest
    assert manifest.is_online
    with pytest.raises(InvalidInput, match="only a prediction is on line"):
        replace(manifest, trained=b"", prediction_limits=(), asked_limits=())
    with pytest.raises(InvalidInput, match="is_online must be true or false"):
        replace(manifest, is_online=1)  # type: ignore[arg-type]
