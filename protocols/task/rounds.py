"""The host leads rounds: what opens and ends rounds and batches, and the task. None of these messages carries data.

    host                                                collaborator
    RoundStart (of phase TRAIN or TEST, round r)  --->  starts its iterator
                                                  <---  BatchOpen: the next batch's rows
    compares with its own batch
        ... the scheme's messages about this batch: protocols/layer/, protocols/schemes/ ...
                                                  <---  EpochEnd: after all its batches
    compares
    ... more rounds ...
    TaskFinished(rounds)                          --->  saves its results
                                                  <---  FinishAcknowledged(rounds)

All parties count along, so that nobody trains on a batch, in a round, or after an interruption where another is not.
The roles know their place; whoever drives them sends at it.

**Leaks** counts of rounds, batches and rows; ids as protocols/task/alignment.py says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from protocols.core.envelope import Phase, Place
from protocols.core.errors import CallOutOfOrder, InvalidInput, MessageOutOfOrder, RoleAlreadyUsed
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.sizes import exactly
from protocols.core.steps import Placed, Receive, ReceiveAnywhere, Send, Steps, received
from protocols.core.wire_format import Uint64, wire
from protocols.core.wording import plural
from protocols.task.alignment import BatchOpen, EpochEnd, Misaligned, compare_batches
from protocols.task.resumption import ResumePoint
from protocols.wire.sizes import number


@wire(
    40,
    ledger=public(""),
    recorded=("max_batches", "first_batch", "checkpoint_every"),
    bounds=exactly(lambda recorded: sum(map(number, recorded))),
)
@dataclass(frozen=True)
class RoundStart(Message):
    """Start the iterator of the phase and round in the envelope.

    Attributes:
        max_batches: of the round; 0 means all.
        first_batch: how many batches of it were done before an interruption.
        checkpoint_every: all parties make a checkpoint after so many batches of training; 0: not inside the round.
    """

    max_batches: Uint64
    first_batch: Uint64 = 0
    checkpoint_every: Uint64 = 0

    def __post_init__(self) -> None:
        for name in ("max_batches", "first_batch", "checkpoint_every"):
            self.require_int(name, 0, 1 << 31)


@wire(
    41,
    ledger=public("after how many rounds the task ended"),
    recorded=("rounds",),
    bounds=exactly(lambda recorded: number(*recorded)),
)
@dataclass(frozen=True)
class TaskFinished(Message):
    """Training is over after this many rounds."""

    rounds: Uint64

    def __post_init__(self) -> None:
        self.require_int("rounds", 0, 1 << 31)


@wire(42, ledger=public(""), recorded=("rounds",), bounds=exactly(lambda recorded: number(*recorded)))
@dataclass(frozen=True)
class FinishAcknowledged(Message):
    """The collaborator has saved its results."""

    rounds: Uint64

    def __post_init__(self) -> None:
        self.require_int("rounds", 0, 1 << 31)


class State(Enum):
    """Where a party's rounds stand."""

    BETWEEN = auto()
    STARTED = auto()
    """RoundStart has been sent, or received."""
    ALIGNED = auto()
    """A batch is open at all parties."""
    FINISHING = auto()
    FINISHED = auto()


class _Rounds:
    """What both roles count.

    Args:
        point: where the task was resumed; None: it starts.

    Attributes:
        place: of what is said next.
        trained: how many rounds of training are over, the one under way left out.
    """

    def __init__(self, point: ResumePoint | None) -> None:
        self.place = Place(Phase.SETUP)
        self.trained = 0 if point is None else point.trained_rounds
        self._first_batch = 0 if point is None else point.batch
        self._state = State.BETWEEN

    @property
    def batches(self) -> int:
        """How many of this round are done; those before an interruption count."""
        return self.place.batch

    def _require(self, call: str, *states: State) -> None:
        if self._state not in states:
            raise CallOutOfOrder(f"{call} in state {self._state.name} of {self.place}")

    def _go_to_batch(self, number: int) -> None:
        self.place = Place(self.place.phase, self.place.round, number)

    def batch_done(self) -> None:
        """The open batch is over, with all that the scheme says about it."""
        self._require("batch_done", State.ALIGNED)
        self._go_to_batch(self.batches + 1)
        self._state = State.STARTED

    def _over(self) -> None:
        if self.place.phase is Phase.TRAIN:
            self.trained, self._first_batch = self.trained + 1, 0
        self._state = State.BETWEEN


