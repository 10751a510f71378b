"""The rounds' roles: what both count, and every message and call that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.harness.pump import replay
from protocols.core.envelope import Phase, Place
from protocols.core.errors import CallOutOfOrder, InvalidInput, MessageOutOfOrder, RoleAlreadyUsed
from protocols.core.message import Message
from protocols.core.steps import Placed, Send, Steps
from protocols.task.alignment import BatchOpen, EpochEnd, Misaligned
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import (
    CollaboratorRounds,
    FinishAcknowledged,
    HostRounds,
    Round,
    RoundStart,
    TaskFinished,
)

IDS, OTHER_IDS = b"i" * 32, b"o" * 32
TRAIN_1 = Place(Phase.TRAIN, 1)


def sent(steps: Steps[Any], *answers: Message | Placed) -> list[Message]:
    """What one conversation sends, given these answers."""
    messages: list[Message] = []

    def listening() -> Steps[Any]:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(step, Send):
                messages.append(step.message)
            answer = yield step

    replay(listening(), *answers)
    return messages


def started(phase: Phase = Phase.TRAIN, names: tuple[str, ...] = ("bank",), **options: Any) -> HostRounds:
    """A host whose first round has started."""
    host = HostRounds(names)
    if phase is Phase.TEST:
        train(host, names)
    host.begin_round(phase, **options)
    for name in names:
        replay(host.start(name))
    return host


def train(host: HostRounds, names: tuple[str, ...] = ("bank",), batches: int = 1) -> None:
    """A whole round of the host's."""
    host.begin_round(Phase.TRAIN)
    for name in names:
        replay(host.start(name))
    for _ in range(batches - host.batches):
        for name in names:
            replay(host.opened_by(name), BatchOpen(4, b""))
        host.align(4)
        host.batch_done()
    for name in names:
        replay(host.opened_by(name), EpochEnd(batches))
    host.align(None)


def aligned() -> HostRounds:
    """A host in its first batch."""
    host = started()
    replay(host.opened_by("bank"), BatchOpen(4, b""))
    host.align(4)
    return host


def told(start: RoundStart, place: Place = TRAIN_1, point: ResumePoint | None = None) -> CollaboratorRounds:
    """A collaborator that has been told of a round."""
    collaborator = CollaboratorRounds(point)
    replay(collaborator.next_round(), Placed(place, start))
    return collaborator


# The host -------------------------------------------------------------------------------------------------------------


def test_the_host_tells_all_at_the_beginning_of_the_round() -> None:
    names = ("bank", "shop")
    host = HostRounds(names, ResumePoint(Phase.TRAIN, 3, 5))
    host.begin_round(Phase.TRAIN, max_batches=9, checkpoint_every=2)
    assert host.place == Place(Phase.TRAIN, 3)
    assert sent(host.start("bank")) == [RoundStart(9, 5, 2)]
    assert host.place == Place(Phase.TRAIN, 3)
    assert sent(host.start("shop")) == [RoundStart(9, 5, 2)]
    assert host.place == Place(Phase.TRAIN, 3, 5)
    assert host.trained == 2


@pytest.mark.parametrize(
    ("point", "place", "first"),
    [
        (None, Place(Phase.TRAIN, 1), 0),
        (ResumePoint(Phase.PSI), Place(Phase.TRAIN, 1), 0),
        (ResumePoint(Phase.SETUP), Place(Phase.TRAIN, 1), 0),
        (ResumePoint(Phase.TRAIN, 1, 2), Place(Phase.TRAIN, 1), 2),
        (ResumePoint(Phase.TRAIN, 1), Place(Phase.TRAIN, 2), 0),
        (ResumePoint(Phase.TEST, 2), Place(Phase.TRAIN, 3), 0),
    ],
    ids=str,
)
def test_training_goes_on_behind_the_checkpoint(point: ResumePoint | None, place: Place, first: int) -> None:
    host = HostRounds(["bank"], point)
    host.begin_round(Phase.TRAIN)
    assert host.place == place
    messages = sent(host.start("bank"))
    assert messages == [RoundStart(0, first)]
    collaborator = CollaboratorRounds(point)
    wanted = replay(collaborator.next_round(), Placed(place, messages[0]))
    assert wanted == Round(Phase.TRAIN, place.round, first, 0, 0)
    assert collaborator.place == host.place == Place(Phase.TRAIN, place.round, first)


