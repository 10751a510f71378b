"""The order of every scheme's task: complete, and nothing passes that it does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from benchmarks.harness.known_messages import MESSAGE_TYPES
from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput, MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.core.wire_format import wire_format
from protocols.schemes.registry import registered_scheme
from protocols.task.abort import Abort
from protocols.task.history import History
from protocols.task.order import Purpose, TaskOrder, boundaries_of, tables_of
from protocols.task.resumed_order import after_join
from protocols.task.resumption import ResumePoint
from protocols.task.scheme_order import SchemeOrder, State
from protocols.transcript.format import Entry, parse
from protocols.transcript.messages import Checkpoint, Countersignature
from tests.protocols.transcript.interrupted_runs import Run
from tests.protocols.transcript.recorded_runs import texts_of, transcripts
from tests.protocols.whole_task import Case

SCHEMES = [(scheme, trainable) for scheme in ("bfv", "paillier", "masked", "plain") for trainable in (True, False)]
RUNS = [Case(), Case(trainable=False, skip=1), Case("masked"), Case("masked", trainable=False), Case("plain")]
RUNS.append(Case("plain", rounds=1, buckets=2))
POINTS = [
    ResumePoint(Phase.PSI),
    ResumePoint(Phase.SETUP),
    ResumePoint(Phase.TRAIN, 1, 2),
    ResumePoint(Phase.TRAIN, 1),
    ResumePoint(Phase.TEST, 1),
]
OPEN_TYPES = {"CheckQuery", "MaskedCheck", "MaskedFeatures", "MaskedShare", "MaskedGradient"}
OPEN_TYPES |= {"PlainGradient", "StepSkipped", "Abort", "ShareMark"}
TYPES = {kind.__name__: kind for kind in MESSAGE_TYPES}


def recorded(entry: Entry) -> tuple[str, ...]:
    """Names of what an entry repeats of its message."""
    return wire_format(TYPES[entry.type]).recorded


def order_of(scheme: str, trainable: bool) -> SchemeOrder:
    return registered_scheme(scheme).task_order(trainable)


def entries(case: Case, end: int = 0) -> list[Entry]:
    return entries_of(transcripts(case)[end])


def entries_of(file: bytes) -> list[Entry]:
    records = [parse(text, 1) for text in texts_of(file)[1:]]
    return [record for record in records if isinstance(record, Entry)]


def take(order: TaskOrder, entry: Entry) -> None:
    order.step(entry.sender, TYPES[entry.type], (entry.phase, entry.round, entry.batch), entry.recorded)


def take_all(order: TaskOrder, run: list[Entry]) -> None:
    for entry in run:
        take(order, entry)


def accepts(case: Case, run: list[Entry]) -> bool:
    order = TaskOrder(order_of(case.scheme, case.trainable))
    try:
        for entry in run:
            take(order, entry)
    except MessageOutOfOrder:
        return False
    return order.is_finished


@pytest.mark.parametrize(("scheme", "trainable"), SCHEMES)
def test_every_state_can_be_reached_and_leads_to_the_end(scheme: str, trainable: bool) -> None:
    order = order_of(scheme, trainable)
    states = {state for table in tables_of(order).values() for edge in table for state in (edge[0], table[edge])}
    for sender, table in tables_of(order).items():
        edges = {(state, to) for (state, _, _), to in table.items()}
        restored = {state for point in POINTS for state in after_join(order, point)[1].values()}
        reached, ending = {State.START, *(restored if scheme != "plain" else ())}, {State.FINISHED}
        for _ in states:
            reached |= {to for state, to in edges if state in reached}
            ending |= {state for state, to in edges if to in ending}
        assert {state for edge in edges for state in edge} == reached == ending
        assert all(boundaries_of(order)[sender][phase] & reached for phase in Phase if phase is not Phase.OFFLINE)


def test_every_type_has_its_place_in_some_table() -> None:
    orders = [order_of(scheme, trainable) for scheme, trainable in SCHEMES]
    purposes = Purpose.TRAINING, Purpose.ONLINE, Purpose.OVERLAP
    tables = [table for order in orders for purpose in purposes for table in tables_of(order, purpose).values()]
    tables += [table for order in orders for table in order.offline.values()]
    placed = {kind for table in tables for _, _, kind in table}
    assert placed == {*MESSAGE_TYPES} - {Abort, Checkpoint, Countersignature}


def test_an_unknown_scheme_has_no_order() -> None:
    with pytest.raises(InvalidInput):
        registered_scheme("other")


@pytest.mark.parametrize("case", RUNS, ids=str)
@pytest.mark.parametrize("end", [0, 1], ids=["host's order", "collaborator's order"])
def test_real_runs_are_legal(case: Case, end: int) -> None:
    assert accepts(case, entries(case, end))


RESUMED = [Case(rounds=2, batches=(4, 2)), Case(rounds=2, batches=(4, 2), trainable=False)]
RESUMED += [Case("masked", rounds=2, batches=(4, 2)), Case("plain", rounds=2, batches=(4, 2))]
PLACES = [ResumePoint(Phase.PSI), ResumePoint(Phase.SETUP), ResumePoint(Phase.TRAIN, 2, 1)]
PLACES += [ResumePoint(Phase.TRAIN, 1), ResumePoint(Phase.TRAIN, 2), ResumePoint(Phase.TEST, 2)]


@lru_cache
def resumed(case: Case, point: ResumePoint, end: int = 0) -> list[Entry]:
    """The messages of a conversation that goes on from there."""
    return entries_of(second(case, point).files[[H, C][end]][1])


@lru_cache
def second(case: Case, point: ResumePoint) -> Run:
    run = Run(case)
    run.conversations, run.saved = 1, [saved for saved in first(case).saved if saved.point == point]
    run.files = {sender: list(files) for sender, files in first(case).files.items()}
    assert run.converse()
    return run


@lru_cache
def first(case: Case) -> Run:
    run = Run(case)
    assert run.converse()
    return run


def goes_on(case: Case, point: ResumePoint, run: list[Entry]) -> bool:
    order = TaskOrder(order_of(case.scheme, case.trainable), point)
    try:
        for entry in run:
            take(order, entry)
    except MessageOutOfOrder:
        return False
    return order.is_finished


@pytest.mark.parametrize("case", RESUMED, ids=str)
@pytest.mark.parametrize("point", PLACES, ids=str)
def test_a_resumed_run_is_legal_from_its_own_place_only(case: Case, point: ResumePoint) -> None:
    for end in (0, 1):
        run = resumed(case, point, end)
        assert goes_on(case, point, run)
        assert not accepts(case, run)
        # Behind its training a round may be tested, or not.
        also = {ResumePoint(Phase.TRAIN, 2)} if point.phase is Phase.TEST else set()
        assert {other for other in PLACES if goes_on(case, other, run)} == {point} | also
    assert not goes_on(case, point, entries(case))


@pytest.mark.parametrize("case", RESUMED, ids=str)
@pytest.mark.parametrize("point", PLACES[1:4], ids=str)
def test_nothing_in_a_resumed_run_may_be_left_out_or_come_twice(case: Case, point: ResumePoint) -> None:
    run = resumed(case, point)
    for at, entry in enumerate(run[:60]):
        if entry.type not in OPEN_TYPES:
            assert not goes_on(case, point, [*run[:at], *run[at + 1 :]]), (at, entry)
        assert not goes_on(case, point, [*run[: at + 1], *run[at:]]), (at, entry)


@pytest.mark.parametrize("case", RESUMED, ids=str)
def test_a_resumed_set_up_takes_nothing_of_a_first_one(case: Case) -> None:
    """No PSI, no split, no shape, no initial weights, wherever one puts them."""
    point = ResumePoint(Phase.TRAIN, 1)
    run, first = resumed(case, point), entries(case)
    names = {"PsiOpen", "PsiPoints", "PsiResult", "SplitDigest", "FeatureShape", "InitialFactor", "InitialShare"}
    foreign = [entry for entry in first if entry.type in names]
    assert len(foreign) > 6
    for entry in foreign:
        for at in range(30):
            assert not goes_on(case, point, [*run[:at], entry, *run[at:]])


def changed(run: list[Entry], kind: str, **fields: object) -> list[Entry]:
    """The first message of a type with other fields."""
    at = next(number for number, entry in enumerate(run) if entry.type == kind)
    return [*run[:at], run[at]._replace(**fields), *run[at + 1 :]]


@pytest.mark.parametrize("case", RESUMED, ids=str)
def test_a_resumed_round_begins_where_it_was(case: Case) -> None:
    point = ResumePoint(Phase.TRAIN, 2, 1)
    run = resumed(case, point)
    assert goes_on(case, point, changed(run, "RoundStart", recorded=(7, 1, 9)))
    for recorded in ((0, 0, 1), (0, 2, 1)):
        assert not goes_on(case, point, changed(run, "RoundStart", recorded=recorded))
    for place in ((5, 1), (5, 3), (6, 2)):
        assert not goes_on(case, point, changed(run, "RoundStart", phase=place[0], round=place[1]))
    assert not goes_on(case, point, changed(run, "BatchOpen", batch=0))
    assert not goes_on(case, point, changed(run, "EpochEnd", batch=1, recorded=(1,)))
    over = ResumePoint(Phase.TRAIN, 1)
    assert not goes_on(case, over, changed(resumed(case, over), "RoundStart", recorded=(0, 1, 1)))
    assert not accepts(case, changed(entries(case), "RoundStart", recorded=(0, 1, 0)))


@pytest.mark.parametrize("case", RESUMED[:3], ids=str)
def test_versions_of_the_weights_go_on_from_the_checkpoints(case: Case) -> None:
    """Which it is, the first message says; both parties' shares are of one, and each step is one. Frozen, it is 0."""
    point = ResumePoint(Phase.TRAIN, 1)
    run = resumed(case, point)
    moved = [shifted(entry, 5) for entry in run]
    if not case.trainable:
        assert not goes_on(case, point, moved)
        assert not accepts(case, [shifted(entry, 1) for entry in entries(case)])
        return
    assert goes_on(case, point, moved)
    past = History()
    past.over(Phase.TRAIN, 1, 2)
    order = TaskOrder(order_of(case.scheme, case.trainable), point, past)
    with pytest.raises(MessageOutOfOrder, match="version 7 of the weights, which are at version 2"):
        take_all(order, moved)
    versioned = [at for at, entry in enumerate(run) if "version" in recorded(entry)]
    for at in versioned[1:12]:
        assert not goes_on(case, point, [*run[:at], shifted(run[at], 1), *run[at + 1 :]]), run[at]
    assert not accepts(case, [shifted(entry, 1) for entry in entries(case)])


