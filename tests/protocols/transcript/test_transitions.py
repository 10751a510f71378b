"""The transition tables and the rules across directions: complete, and nothing passes that they do not allow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocols.catalogue import MESSAGE_TYPES
from protocols.control import Abort
from protocols.envelope import Phase
from protocols.errors import InvalidInput, MessageOutOfOrder
from protocols.ledger import LEDGER
from protocols.transcript.chain import Sender
from protocols.transcript.facts import FACTS
from protocols.transcript.format import Entry, parse
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.order import TaskOrder
from protocols.transcript.transitions import BOUNDARIES, OFFLINE, State, tables_for
from tests.protocols.transcript.transcript_lab import Case, texts_of, transcripts

SCHEMES = [(scheme, trainable) for scheme in ("bfv", "paillier", "masked", "plain") for trainable in (True, False)]
RUNS = [Case(), Case(trainable=False, skip=1), Case("masked"), Case("masked", trainable=False), Case("plain")]
TYPES = {kind.__name__: kind for kind in LEDGER}


def entries(case: Case, end: int = 0) -> list[Entry]:
    records = [parse(text, 1) for text in texts_of(transcripts(case)[end])[1:]]
    return [record for record in records if isinstance(record, Entry)]


def take(order: TaskOrder, entry: Entry) -> None:
    order.step(entry.sender, TYPES[entry.type], (entry.phase, entry.round, entry.batch), entry.facts)


def accepts(case: Case, run: list[Entry]) -> bool:
    order = TaskOrder(case.scheme, case.trainable)
    try:
        for entry in run:
            take(order, entry)
    except MessageOutOfOrder:
        return False
    return order.is_finished


@pytest.mark.parametrize(("scheme", "trainable"), SCHEMES)
def test_every_state_can_be_reached_and_leads_to_the_end(scheme: str, trainable: bool) -> None:
    for sender, table in tables_for(scheme, trainable).items():
        edges = {(state, to) for (state, _, _), to in table.items()}
        reached, ending = {State.START}, {State.FINISHED}
        for _ in State:
            reached |= {to for state, to in edges if state in reached}
            ending |= {state for state, to in edges if to in ending}
        assert {state for edge in edges for state in edge} == reached == ending
        assert all(BOUNDARIES[sender][phase] & reached for phase in Phase if phase is not Phase.OFFLINE)


def test_every_type_has_its_place_in_some_table() -> None:
    tables = [table for scheme, trainable in SCHEMES for table in tables_for(scheme, trainable).values()]
    placed = {kind for table in [*tables, *OFFLINE.values()] for _, _, kind in table}
    assert placed == {*MESSAGE_TYPES} - {Abort, Checkpoint, Countersignature}
    assert set(FACTS) <= set(LEDGER)


def test_an_unknown_scheme_has_no_tables() -> None:
    with pytest.raises(InvalidInput):
        TaskOrder("other", True)


@pytest.mark.parametrize("case", RUNS, ids=str)
@pytest.mark.parametrize("end", [0, 1], ids=["host's order", "collaborator's order"])
def test_real_runs_are_legal(case: Case, end: int) -> None:
    assert accepts(case, entries(case, end))


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_no_message_may_be_left_out_or_come_twice(case: Case) -> None:
    """But for checks, which the tables leave open, and for a piece of a batch of which there may be several."""
    run = entries(case)
    open_types = {"CheckQuery", "CheckReply", "MaskedCheck", "MaskedFeatures", "MaskedShare", "MaskedGradient"}
    open_types |= {"PlainGradient", "StepSkipped", "Abort"}
    for at, entry in enumerate(run):
        if entry.type not in open_types:
            assert not accepts(case, [*run[:at], *run[at + 1 :]]), (at, entry)
        assert not accepts(case, [*run[: at + 1], *run[at:]]), (at, entry)


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_no_two_messages_of_one_sender_may_change_places(case: Case) -> None:
    run = entries(case)
    for first, second in pairs(run):
        swapped = list(run)
        swapped[first], swapped[second] = run[second], run[first]
        if (run[first].type, run[first].facts) != (run[second].type, run[second].facts):
            assert not accepts(case, swapped), (run[first], run[second])


def pairs(run: list[Entry]) -> Iterator[tuple[int, int]]:
    """Neighbours in one direction of one lane."""
    last: dict[tuple[Sender, bool], int] = {}
    for at, entry in enumerate(run):
        lane = (entry.sender, entry.phase == Phase.OFFLINE)
        if lane in last:
            yield last[lane], at
        last[lane] = at


@pytest.mark.parametrize("case", [Case(rounds=1), Case("masked", rounds=1), Case("plain", rounds=1)], ids=str)
def test_every_state_refuses_every_type_that_its_table_lacks(case: Case) -> None:
    """At each point of a run, each type from each sender: all but those that a table allows there are refused."""
    run = entries(case)
    order = TaskOrder(case.scheme, case.trainable)
    tables = tables_for(case.scheme, case.trainable)
    tried = 0
    for entry in run:
        place = (entry.phase, entry.round, entry.batch)
        for sender in Sender:
            for kind in MESSAGE_TYPES:
                table = OFFLINE[sender] if entry.phase == Phase.OFFLINE else tables[sender]
                state = (order._offline_states if entry.phase == Phase.OFFLINE else order._states)[sender]
                if (state, entry.phase, kind) in table or kind in (Abort, Checkpoint, Countersignature):
                    continue
                tried += 1
                before = dict(order._at)
                facts = (0,) * (len(FACTS[kind][0]) if kind in FACTS else 0)
                with pytest.raises(MessageOutOfOrder):
                    order.step(sender, kind, place, facts)
                order._at = before
        take(order, entry)
    assert tried > 1000


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_an_abort_may_come_anywhere(case: Case) -> None:
    order = TaskOrder(case.scheme, case.trainable)
    for entry in entries(case):
        order.step(entry.sender, Abort, (entry.phase, entry.round, entry.batch), ())
        take(order, entry)
    assert order.is_finished


def test_a_mask_serves_once() -> None:
    case = Case("masked")
    run = entries(case)
    at = [i for i, entry in enumerate(run) if entry.type == "MaskedStep"]
    reused = run[at[1]]._replace(facts=(run[at[0]].facts[0], *run[at[1]].facts[1:]))
    order = TaskOrder("masked", True)
    for entry in run[: at[1]]:
        take(order, entry)
    with pytest.raises(MessageOutOfOrder, match="mask G of triple 0 has been used"):
        take(order, reused)