def test_the_rounds_of_a_task_are_counted() -> None:
    host = HostRounds(["bank"], ResumePoint(Phase.TRAIN, 1, 2))
    train(host, batches=4)
    assert host.trained == 1
    host.begin_round(Phase.TEST)
    assert host.place == Place(Phase.TEST, 1)
    assert sent(host.start("bank")) == [RoundStart(0)]
    replay(host.opened_by("bank"), EpochEnd(0))
    host.align(None)
    train(host)
    host.finish()
    assert host.place == Place(Phase.FINISH)
    assert sent(host.farewell("bank"), FinishAcknowledged(2)) == [TaskFinished(2)]


def test_the_same_batches_are_aligned() -> None:
    host = started(names=("bank", "shop"))
    replay(host.opened_by("bank"), BatchOpen(4, IDS))
    replay(host.opened_by("shop"), BatchOpen(4, b""))
    host.align(4, IDS)
    host.batch_done()
    assert host.place == Place(Phase.TRAIN, 1, 1)


@pytest.mark.parametrize(
    ("theirs", "rows", "ids", "problem"),
    [
        (BatchOpen(3, b""), 4, b"", "training round 1, batch 1: the host's batch has 4 samples, shop's has 3"),
        (BatchOpen(4, OTHER_IDS), 4, IDS, "the host's and shop's 4 samples are not the same ones in the same order"),
        (EpochEnd(0), 4, b"", "the host has more than 0 batches, shop has 0 batches"),
        (BatchOpen(4, b""), None, b"", "the host has 0 batches, bank has more than 0 batches"),
    ],
)
def test_other_batches_are_refused(theirs: Message, rows: int | None, ids: bytes, problem: str) -> None:
    host = started(names=("bank", "shop"))
    replay(host.opened_by("bank"), BatchOpen(4, b""))
    replay(host.opened_by("shop"), theirs)
    with pytest.raises(Misaligned, match=problem):
        host.align(rows, ids)


def test_the_host_refuses_another_count() -> None:
    with pytest.raises(MessageOutOfOrder, match="EpochEnd after 1 batches, but sent 0"):
        replay(started().opened_by("bank"), EpochEnd(1))
    host = HostRounds(["bank"])
    train(host)
    host.finish()
    with pytest.raises(MessageOutOfOrder, match="FinishAcknowledged of 2 rounds, and 1 were trained"):
        replay(host.farewell("bank"), FinishAcknowledged(2))


def at_start() -> HostRounds:
    return HostRounds(["bank"])


def announced() -> HostRounds:
    host = at_start()
    host.begin_round(Phase.TRAIN)
    return host


def opened() -> HostRounds:
    host = started(names=("bank", "shop"))
    replay(host.opened_by("bank"), BatchOpen(4, b""))
    return host


def in_the_middle() -> HostRounds:
    return HostRounds(["bank"], ResumePoint(Phase.TRAIN, 1, 2))


def finishing() -> HostRounds:
    host = at_start()
    train(host)
    host.finish()
    return host


