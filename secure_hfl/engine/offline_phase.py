"""The offline phase of a scheme that has one: what the parties make with each other beside training, in its own lane.

The host decides what to make and how much; collaborators serve. Training takes from the pools, and waits at the gate
when they are empty. Pools are bounded by what the rest of the task can use and by memory.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from protocols.core.errors import SecureHflError
from protocols.layer.interface import (
    STOCK_BYTES,
    UNITS_AT_ONCE,
    CollaboratorOfflinePhase,
    HostLayer,
    HostOfflinePhase,
    most_units,
)
from secure_hfl.engine.link import Link
from secure_hfl.errors import BackgroundFailed, PeerTimeout
from secure_hfl.log import logger, of_this_task
from secure_hfl.priority import give_way

NICE = 10
"""How much less the thread gets that makes units, where training wants its core: a tenth. Without units training waits,
and leaves it all."""


@dataclass
class Demand:
    """How many triples of each kind one link will need, as far as is known.

    Args:
        a_round: for one round.
        in_all: for the whole task; None: no end is known.
        capacity: that may be in stock at once.
    """

    a_round: dict[str, int]
    in_all: dict[str, int | None]
    capacity: int

    @classmethod
    def of(
        cls, bytes_per_unit: int, a_round: Mapping[str, int], rounds: Mapping[str, int | None], stock_bytes: int
    ) -> Demand:
        """For a task of so many training and test batches a round, and so many rounds of each."""
        in_all: dict[str, int | None] = {}
        for kind, count in a_round.items():
            times = rounds[kind]
            # One more triple in a thousand, and one to begin with, is for the checks.
            in_all[kind] = None if times is None else times * count + times * count // 1000 + 1
        most = 2 * max(a_round.values()) + UNITS_AT_ONCE
        return cls(dict(a_round), in_all, min(most, most_units(stock_bytes, bytes_per_unit)))


class OfflineWorker(ABC):
    """A party's thread for the offline phase. It gives way to training, and ends with the task; it keeps the error that
    ended it early.

    Attributes:
        seconds: spent on making things so far.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=of_this_task(self._run), name="offline", daemon=True)
        self._error: SecureHflError | None = None
        self._stopping = False
        self.seconds = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        give_way(NICE)
        try:
            self._work()
        except Exception as error:
            logger.debug("The offline phase has ended.", exc_info=error)
            with self._changed:
                self._error = BackgroundFailed.of(error, "units were made beside training")
                self._changed.notify_all()

    @abstractmethod
    def stop(self) -> None:
        """The task is over. May be called again."""

    @abstractmethod
    def _work(self) -> None:
        """What the thread does until the task ends."""


