"""The one seam for heavy party-local work (PSI points, ciphertext products, pools).

Protocol code hands over a pure, picklable function and an iterable; where it runs is decided here: inline, in threads
or worker processes over the cores, or wherever another `Executor` (say, a cluster engine's) takes it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import Any, Protocol, TypeVar

from loky import ProcessPoolExecutor
from loky.backend import get_context

from protocols.core.mapper import Mapper

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 2
"""Workers from which on processes are faster than threads for much work that releases the interpreter's lock."""


SPARE_CORES = 4
"""From here on some are free for threads that help for a fraction of a millisecond."""


class Executor(Protocol):
    """Runs work and is closed when the task ends."""

    def mapper(self, size: int, *, releases_lock: bool = False) -> Mapper:
        """A mapper for work.

        Args:
            size: pieces of work in all, about.
            releases_lock: the work spends most of its time in libraries that release the interpreter's lock.
        """

    def close(self) -> None:
        """Stop the workers."""


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


class LocalExecutor:
    """Inline for little work, threads for work that lets them run side by side, else worker processes.

    Processes take about half a second to start, and a fifth of PSI's work to hand over; threads wait for each other
    while one of them holds the interpreter's lock, a sixth of PSI's work. So two cores, or little work, go to threads.
    Threads, too, keep a secret in one process.

    loky's workers do not import the user's script again, so a script without a `__main__` guard (the tutorial's) works.

    Args:
        workers: threads or processes; default one per usable core, 1 means inline.
        much: sizes from here on are worth processes.
    """

    def __init__(self, workers: int | None = None, much: int = 32) -> None:
        self._workers = usable_cores() if workers is None else workers
        self._much = much
        self._processes: Any = None

    def mapper(self, size: int, *, releases_lock: bool = False) -> Mapper:
        """The builtin `map`, or one over threads or processes."""
        if self._workers < 2 or size < 2:
            return map
        if releases_lock and (self._workers <= MOST_THREADS or size < self._much):
            return partial(self._map, _threads(self._workers))
        if size < self._much:
            return map
        if self._processes is None:
            self._processes = ProcessPoolExecutor(max_workers=self._workers, context=get_context("loky"))
        return partial(self._map, self._processes)

    def _map(self, pool: Pool, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * self._workers:  # bounds memory: work runs ahead of its reader by two per worker
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Stop the processes at once; results that nobody took are lost."""
        if self._processes is not None:
            self._processes.shutdown(wait=True, kill_workers=True)
            self._processes = None


@cache
def _threads(workers: int) -> ThreadPoolExecutor:
    """One pool for all tasks of this process."""
    return ThreadPoolExecutor(workers, thread_name_prefix="work", initializer=_give_way)


def _give_way() -> None:
    """This thread takes no core from one that runs when it is woken, least of all from who asked it for help."""
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def thread_map(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    """A mapper over threads, for functions that spend their time in libraries that release the interpreter's lock.

    This thread takes pieces as well: whatever nobody has begun. So it never waits for a thread that comes late, and one
    piece is not handed over at all, which would take longer than a small product's parts do.
    """
    pieces = list(items)
    helpers = min(len(pieces), usable_cores()) - 1
    if helpers < 1:
        return map(function, pieces)
    left: deque[tuple[int, Item]] = deque(enumerate(pieces))
    found: list[Any] = [None] * len(pieces)
    work = partial(_take, function, left, found)
    asked = [_threads(usable_cores()).submit(work) for _ in range(helpers)]
    work()
    for each in asked:
        if not each.cancel():
            each.result()
    return (_result(each) for each in found)


def spare_threads() -> Mapper:
    """`thread_map` with four cores or more. With fewer, training has its threads on all of them, and it is `map`.

    On two cores with both parties an epoch of the tutorial's task takes 8 % longer if small products are shared.
    """
    return thread_map if usable_cores() >= SPARE_CORES else map


def _take(function: Callable[[Item], Result], left: deque[tuple[int, Item]], found: list[Any]) -> None:
    """Does pieces until none is left. An error is kept in its place, for whoever takes the results in order."""
    while left:
        try:
            number, piece = left.popleft()
        except IndexError:  # another thread was faster
            return
        try:
            found[number] = function(piece), None
        except BaseException as error:
            found[number] = None, error


def _result(found: tuple[Any, BaseException | None]) -> Any:
    result, error = found
    if error is not None:
        raise error
    return result


def thread_beside(work: Callable[[], Result], /) -> Callable[[], Result]:
    """Begins work in a thread of its own pool: what it does may use `thread_map`, whose threads wait for nothing."""
    return _beside_threads(usable_cores()).submit(work).result


def when_asked(work: Callable[[], Result], /) -> Callable[[], Result]:
    """Begins nothing: whoever asks first for the result does the work, and others wait for it."""
    first, done = threading.Lock(), Future[Result]()

    def result() -> Result:
        if first.acquire(blocking=False):
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)
        return done.result()

    return result


@cache
def _beside_threads(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="beside")


for _pool in (_threads, _beside_threads):  # a fork has the pools, but not their threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
