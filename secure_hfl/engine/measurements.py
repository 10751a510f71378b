"""What one party's run has measured so far, over all its conversations and, after a restart, all its processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_hfl.engine.checkpointing import Checkpoints
from secure_hfl.engine.link import Link
from secure_hfl.engine.precomputation import Precomputation
from secure_hfl.metrics import RoundMetrics, RunMetrics, add_traffic, peak_rss_mb
from secure_hfl.progress import Progress
from secure_hfl.results import recording_writer
from secure_hfl.work_clock import WorkClock

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True)
class Pass:
    """One pass over the training or test batches: where its time goes, and what had been counted before it."""

    clock: WorkClock
    bytes_before: tuple[int, int]
    round_trips_before: tuple[int, ...]


class Accounts:
    """A run's metrics.

    Attributes:
        metrics: of the rounds so far. What is counted elsewhere until the end comes in with `metrics_so_far`.
    """

    metrics: RunMetrics
    links: dict[str, Link]
    precomputation: Precomputation
    checkpoints: Checkpoints
    progress: Progress
    _earlier: RunMetrics
    """What other processes of this run, and conversations that are over, have counted."""
    _started: float
    _results: Path
    _interrupted_by: BaseException | None
    _tb_writer: SummaryWriter | None = None

    def metrics_so_far(self) -> RunMetrics:
        """With what was counted elsewhere."""
        metrics = self.metrics.model_copy(deep=True)
        metrics.seconds = self._earlier.seconds + time.perf_counter() - self._started
        metrics.peak_rss_mb = peak_rss_mb()
        metrics.offline_seconds += self.precomputation.cpu_seconds
        metrics.checkpoint_seconds = self._earlier.checkpoint_seconds + self.checkpoints.seconds
        metrics.bytes_sent, metrics.bytes_received = self._earlier.bytes_sent, self._earlier.bytes_received
        metrics.messages = {name: dict(counts) for name, counts in self._earlier.messages.items()}
        add_traffic(metrics, [link.channel for link in self.links.values()])
        return metrics

    def take_over_metrics(self, saved: RunMetrics) -> None:
        """Go back to a checkpoint's metrics; what a process has spent is spent."""
        if self._interrupted_by is None:
            self._earlier = saved
        else:
            saved.resumes, saved.recovery_seconds = self.metrics.resumes, self.metrics.recovery_seconds
        self.metrics = saved
        if self._tb_writer is not None:
            self._tb_writer.close()
            self._tb_writer = None

    def _summary(self) -> dict[str, Any]:
        last = self.metrics.rounds[-1] if self.metrics.rounds else None
        return {
            "rounds": len(self.metrics.rounds),
            "accuracy": last.accuracy if last is not None and isfinite(last.accuracy or 0.0) else None,
            "seconds": round(self.metrics.seconds, 3),
            "bytes_sent": self.metrics.bytes_sent,
            "bytes_received": self.metrics.bytes_received,
        }

    @property
    def tb_writer(self) -> SummaryWriter:
        """Made when first used."""
        if self._tb_writer is None:
            self._tb_writer = recording_writer(self._results / "tensorboard", lambda: self.metrics.scalars)
        return self._tb_writer

    def bytes_now(self) -> tuple[int, int]:
        """Wire bytes sent and received so far, over all peers."""
        channels = [link.channel for link in self.links.values()]
        return sum(channel.bytes_sent for channel in channels), sum(channel.bytes_received for channel in channels)

    def _round_trips_now(self) -> tuple[int, ...]:
        return tuple(link.round_trips for link in self.links.values())

    @contextmanager
    def one_pass(self) -> Iterator[Pass]:
        """Measure the block, which is one pass over the training or test batches."""
        before = self.bytes_now(), self._round_trips_now()
        with WorkClock() as clock:
            yield Pass(clock, *before)

    def account(self, into: RoundMetrics, training: bool, done: Pass) -> None:
        """Close the books of a pass."""
        clock = done.clock
        if training:
            trips = [now - before for now, before in zip(self._round_trips_now(), done.round_trips_before)]
            into.train_seconds, into.work, into.round_trips = clock.total, clock.seconds, max(trips)
        else:
            into.test_seconds = clock.total
        sent, received = self.bytes_now()
        into.bytes_sent += sent - done.bytes_before[0]
        into.bytes_received += received - done.bytes_before[1]
        self.progress.emit("round", **into.model_dump(mode="json"))
