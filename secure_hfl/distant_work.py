"""Large products, offline triples and randomness made ahead, on a party's own Ray where that should be sooner.

A layer says how much work it has (`protocols.core.mapper.Work`). Little is done here and asks nobody. For more the
cluster is reached, once, and its link measured: then what decides is whether sending and sharing take less time than
doing it here.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from protocols.core.mapper import Distant, Mapper, Work, nowhere
from secure_hfl.executor import usable_cores
from secure_hfl.log import logger
from secure_hfl.ray_executor import RayExecutor, check_engine

LEAST_SECONDS = 0.05
"""Less work than this is done here: it is about what a few pieces take to be handed over."""

_PROBE_BYTES = 4 << 20


@dataclass(frozen=True)
class ClusterLink:
    """What a cluster can do, and what it costs to ask.

    Args:
        workers: pieces at once.
        piece_seconds: lost on a piece of work, all workers busy.
        bytes_a_second: there and back.
    """

    workers: int
    piece_seconds: float
    bytes_a_second: float

    @classmethod
    def measured(cls, mapper: Mapper, workers: int) -> ClusterLink:
        """By pieces that do nothing, once workers have started, and by one that is large."""
        for _ in range(2):
            started = time.perf_counter()
            count = len(list(mapper(len, [b""] * (4 * workers))))
            piece_seconds = (time.perf_counter() - started) / count
        probe, started = bytes(_PROBE_BYTES), time.perf_counter()
        list(mapper(bytes.swapcase, [probe]))
        return cls(workers, piece_seconds, 2 * _PROBE_BYTES / (time.perf_counter() - started))

    def seconds(self, work: Work) -> float:
        """Until it is done there and has come back."""
        return self.workers * self.piece_seconds + work.size / self.bytes_a_second + work.seconds / self.workers


def seconds_here(work: Work) -> float:
    """Until it is done in this process."""
    return work.seconds / (usable_cores() if work.is_threaded else 1)


class DistantWork:
    """`protocols.core.mapper.Distant`: where a layer's large work goes.

    Args:
        engine: as `--engine` says it.
        least_seconds: work from here on is thought about.
    """

    def __init__(self, engine: str, least_seconds: float = LEAST_SECONDS) -> None:
        self._executor, self._least_seconds = RayExecutor(engine), least_seconds
        self._link: ClusterLink | None = None
        self._measuring = threading.Lock()

    def __call__(self, work: Work, /) -> Mapper | None:
        """A mapper over the cluster's workers; None: it is done sooner here.

        Raises:
            ConfigurationError: there is enough work, and the cluster cannot be reached.
        """
        if work.seconds < self._least_seconds:
            return None
        mapper = self._executor.mapper(2)
        return mapper if self._reached(mapper).seconds(work) < seconds_here(work) else None

    def _reached(self, mapper: Mapper) -> ClusterLink:
        with self._measuring:
            if self._link is None:
                self._link = ClusterLink.measured(mapper, self._executor.workers)
                rate = self._link.bytes_a_second / 1e6
                logger.info(
                    f"Ray: {self._link.workers} workers, {self._link.piece_seconds * 1e3:.1f} ms lost on a piece of "
                    f"work, {rate:.0f} MB/s. What is done sooner there goes there."
                )
            return self._link

    def close(self) -> None:
        """Leave the cluster. May be called again."""
        self._link = None
        self._executor.close()


def distant_work(engine: str | None) -> DistantWork | None:
    """As `--engine` says it; None: all is done here. Raises as `check_engine`."""
    check_engine(engine)
    return None if engine is None else DistantWork(engine)


def as_distant(work: DistantWork | None) -> Distant:
    """What a scheme is lent of it."""
    return nowhere if work is None else work
