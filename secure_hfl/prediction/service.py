"""Predictions on line at the Host: requests wait in a queue, and share the batches of a session that stays open.

    submit(ids) ─▶ queue ─▶ as many requests as fit into a batch are predicted together ─▶ each gets its own ids

One thread drives the sessions. When a collaborator goes, the session is over for all; requests wait while the service
waits for everybody to come back, which is a new session. Who waits too long is told why.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from protocols.core.errors import SecureHflError
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.door import Door
from secure_hfl.errors import ConfigurationError, ConnectionLost, PeerRefused, TaskFailed, UserCodeError
from secure_hfl.log import logger, of_this_task
from secure_hfl.prediction.alone import PredictingAlone
from secure_hfl.prediction.assignment import PredictionAssignment, find_prediction
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.online_host import OnlineHost
from secure_hfl.prediction.outcome import Predictions, checked
from secure_hfl.prediction.party import ROWS
from secure_hfl.prediction.trained import Training
from secure_hfl.transport.channel import Channel

POLL_SECONDS = 0.5
"""Between two looks at whether the service is to stop, or a collaborator has gone, while nothing is asked."""

GLANCE_SECONDS = 0.01
"""Of one such look at the door, where the Host answers by itself meanwhile."""

LONGEST_PAUSE = 10.0
"""Before the next attempt, where one session after another breaks before it is open: each leaves a transcript."""

SESSION_SECONDS = 24 * 3600.0
"""After so long a new session begins: with fresh keys, the collaborators' new ids, and a transcript of its own."""

MOST_WAITING = 1024
"""Requests in the queue, beyond which new ones are refused."""

MOST_ATTEMPTS = 2
"""Sessions in which one request is tried."""

WAIT_SECONDS = 30.0
"""How long a request waits by default."""


class Unavailable(SecureHflError):
    """A request was not answered in its time, or the service takes no more. Says why; nothing is wrong with it."""


class Listener(Protocol):
    """Hears what the service does, for its figures."""

    def batch(self, requests: int, rows: int, seconds: float) -> None:
        """So many requests were answered together."""

    def session(self, is_open: bool) -> None:
        """A session has begun, or is over."""


class Silent:
    """Hears nothing."""

    def batch(self, requests: int, rows: int, seconds: float) -> None:
        """See `Listener`."""

    def session(self, is_open: bool) -> None:
        """See `Listener`."""


