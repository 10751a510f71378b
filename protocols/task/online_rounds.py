"""The host leads the requests of an on-line session, in rounds, so that what has crossed is signed from time to time.

    host                                                collaborator
    RoundStart (of phase TEST, rounds from 1)     --->
        LookupPoints ... LookupReplies: protocols/lookup/, at the place of the next batch
    RowsAsked(positions)                          --->
                                                  <---  BatchOpen(rows, digest of their ids), the scheme's test messages
                                                        or RowsRefused, and the batch is over
    RequestsOver(batches)                         --->
                                                  <---  EpochEnd(batches)
    ... more rounds ...
    TaskFinished, FinishAcknowledged

**Leaks**: as protocols/lookup/messages.py.
"""

from __future__ import annotations

import hmac
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from protocols.core.envelope import Phase, Place
from protocols.core.errors import CallOutOfOrder, MessageOutOfOrder
from protocols.core.message import Message
from protocols.core.steps import Placed, Receive, ReceiveAnywhere, Send, Steps, received
from protocols.lookup.messages import LookupPoints, LookupRefused, LookupReplies, RequestsOver, RowsAsked, RowsRefused
from protocols.task.alignment import BatchOpen, EpochEnd, Misaligned
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished


class State(Enum):
    """Where the rounds of an on-line session stand."""

    BETWEEN = auto()
    SERVING = auto()
    FINISHING = auto()


class _OnlineRounds:
    """What both roles count.

    Attributes:
        place: of what is said next.
    """

    def __init__(self) -> None:
        self.place = Place(Phase.SETUP)
        self._state, self._number = State.BETWEEN, 0

    @property
    def is_serving(self) -> bool:
        """Whether a round is under way."""
        return self._state is State.SERVING

    @property
    def batches(self) -> int:
        """Of this round so far."""
        return self.place.batch

    def _require(self, call: str, state: State) -> None:
        if self._state is not state:
            raise CallOutOfOrder(f"{call} in state {self._state.name} of {self.place}")

    def _begin(self) -> None:
        self._number += 1
        self.place, self._state = Place(Phase.TEST, self._number), State.SERVING

    def batch_done(self) -> None:
        """The rows that were asked for have come, or were refused."""
        self._require("batch_done", State.SERVING)
        self.place = Place(Phase.TEST, self._number, self.batches + 1)


class OnlineHostRounds(_OnlineRounds):
    """The host's half, with all collaborators; what is said to one is said to each.

    begin ─▶ start(each) ─▶ (ask(each) ─▶ the scheme's ─▶ batch_done)* ─▶ end(each) ─▶ over
    finish ─▶ farewell(each)
    """

    def begin(self) -> None:
        """The next round."""
        self._require("begin", State.BETWEEN)
        self._begin()

    def start(self) -> Steps[None]:
        """Tell a collaborator."""
        self._require("start", State.SERVING)
        yield Send(RoundStart(0))

    def ask(self, positions: NDArray[np.int64], ids: bytes, name: str) -> Steps[NDArray[np.bool_] | None]:
        """Ask a collaborator for rows.

        Args:
            positions: of the ids in its population.
            ids: digest of the ids (`protocols.task.alignment.ids_digest`), in that order.
            name: the collaborator.

        Returns:
            Which of them it refuses, or None: they come.

        Raises:
            Misaligned: it takes them for other ids.
            MalformedMessage: it refuses another number of rows.
        """
        self._require("ask", State.SERVING)
        yield Send(RowsAsked.of(positions))
        answer = yield Receive(BatchOpen, RowsRefused)
        if isinstance(answer, RowsRefused):
            return answer.of_rows(len(positions))
        opened = received(answer, BatchOpen)
        if opened.rows != len(positions) or not hmac.compare_digest(opened.ids, ids):
            raise Misaligned(f"{self.place}: {name} takes the {len(positions)} rows that it is asked for for others")
        return None

    def end(self) -> Steps[None]:
        """Tell a collaborator that the round is over. Raises `MessageOutOfOrder` if it has counted other batches."""
        self._require("end", State.SERVING)
        yield Send(RequestsOver(self.batches))
        ended = received((yield Receive(EpochEnd)), EpochEnd)
        if ended.batches != self.batches:
            raise MessageOutOfOrder(f"EpochEnd after {ended.batches} batches, but there were {self.batches}")

    def over(self) -> None:
        """All have been told that the round is."""
        self._require("over", State.SERVING)
        self._state = State.BETWEEN

    def finish(self) -> None:
        """The session is over."""
        self._require("finish", State.BETWEEN)
        self.place, self._state = Place(Phase.FINISH), State.FINISHING

    def farewell(self) -> Steps[None]:
        """Say so to a collaborator. Raises `MessageOutOfOrder` if it has trained meanwhile."""
        self._require("farewell", State.FINISHING)
        yield Send(TaskFinished(0))
        answer = received((yield Receive(FinishAcknowledged)), FinishAcknowledged)
        if answer.rounds:
            raise MessageOutOfOrder(f"FinishAcknowledged of {answer.rounds} rounds, and nothing was trained")


class OnlineCollaboratorRounds(_OnlineRounds):
    """The collaborator's half.

    next ─▶ LookupPoints ─▶ answer
         ─▶ RowsAsked ─▶ open, the scheme's, batch_done; or refuse, batch_done
         ─▶ RequestsOver ─▶ end
         ─▶ None ─▶ farewell
    """

    def next(self) -> Steps[Message | None]:
        """What the host wants: `RoundStart` (nothing is to be done), a request, or None: the session is over.

        Raises:
            MessageOutOfOrder: it is of another place.
        """
        if self._state is State.SERVING:
            told = received((yield ReceiveAnywhere(LookupPoints, RowsAsked, RequestsOver)), Placed)
            self._check(told, self.place)
            return told.message
        self._require("next", State.BETWEEN)
        told = received((yield ReceiveAnywhere(RoundStart, TaskFinished)), Placed)
        if isinstance(told.message, RoundStart):
            self._check(told, Place(Phase.TEST, self._number + 1))
            self._begin()
            return told.message
        self._check(told, Place(Phase.FINISH))
        if received(told.message, TaskFinished).rounds:
            raise MessageOutOfOrder("TaskFinished with rounds of training in a prediction")
        self.place, self._state = Place(Phase.FINISH), State.FINISHING
        return None

    @staticmethod
    def _check(told: Placed, place: Place) -> None:
        if told.place != place:
            raise MessageOutOfOrder(f"{type(told.message).__name__} is of {told.place}, but this is {place}")

    def answer(self, reply: LookupReplies | LookupRefused) -> Steps[None]:
        """Answer a lookup."""
        self._require("answer", State.SERVING)
        yield Send(reply)

    def open(self, rows: int, ids: bytes) -> Steps[None]:
        """The rows that were asked for come; `ids`: the digest of theirs."""
        self._require("open", State.SERVING)
        yield Send(BatchOpen(rows, ids))

    def refuse(self, marks: NDArray[np.bool_]) -> Steps[None]:
        """None of them come, because of those that are marked."""
        self._require("refuse", State.SERVING)
        yield Send(RowsRefused.of(marks))

    def end(self) -> Steps[None]:
        """The round is over, as the host has said."""
        self._require("end", State.SERVING)
        yield Send(EpochEnd(self.batches))
        self._state = State.BETWEEN

    def farewell(self) -> Steps[None]:
        """The session is over."""
        self._require("farewell", State.FINISHING)
        yield Send(FinishAcknowledged(0))