class HostRounds(_Rounds):
    """The host's half, with all collaborators.

        begin_round ─▶ start(each) ─▶ (opened_by(each) ─▶ align ─▶ batch_done)* ─▶ opened_by(each) ─▶ align(None)
        finish ─▶ farewell(each)

    Args:
        names: the collaborators.
        point: where the task was resumed; None: it starts.
        is_prediction: all parties predict with what they have trained: one round of test batches, of number 0.
    """

    def __init__(self, names: Sequence[str], point: ResumePoint | None = None, is_prediction: bool = False) -> None:
        super().__init__(point)
        self._names, self._is_prediction = tuple(names), is_prediction
        self._start: RoundStart | None = None
        self._waiting: set[str] = set()
        self._opened: dict[str, BatchOpen | EpochEnd] = {}

    def begin_round(self, phase: Phase, max_batches: int = 0, checkpoint_every: int = 0) -> None:
        """The next round of training, or a test after the last one.

        Raises:
            CallOutOfOrder: a round is under way, or nothing was trained that could be tested.
            InvalidInput: `phase` has no rounds, or a number is out of its range.
        """
        self._require("begin_round", State.BETWEEN)
        if phase not in (Phase.TRAIN, Phase.TEST):
            raise InvalidInput(f"there are no rounds in phase {phase.name}")
        training = phase is Phase.TRAIN
        if self._is_prediction if training else not self._may_test:
            raise CallOutOfOrder("a test comes after a round of training, and a prediction trains nothing")
        self._start = RoundStart(max_batches, self._first_batch if training else 0, checkpoint_every)
        self.place = Place(phase, self.trained + training)
        self._waiting = set(self._names)
        self._state = State.STARTED

    @property
    def _may_test(self) -> bool:
        return self._is_prediction or bool(self.trained and not self._first_batch)

    def start(self, name: str) -> Steps[None]:
        """Tell a collaborator. Once each."""
        self._require("start", State.STARTED)
        if self._start is None:
            raise RoleAlreadyUsed("all collaborators have started this round before")
        self._tick(name)
        yield Send(self._start)
        if not self._waiting:
            self._go_to_batch(self._start.first_batch)
            self._start = None
            self._wait_for_all()

    def opened_by(self, name: str) -> Steps[None]:
        """Hear what a collaborator's next batch is, or that there is none. Once each for every batch.

        Raises:
            MessageOutOfOrder: it has counted other batches.
        """
        self._require("opened_by", State.STARTED)
        if self._start is not None:
            raise CallOutOfOrder("some collaborators have not been told that this round starts")
        self._tick(name)
        message = yield Receive(BatchOpen, EpochEnd)
        if isinstance(message, EpochEnd):
            if message.batches != self.batches:
                raise MessageOutOfOrder(f"EpochEnd after {message.batches} batches, but sent {self.batches}")
            self._opened[name] = message
        else:
            self._opened[name] = received(message, BatchOpen)

    def align(self, rows: int | None, ids: bytes = b"") -> None:
        """Compare our next batch with those of all collaborators, when all have been heard.

        Args:
            rows: of our batch; None: we have no more, so that the round is over.
            ids: digest of its ids; empty: the user does not name them.

        Raises:
            Misaligned: they differ.
        """
        self._require("align", State.STARTED)
        if len(self._opened) < len(self._names):
            raise CallOutOfOrder(f"{len(self._opened)} of {len(self._names)} collaborators have opened this batch")
        opened, self._opened = self._opened, {}
        for name in self._names:
            self._compare(name, opened[name], rows, ids)
        if rows is None:
            self._over()
        else:
            self._wait_for_all()
            self._state = State.ALIGNED

    def _compare(self, name: str, theirs: BatchOpen | EpochEnd, rows: int | None, ids: bytes) -> None:
        if isinstance(theirs, EpochEnd) != (rows is None):
            over = rows is None, isinstance(theirs, EpochEnd)
            ours, other = (f"{'' if each else 'more than '}{plural(self.batches, 'batch')}" for each in over)
            raise Misaligned(f"{self.place}: the host has {ours}, {name} has {other}. Use the same ids and sizes")
        if rows is not None and isinstance(theirs, BatchOpen):
            compare_batches(rows, ids, theirs, name, str(self.place))

    def finish(self) -> None:
        """Training is over."""
        self._require("finish", State.BETWEEN)
        if self._first_batch:
            raise CallOutOfOrder(f"{self._first_batch} batches of a round were done before, and no more since")
        self.place, self._state = Place(Phase.FINISH), State.FINISHING
        self._wait_for_all()

    def farewell(self, name: str) -> Steps[None]:
        """Say so to a collaborator, and hear that it has saved its results. Once each.

        Raises:
            MessageOutOfOrder: it has counted other rounds.
        """
        self._require("farewell", State.FINISHING)
        self._tick(name)
        yield Send(TaskFinished(self.trained))
        answer = received((yield Receive(FinishAcknowledged)), FinishAcknowledged)
        if answer.rounds != self.trained:
            raise MessageOutOfOrder(f"FinishAcknowledged of {answer.rounds} rounds, and {self.trained} were trained")

    def _wait_for_all(self) -> None:
        self._waiting = set(self._names)

    def _tick(self, name: str) -> None:
        """One of those that are still to be spoken to."""
        if name not in self._names:
            raise InvalidInput(f"{name} is not a collaborator of this task")
        if name not in self._waiting:
            raise RoleAlreadyUsed(f"{name} has had its turn in {self.place}")
        self._waiting.discard(name)