HOST_CALLS: list[tuple[Callable[[], HostRounds], str, Callable[[HostRounds], Any], type[Exception]]] = [
    (at_start, "start", lambda host: replay(host.start("bank")), CallOutOfOrder),
    (at_start, "opened_by", lambda host: replay(host.opened_by("bank"), EpochEnd(0)), CallOutOfOrder),
    (at_start, "align", lambda host: host.align(None), CallOutOfOrder),
    (at_start, "batch_done", lambda host: host.batch_done(), CallOutOfOrder),
    (at_start, "test", lambda host: host.begin_round(Phase.TEST), CallOutOfOrder),
    (at_start, "set-up", lambda host: host.begin_round(Phase.SETUP), InvalidInput),
    (at_start, "minus", lambda host: host.begin_round(Phase.TRAIN, -1), InvalidInput),
    (at_start, "farewell", lambda host: replay(host.farewell("bank"), FinishAcknowledged(0)), CallOutOfOrder),
    (announced, "opened_by", lambda host: replay(host.opened_by("bank"), EpochEnd(0)), CallOutOfOrder),
    (announced, "stranger", lambda host: replay(host.start("shop")), InvalidInput),
    (announced, "begin_round", lambda host: host.begin_round(Phase.TRAIN), CallOutOfOrder),
    (started, "start", lambda host: replay(host.start("bank")), RoleAlreadyUsed),
    (started, "finish", lambda host: host.finish(), CallOutOfOrder),
    (opened, "opened_by", lambda host: replay(host.opened_by("bank"), BatchOpen(4, b"")), RoleAlreadyUsed),
    (opened, "stranger", lambda host: replay(host.opened_by("club"), BatchOpen(4, b"")), InvalidInput),
    (opened, "align", lambda host: host.align(4), CallOutOfOrder),
    (aligned, "opened_by", lambda host: replay(host.opened_by("bank"), BatchOpen(4, b"")), CallOutOfOrder),
    (aligned, "align", lambda host: host.align(4), CallOutOfOrder),
    (aligned, "begin_round", lambda host: host.begin_round(Phase.TEST), CallOutOfOrder),
    (in_the_middle, "test", lambda host: host.begin_round(Phase.TEST), CallOutOfOrder),
    (in_the_middle, "finish", lambda host: host.finish(), CallOutOfOrder),
    (finishing, "finish", lambda host: host.finish(), CallOutOfOrder),
    (finishing, "begin_round", lambda host: host.begin_round(Phase.TRAIN), CallOutOfOrder),
    (finishing, "stranger", lambda host: replay(host.farewell("shop"), FinishAcknowledged(1)), InvalidInput),
]


@pytest.mark.parametrize(
    ("state", "call", "error"),
    [pytest.param(state, call, error, id=f"{state.__name__}-{name}") for state, name, call, error in HOST_CALLS],
)
def test_calls_that_the_host_may_not_make(
    state: Callable[[], HostRounds], call: Callable[[HostRounds], Any], error: type[Exception]
) -> None:
    host = state()
    with pytest.raises(error):
        call(host)


def test_a_farewell_is_said_once() -> None:
    host = finishing()
    replay(host.farewell("bank"), FinishAcknowledged(1))
    with pytest.raises(RoleAlreadyUsed):
        replay(host.farewell("bank"), FinishAcknowledged(1))


# The collaborator -----------------------------------------------------------------------------------------------------


def test_the_collaborator_does_what_the_host_says() -> None:
    collaborator = CollaboratorRounds()
    wanted = replay(collaborator.next_round(), Placed(TRAIN_1, RoundStart(2, 0, 7)))
    assert wanted == Round(Phase.TRAIN, 1, 0, 2, 7)
    for number in range(2):
        assert collaborator.may_open
        assert collaborator.place == collaborator.place_drawn == Place(Phase.TRAIN, 1, number)
        assert collaborator.may_draw
        assert sent(collaborator.open_batch(4, IDS)) == [BatchOpen(4, IDS)]
        assert collaborator.place_drawn == Place(Phase.TRAIN, 1, number + 1), "the next one, while this one is open"
        assert collaborator.may_draw is (number == 0)
        collaborator.batch_done()
    assert not collaborator.may_open
    assert sent(collaborator.end_round()) == [EpochEnd(2)]
    assert replay(collaborator.next_round(), Placed(Place(Phase.TEST, 1), RoundStart(0))) is not None
    assert sent(collaborator.end_round()) == [EpochEnd(0)]
    assert replay(collaborator.next_round(), Placed(Place(Phase.FINISH), TaskFinished(1))) is None
    assert collaborator.place == Place(Phase.FINISH)
    assert sent(collaborator.farewell()) == [FinishAcknowledged(1)]


MIDDLE, ONE_DONE = ResumePoint(Phase.TRAIN, 2, 3), ResumePoint(Phase.TRAIN, 1)


