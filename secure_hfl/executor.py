"""The one seam for heavy party-local work (PSI points, ciphertext products, pools).

Protocol code hands over a pure, picklable function and an iterable; where it runs is decided here: inline, in worker
processes over the cores, or wherever another `Executor` (say, a cluster engine's) takes it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Protocol, TypeVar

from loky import ProcessPoolExecutor
from loky.backend import get_context

from protocols.work import Mapper

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs work and is closed when the task ends."""

    def mapper(self, size: int) -> Mapper:
        """A mapper for about `size` pieces of work in all."""

    def close(self) -> None:
        """Stop the workers."""


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


class LocalExecutor:
    """Inline for little work, worker processes for much.

    loky's workers do not import the user's script again, so a script without a `__main__` guard (the tutorial's) works.

    Args:
        workers: processes; default one per usable core, 1 means inline.
        inline_below: sizes under this run inline, because workers take about a second to start.
    """

    def __init__(self, workers: int | None = None, inline_below: int = 32) -> None:
        self._workers = usable_cores() if workers is None else workers
        self._inline_below = inline_below
        self._pool: Any = None

    def mapper(self, size: int) -> Mapper:
        """The builtin `map`, or one over worker processes."""
        if self._workers < 2 or size < self._inline_below:
            return map
        if self._pool is None:
            self._pool = ProcessPoolExecutor(max_workers=self._workers, context=get_context("loky"))
        return self._map

    def _map(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            if len(pending) > 2 * self._workers:  # bounds memory: work runs ahead of its reader by two per worker
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Stop the workers at once; results that nobody took are lost."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="work")


def thread_map(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    """A mapper over threads, for functions that spend their time in libraries that release the interpreter's lock."""
    return _threads().map(function, items)