class Round(NamedTuple):
    """What the host asks a collaborator for. Fields as in `RoundStart`."""

    phase: Phase
    number: int
    first_batch: int
    max_batches: int
    checkpoint_every: int


class CollaboratorRounds(_Rounds):
    """The collaborator's half.

        next_round ─▶ (open_batch ─▶ batch_done)* ─▶ end_round
        next_round, None ─▶ farewell

    Args:
        point: where the task was resumed; None: it starts.
    """

    def __init__(self, point: ResumePoint | None = None) -> None:
        super().__init__(point)
        self._max_batches = 0

    def next_round(self) -> Steps[Round | None]:
        """What the host wants next; None: the task is finished, say `farewell` when the results are saved.

        Raises:
            MessageOutOfOrder: it is another round than the next, or goes on from other batches than were done.
        """
        self._require("next_round", State.BETWEEN)
        told = received((yield ReceiveAnywhere(RoundStart, TaskFinished)), Placed)
        if isinstance(told.message, TaskFinished):
            self._finish(told.place, told.message)
            return None
        start = received(told.message, RoundStart)
        training = told.place.phase is Phase.TRAIN
        expected = self.trained + training
        phase, number, batch = told.place.phase, told.place.round, told.place.batch
        if phase not in (Phase.TRAIN, Phase.TEST) or (number, batch) != (expected, 0):
            raise MessageOutOfOrder(f"{phase.name} round {number} after round {expected - 1}")
        behind = self._first_batch if training else 0
        if start.first_batch != behind:
            raise MessageOutOfOrder(f"RoundStart from batch {start.first_batch}, but {behind} are done")
        self.place, self._state = Place(phase, number, behind), State.STARTED
        self._max_batches = start.max_batches
        return Round(phase, number, behind, start.max_batches, start.checkpoint_every)

    def _finish(self, place: Place, message: TaskFinished) -> None:
        if place != Place(Phase.FINISH):
            raise MessageOutOfOrder(f"TaskFinished in {place}")
        if message.rounds != self.trained or self._first_batch:
            raise MessageOutOfOrder(f"TaskFinished after {message.rounds} rounds, and {self.trained} were trained")
        self.place, self._state = place, State.FINISHING

    @property
    def may_open(self) -> bool:
        """Whether the host wants one more batch in this round."""
        return not self._max_batches or self.batches < self._max_batches

    @property
    def place_drawn(self) -> Place:
        """Where the next batch belongs that is behind those that are done, and the one that is open."""
        return Place(self.place.phase, self.place.round, self.batches + (self._state is State.ALIGNED))

    @property
    def may_draw(self) -> bool:
        """Whether the host wants that batch."""
        return not self._max_batches or self.place_drawn.batch < self._max_batches

    def open_batch(self, rows: int, ids: bytes = b"") -> Steps[None]:
        """Say what our next batch is; `ids`: digest of its ids, or empty."""
        self._require("open_batch", State.STARTED)
        if not self.may_open:
            raise CallOutOfOrder(f"the host wants {self._max_batches} batches in this round")
        yield Send(BatchOpen(rows, ids))
        self._state = State.ALIGNED

    def end_round(self) -> Steps[None]:
        """Say that there are no more batches in this round."""
        self._require("end_round", State.STARTED)
        yield Send(EpochEnd(self.batches))
        self._over()

    def farewell(self) -> Steps[None]:
        """Say that our results are saved. Once."""
        if self._state is State.FINISHED:
            raise RoleAlreadyUsed("this party has said farewell before")
        self._require("farewell", State.FINISHING)
        yield Send(FinishAcknowledged(self.trained))
        self._state = State.FINISHED