class HostOfflineWork(OfflineWorker):
    """Fills the host's pools, one link after the other.

    Args:
        lanes: the offline lane, the pool and the demand of each link.
        timeout: seconds training may wait for a triple, and for the next ones of its first round.
    """

    def __init__(self, lanes: Sequence[tuple[Link, HostOfflinePhase, Demand]], timeout: float) -> None:
        super().__init__()
        self._lanes = lanes
        self._timeout = timeout
        self._made = [dict.fromkeys(demand.a_round, 0) for _, _, demand in lanes]
        self._awaited: tuple[HostOfflinePhase, str, int] | None = None  # to be in stock: training waits

    def wait_for_round(self) -> None:
        """Until there is enough for a round, or the pools are full."""
        for (_, pool, demand), made in zip(self._lanes, self._made):
            for kind, count in demand.a_round.items():
                total = demand.in_all[kind]
                left = count if total is None else min(count, total - made[kind] + pool.stock(kind))
                self._wait(pool, kind, min(left, demand.capacity), None)

    def wait_for(self, at: int, kind: str, count: int) -> None:
        """Until the next batch of the link at this position has its triples.

        Raises:
            SecureHflError: what went wrong in the background.
            PeerTimeout: they were not ready in time.
        """
        _, pool, demand = self._lanes[at]
        if pool.stock(kind) >= count and self._error is None:
            self._wake()
            return
        with self._changed:
            total, made = demand.in_all[kind], self._made[at][kind]
            if total is not None:  # the user's iterator has more batches than ids / batch size
                demand.in_all[kind] = max(total, made + count)
                demand.a_round[kind] = max(demand.a_round[kind], 1)
            demand.capacity = max(demand.capacity, count)  # or it would never come
        self._wait(pool, kind, count, self._timeout)

    def _wake(self) -> None:
        """The worker looks again, if there is something to do: to wake it for nothing would cost the batch its turn."""
        with self._changed:
            if self._next_job() is not None:
                self._changed.notify_all()

    def _wait(self, pool: HostOfflinePhase, kind: str, count: int, timeout: float | None) -> None:
        """Until there are so many; without a timeout, as long as it goes on."""

        def is_over() -> bool:
            return self._error is not None or pool.stock(kind) >= count

        with self._changed:
            self._awaited = (pool, kind, count)
            self._changed.notify_all()  # the worker looks again
            if timeout is not None and not self._changed.wait_for(is_over, timeout):
                raise PeerTimeout(f"no masks were ready for {timeout:g} s")
            while not is_over():
                if not self._changed.wait_for(self._progress(is_over), self._timeout):
                    raise PeerTimeout(f"no masks were made for {self._timeout:g} s")
            self._awaited = None
            if self._error is not None:
                raise self._error

    def _progress(self, is_over: Callable[[], bool]) -> Callable[[], bool]:
        """Whether more has been made since now, for anybody."""
        before = sum(sum(made.values()) for made in self._made)
        return lambda: is_over() or sum(sum(made.values()) for made in self._made) > before

    def stop(self) -> None:
        """Finish the conversation in hand, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next_job() is not None)
                job = self._next_job()
            if self._stopping or job is None:
                return
            at, kind, count = job
            link, pool, _ = self._lanes[at]
            started = time.perf_counter()
            link.run(pool.generate(kind, count))
            self.seconds += time.perf_counter() - started
            with self._changed:
                self._made[at][kind] += count
                self._changed.notify_all()

    def _next_job(self) -> tuple[int, str, int] | None:
        """The link and kind with the least in stock, relative to a round."""
        jobs = [
            (pool.stock(kind) / a_round, at, kind, count)
            for at, (_, pool, demand) in enumerate(self._lanes)
            for kind, a_round in demand.a_round.items()
            if a_round and (count := self._count(at, kind)) > 0
        ]
        return min(jobs)[1:] if jobs else None

    def _count(self, at: int, kind: str) -> int:
        """How many to make now. Not one for each that is taken: a few cost as many messages as a whole conversation."""
        _, pool, demand = self._lanes[at]
        total, stock = demand.in_all[kind], pool.stock(kind)
        room = demand.capacity - stock
        wanted = room if total is None else min(room, total - self._made[at][kind])
        is_awaited = self._awaited is not None and self._awaited[:2] == (pool, kind) and stock < self._awaited[2]
        is_whole = wanted >= min(UNITS_AT_ONCE, max(1, demand.capacity // 2)) or wanted < room
        return min(wanted, UNITS_AT_ONCE) if is_whole or is_awaited else 0


class CollaboratorOfflineWork(OfflineWorker):
    """Serves the host's requests until the connection is closed. What goes wrong ends the connection."""

    def __init__(self, lane: Link, pool: CollaboratorOfflinePhase) -> None:
        super().__init__()
        self._lane, self._pool = lane, pool
        self._timeout = lane.timeout

    def stop(self) -> None:
        """It serves until the connection is closed."""

    def _work(self) -> None:
        try:
            while True:
                self._lane.timeout = None  # the host asks when it likes, and then goes on
                request = self._lane.receive(self._pool.request_type)
                self._lane.timeout = self._timeout
                started = time.perf_counter()
                self._lane.run(self._pool.serve(request))
                self.seconds += time.perf_counter() - started
        except Exception as error:
            ours = BackgroundFailed.of(error, "units were made beside training")
            self._lane.channel.fail(ours)
            raise ours from ours.__cause__


@dataclass(frozen=True)
class Outlook:
    """What the rest of a task will use, as far as is known.

    Args:
        rows: of a batch.
        batches: of training, and of testing, in a round.
        rounds: of training, and tests, that are left; None: the user decides as they go.
        stock_bytes: memory for what one link has in stock of one kind.
    """

    rows: int
    batches: tuple[int, int]
    rounds: tuple[int | None, int | None]
    stock_bytes: int = STOCK_BYTES

    def demand(self, layer: HostLayer, phase: HostOfflinePhase) -> Demand:
        """What a layer will need of its offline phase."""
        kinds, shown = (phase.kind(True), phase.kind(False)), layer.rows_shown
        a_round, rounds = dict(zip(kinds, self.batches)), dict(zip(kinds, self.rounds))
        if shown is not None:
            # Of a frozen bottom model each row is shown once. Where it gives more rows than there are ids, more is made
            # when it is asked for.
            a_round, rounds = {kinds[0]: max(0, sum(self.batches) - shown // self.rows)}, {kinds[0]: 1}
        return Demand.of(phase.bytes_per_unit, a_round, rounds, self.stock_bytes)


def host_offline_work(
    links: Mapping[str, Link], layers: Mapping[str, HostLayer], outlook: Outlook, timeout: float
) -> HostOfflineWork | None:
    """The host's part in the offline phase of its layers, not started yet. None for schemes without one."""
    phases = {key: layer.offline for key, layer in layers.items() if layer.offline is not None}
    if not phases:
        return None
    lanes = [(links[key].offline_lane(), phase, outlook.demand(layers[key], phase)) for key, phase in phases.items()]
    return HostOfflineWork(lanes, timeout)


def wait_for_units(
    work: HostOfflineWork, layers: Mapping[str, HostLayer], training: bool, rows: Mapping[str, int]
) -> None:
    """Until what the next batch uses is in stock on every link; `rows`: how many of it each layer is about to get."""
    for at, (key, layer) in enumerate(layers.items()):
        if layer.offline is not None:
            work.wait_for(at, *layer.offline.needs(training, rows[key]))