@dataclass
class Ticket:
    """A request in the queue. `attempts`: sessions that broke while it was answered."""

    ids: tuple[str, ...]
    attempts: int = 0
    answer: Future[Predictions] = field(default_factory=Future)

    def give(self, found: Predictions) -> None:
        """Answer it, unless nobody waits any more."""
        with suppress(InvalidStateError):
            self.answer.set_result(found)

    def fail(self, error: BaseException) -> None:
        """The same."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)


class PredictionService:
    """A Host that predicts on line. Start it once; use it from any thread.

    Args:
        scheduler: the user's.
        assignment, training: what it predicts with.
        door: where the collaborators come in; default: the task's address.
        listener: hears what happens.
        fallback: while not all collaborators are there, the Host's fallback head answers.

    Attributes:
        is_ready: a session with all collaborators is open.
        is_stopping: nothing more is taken.
    """

    def __init__(
        self,
        scheduler: HostScheduler,
        assignment: PredictionAssignment,
        training: Training,
        door: Door | None = None,
        listener: Listener | None = None,
        fallback: bool = False,
    ) -> None:
        self._side = HostSide(scheduler, assignment, training)
        self._alone = PredictingAlone(self._side) if fallback else None
        self._door = door or Door(assignment)
        self.listener = listener or Silent()
        self._queue: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self.is_stopping = self.is_ready = False
        self._why = "the collaborators have not come yet"
        self._pause, self._not_before = POLL_SECONDS, 0.0
        self._thread = threading.Thread(target=of_this_task(self._run), name="predictions", daemon=True)
        self._error: BaseException | None = None

    @property
    def directory(self) -> Path:
        """Of the task's predictions here."""
        return self._side.party.assignment.directory

    # For whoever asks ------------------------------------------------------------------------------------------------

    def submit(self, ids: Sequence[str]) -> Future[Predictions]:
        """Ask for predictions; the answer comes later. `Future.cancel` takes back what nobody waits for.

        Raises:
            Unavailable: the service is stopping, or too many requests wait.
            ConfigurationError: these are no ids.
        """
        ticket = Ticket(checked(ids))
        with self._changed:
            if self.is_stopping:
                raise Unavailable("the service is stopping")
            while self._queue and self._queue[0].answer.cancelled():
                self._queue.popleft()
            if len(self._queue) >= MOST_WAITING:
                raise Unavailable(f"{MOST_WAITING} requests are waiting already")
            self._queue.append(ticket)
            self._changed.notify_all()
        return ticket.answer

    def predict(self, ids: Sequence[str], timeout: float = WAIT_SECONDS) -> Predictions:
        """Outputs for these ids, or why there is none.

        Raises:
            Unavailable: not within `timeout` seconds.
            ConfigurationError, UserCodeError: these are no ids, or this party's own code failed at them.
        """
        answer = self.submit(ids)
        try:
            return answer.result(timeout)
        except Late:  # Python 3.10 has it beside its own TimeoutError
            answer.cancel()
            raise Unavailable(self.why_late(timeout)) from None

    def why_late(self, seconds: float) -> str:
        """Why a request was not answered within so many seconds."""
        return f"no answer within {seconds:g} s: " + ("the parties are busy" if self.is_ready else self._why)

    def online(self) -> dict[str, bool]:
        """Whether each collaborator is connected, by its name in the task."""
        here = self._door.arrived()
        return {name: name in here for name in self._door.certificates}

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let collaborators in, and answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what is being answered, refuse what waits, sign and end the session. May be called again."""
        with self._changed:
            self.is_stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> PredictionService:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def failure(self) -> BaseException | None:
        """What ended the service, if it has not been stopped."""
        return self._error

    # The thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        record = self._side.party.assignment.record
        logger.info(f"Predicting on line at {record.address}: waiting for {', '.join(self._door.certificates)}.")
        try:
            while (channels := self._everybody()) is not None:
                self._serve_session(channels)
        except BaseException as error:
            self._error = error
            logger.error(f"Predictions on line have ended: {error}")
        finally:
            with self._changed:
                self.is_stopping = True
                waiting, self._queue = list(self._queue), deque()
            for ticket in waiting:
                ticket.fail(Unavailable("the service is stopping"))
            self._door.close()

    def _everybody(self) -> Mapping[str, Channel] | None:
        """A channel to each collaborator, once all are here; None: the service is to stop."""
        while not self.is_stopping:
            pause = self._not_before - time.monotonic()
            if pause <= 0:
                try:
                    return self._door.wait(POLL_SECONDS if self._alone is None else GLANCE_SECONDS)
                except PeerRefused:
                    absent = [name for name, is_here in self.online().items() if not is_here]
                    self._why = f"{', '.join(absent) or 'somebody'} is not on line"
            elif self._alone is None:
                with self._changed:
                    self._changed.wait_for(lambda: self.is_stopping, pause)
            if self._alone is not None:
                self._answer_alone(self._alone)
        return None

    def _answer_alone(self, alone: PredictingAlone) -> None:
        """What waits, or nothing for a while. Each request by itself: nothing is shared with anybody."""
        for ticket in self._take():
            started = time.perf_counter()
            try:
                found = alone.predict(ticket.ids)
            except SecureHflError as error:
                logger.warning(f"A request failed: {error}")
                ticket.fail(error)
                continue
            ticket.give(found)
            self.listener.batch(1, len(found.at), time.perf_counter() - started)

    def _serve_session(self, channels: Mapping[str, Channel]) -> None:
        try:
            with self._side.party.session():
                self._side.meet(channels, self._door.certificates)
                session = OnlineHost(self._side, self._side.held())
                session.open()
                self._set_open(True)
                began = time.monotonic()
                while not self.is_stopping and time.monotonic() - began < SESSION_SECONDS:
                    self._serve(session)
                session.close()
        except TaskFailed as error:
            self._why = f"the session with the collaborators broke: {error}"
            self._pause = POLL_SECONDS if self.is_ready else min(2 * self._pause, LONGEST_PAUSE)
            self._not_before = time.monotonic() + self._pause
            logger.warning(f"A session ended: {error} Waiting for all collaborators to come back.")
        finally:
            self._set_open(False)

    def _set_open(self, is_open: bool) -> None:
        if is_open != self.is_ready:
            self.is_ready = is_open
            self.listener.session(is_open)
            if is_open:
                logger.info("All collaborators are on line.")

    def _serve(self, session: OnlineHost) -> None:
        """What waits, or nothing for a while."""
        session.rest()
        tickets = self._take()
        if not tickets:
            self._check_links()
            return
        started = time.perf_counter()
        try:
            found = session.predict([each for ticket in tickets for each in ticket.ids])
        except (ConfigurationError, UserCodeError) as error:
            self._one_by_one(session, tickets, error)
            return
        except BaseException as error:
            self._put_back(tickets, error)
            raise
        for ticket in tickets:
            ticket.give(found.of(ticket.ids))
        self.listener.batch(len(tickets), len(found.at), time.perf_counter() - started)

    def _put_back(self, tickets: Sequence[Ticket], error: BaseException) -> None:
        """They are answered in the next session, unless it is they that end sessions: each costs budgets once more."""
        for ticket in reversed(tickets):
            ticket.attempts += 1
            if ticket.attempts >= MOST_ATTEMPTS:
                ticket.fail(Unavailable(f"the session with the collaborators broke: {error}"))
                continue
            with self._changed:
                self._queue.appendleft(ticket)

    def _take(self) -> list[Ticket]:
        """As many requests as fit into a batch, the oldest first; waits for one for a while."""
        taken: list[Ticket] = []
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self.is_stopping, POLL_SECONDS)
            count = 0
            while self._queue and not self.is_stopping:
                if not self._queue[0].answer.cancelled():
                    count += len(self._queue[0].ids)
                    if taken and count > ROWS:
                        break
                    taken.append(self._queue[0])
                self._queue.popleft()
        return taken

    def _one_by_one(self, session: OnlineHost, tickets: Sequence[Ticket], error: SecureHflError) -> None:
        """A request at which this party's own code fails does not take others with it."""
        if len(tickets) == 1:
            logger.warning(f"A request failed: {error}")
            tickets[0].fail(error)
            return
        for ticket in tickets:
            try:
                ticket.give(session.predict(ticket.ids))
            except (ConfigurationError, UserCodeError) as own:
                logger.warning(f"A request failed: {own}")
                ticket.fail(own)

    def _check_links(self) -> None:
        """Raise if a collaborator has gone while nothing was asked of it."""
        for link in self._side.bench.peers.links.values():
            if not link.channel.is_usable:
                link.channel.receive(0)  # raises what it has failed with
                raise ConnectionLost(f"{link.name} has gone")


def prediction_service(scheduler: HostScheduler, reference: str, fallback: bool = False) -> PredictionService:
    """The Host of a finished task, on line. Errors as `find_prediction`, and with `fallback` as `PredictingAlone`."""
    return PredictionService(scheduler, *find_prediction(scheduler, "host", reference), fallback=fallback)