@pytest.mark.parametrize(
    ("point", "place", "message", "problem"),
    [
        (None, Place(Phase.TRAIN, 2), RoundStart(0), "TRAIN round 2 after round 0"),
        (None, Place(Phase.TRAIN, 0), RoundStart(0), "TRAIN round 0 after round 0"),
        (None, Place(Phase.TRAIN, 1, 1), RoundStart(0), "TRAIN round 1 after round 0"),
        (None, Place(Phase.TEST, 1), RoundStart(0), "TEST round 1"),
        (None, Place(Phase.SETUP), RoundStart(0), "SETUP round 0"),
        (None, Place(Phase.OFFLINE, 1), RoundStart(0), "OFFLINE round 1"),
        (None, Place(Phase.TRAIN, 1), RoundStart(0, 1), "RoundStart from batch 1, but 0 are done"),
        (None, Place(Phase.FINISH), TaskFinished(1), "TaskFinished after 1 rounds, and 0 were trained"),
        (None, Place(Phase.TRAIN, 1), TaskFinished(0), "TaskFinished in training round 1"),
        (None, Place(Phase.FINISH, 1), TaskFinished(0), "TaskFinished in finishing"),
        (ONE_DONE, Place(Phase.TRAIN, 1), RoundStart(0), "TRAIN round 1 after round 1"),
        (ONE_DONE, Place(Phase.TEST, 2), RoundStart(0), "TEST round 2"),
        (ONE_DONE, Place(Phase.TEST, 1), RoundStart(0, 1), "RoundStart from batch 1, but 0 are done"),
        (ONE_DONE, Place(Phase.FINISH), TaskFinished(2), "TaskFinished after 2 rounds, and 1 were trained"),
        (MIDDLE, Place(Phase.TRAIN, 3), RoundStart(0, 3), "TRAIN round 3 after round 1"),
        (MIDDLE, Place(Phase.TRAIN, 2), RoundStart(0), "RoundStart from batch 0, but 3 are done"),
        (MIDDLE, Place(Phase.TRAIN, 2), RoundStart(0, 4), "RoundStart from batch 4, but 3 are done"),
        (MIDDLE, Place(Phase.FINISH), TaskFinished(1), "TaskFinished after 1 rounds"),
    ],
)
def test_other_commands_are_refused(point: ResumePoint | None, place: Place, message: Message, problem: str) -> None:
    with pytest.raises(MessageOutOfOrder, match=problem):
        replay(CollaboratorRounds(point).next_round(), Placed(place, message))


def fresh() -> CollaboratorRounds:
    return CollaboratorRounds()


def in_round() -> CollaboratorRounds:
    return told(RoundStart(1))


def in_batch() -> CollaboratorRounds:
    collaborator = in_round()
    replay(collaborator.open_batch(4))
    return collaborator


def behind_the_last() -> CollaboratorRounds:
    collaborator = in_batch()
    collaborator.batch_done()
    return collaborator


def leaving() -> CollaboratorRounds:
    collaborator = fresh()
    replay(collaborator.next_round(), Placed(Place(Phase.FINISH), TaskFinished(0)))
    return collaborator


def gone() -> CollaboratorRounds:
    collaborator = leaving()
    replay(collaborator.farewell())
    return collaborator


COLLABORATOR_STATES = (fresh, in_round, in_batch, behind_the_last, leaving, gone)
COLLABORATOR_CALLS: dict[str, tuple[Callable[[CollaboratorRounds], Any], tuple[Any, ...]]] = {
    "next_round": (lambda role: replay(role.next_round(), Placed(TRAIN_1, RoundStart(0))), (fresh,)),
    "open_batch": (lambda role: replay(role.open_batch(4)), (in_round,)),
    "batch_done": (lambda role: role.batch_done(), (in_batch,)),
    "end_round": (lambda role: replay(role.end_round()), (in_round, behind_the_last)),
    "farewell": (lambda role: replay(role.farewell()), (leaving,)),
}
"""Every call, and in which states it may be made."""


@pytest.mark.parametrize("state", COLLABORATOR_STATES)
@pytest.mark.parametrize("name", COLLABORATOR_CALLS)
def test_when_the_collaborator_may_do_what(state: Callable[[], CollaboratorRounds], name: str) -> None:
    call, allowed = COLLABORATOR_CALLS[name]
    if state in allowed:
        call(state())
    else:
        with pytest.raises((CallOutOfOrder, RoleAlreadyUsed)):
            call(state())