def shifted(entry: Entry, by: int) -> Entry:
    if "version" not in recorded(entry):
        return entry
    at = recorded(entry).index("version")
    return entry._replace(recorded=(*entry.recorded[:at], entry.recorded[at] + by, *entry.recorded[at + 1 :]))


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_no_message_may_be_left_out_or_come_twice(case: Case) -> None:
    """But for checks, which the tables leave open, and for a piece of a batch of which there may be several."""
    run = entries(case)
    for at, entry in enumerate(run):
        if entry.type not in OPEN_TYPES:
            assert not accepts(case, [*run[:at], *run[at + 1 :]]), (at, entry)
        assert not accepts(case, [*run[: at + 1], *run[at:]]), (at, entry)


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_no_two_messages_of_one_sender_may_change_places(case: Case) -> None:
    run = entries(case)
    for first, second in pairs(run):
        swapped = list(run)
        swapped[first], swapped[second] = run[second], run[first]
        if (run[first].type, run[first].recorded) != (run[second].type, run[second].recorded):
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
    order = TaskOrder(order_of(case.scheme, case.trainable))
    scheme = order_of(case.scheme, case.trainable)
    tables = tables_of(scheme)
    tried = 0
    for entry in run:
        place = (entry.phase, entry.round, entry.batch)
        for sender in Sender:
            for kind in MESSAGE_TYPES:
                table = scheme.offline[sender] if entry.phase == Phase.OFFLINE else tables[sender]
                direction = order._directions[sender]
                state = order._offline._states[sender] if entry.phase == Phase.OFFLINE else direction.state
                if (state, entry.phase, kind) in table or kind in (Abort, Checkpoint, Countersignature):
                    continue
                tried += 1
                before = direction.stretch
                recorded = (0,) * len(wire_format(kind).recorded)
                with pytest.raises(MessageOutOfOrder):
                    order.step(sender, kind, place, recorded)
                direction.stretch = before
        take(order, entry)
    assert tried > 1000


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_an_abort_may_come_anywhere(case: Case) -> None:
    order = TaskOrder(order_of(case.scheme, case.trainable))
    for entry in entries(case):
        order.step(entry.sender, Abort, (entry.phase, entry.round, entry.batch), ())
        take(order, entry)
    assert order.is_finished


def test_a_mask_serves_once() -> None:
    case = Case("masked")
    run = entries(case)
    at = [i for i, entry in enumerate(run) if entry.type == "MaskedStep"]
    reused = run[at[1]]._replace(recorded=(run[at[0]].recorded[0], *run[at[1]].recorded[1:]))
    order = TaskOrder(order_of("masked", True))
    for entry in run[: at[1]]:
        take(order, entry)
    with pytest.raises(MessageOutOfOrder, match="mask G of triple 0 has been used"):
        take(order, reused)
