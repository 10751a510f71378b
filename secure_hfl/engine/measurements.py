"""What one party's run has measured so far, over all its conversations and, after a restart, all its processes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_hfl.engine.peers import Peers
from secure_hfl.log import logger
from secure_hfl.metrics import RoundMetrics, RunMetrics, add_traffic, peak_rss_mb
from secure_hfl.progress import Progress
from secure_hfl.results import recording_writer
from secure_hfl.transport.channel import Channel
from secure_hfl.work_clock import WorkClock

if TYPE_CHECKING:  # it takes half a second to import, and the collaborator rarely needs it
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True)
class Pass:
    """One pass over the training or test batches: where its time goes, and what had been counted before it."""

    clock: WorkClock
    bytes_before: tuple[int, int]
    round_trips_before: tuple[int, ...]


class Measurements:
    """A run's metrics.

    Args:
        metrics: of a run that has done nothing.
        logs: where TensorBoard's go.
        peers: whose traffic is counted.
        progress: hears of every pass.

    Attributes:
        metrics: of the rounds so far. What is counted elsewhere until the end comes in with `so_far`.
    """

    def __init__(self, metrics: RunMetrics, logs: Path, peers: Peers, progress: Progress) -> None:
        self.metrics = metrics
        self._earlier = metrics.model_copy(deep=True)
        """What other processes of this run, and conversations that are over, have counted."""
        self._logs, self._peers, self._progress = logs, peers, progress
        self._started = 0.0
        self._tb_writer: SummaryWriter | None = None

    def start(self) -> None:
        """The run begins."""
        self._started = time.perf_counter()

    @property
    def started(self) -> float:
        """When, by the performance counter."""
        return self._started

    def so_far(self, offline_seconds: float, checkpoint_seconds: float) -> RunMetrics:
        """With what was counted elsewhere. Rounds, losses and scalars are not copied: there may be thousands.

        Args:
            offline_seconds: of this conversation's work in the background.
            checkpoint_seconds: of this process.
        """
        metrics = self.metrics.model_copy()
        metrics.seconds = self._earlier.seconds + time.perf_counter() - self._started
        metrics.peak_rss_mb = peak_rss_mb()
        metrics.offline_seconds += offline_seconds
        metrics.checkpoint_seconds = self._earlier.checkpoint_seconds + checkpoint_seconds
        metrics.bytes_sent, metrics.bytes_received = self._earlier.bytes_sent, self._earlier.bytes_received
        metrics.messages = {name: dict(counts) for name, counts in self._earlier.messages.items()}
        add_traffic(metrics, self._peers.channels())
        return metrics

    def conversation_over(self, channels: Iterable[Channel], offline_seconds: float) -> None:
        """Count what a conversation that was interrupted, or has ended, had cost."""
        add_traffic(self._earlier, channels)
        self.metrics.offline_seconds += offline_seconds

    def take_over(self, saved: RunMetrics, is_same_process: bool) -> None:
        """Go back to a checkpoint's metrics; what a process has spent is spent."""
        if is_same_process:
            saved.resumes, saved.recovery_seconds = self.metrics.resumes, self.metrics.recovery_seconds
        else:
            self._earlier = saved
        self.metrics = saved
        self.close_logs()

    def resumed(self, seconds: float) -> None:
        """The run goes on, so long after it was interrupted."""
        self.metrics.resumes += 1
        self.metrics.recovery_seconds.append(seconds)

    def summary(self) -> dict[str, Any]:
        """For the task's record."""
        last = self.metrics.rounds[-1] if self.metrics.rounds else None
        return {
            "rounds": len(self.metrics.rounds),
            "accuracy": last.accuracy if last is not None and isfinite(last.accuracy or 0.0) else None,
            "label_epsilon": self.metrics.label_epsilon,
            "seconds": round(self.metrics.seconds, 3),
            "bytes_sent": self.metrics.bytes_sent,
            "bytes_received": self.metrics.bytes_received,
        }

    # TensorBoard -----------------------------------------------------------------------------------------------------

    @property
    def tb_writer(self) -> SummaryWriter:
        """Made when first used."""
        if self._tb_writer is None:
            self._tb_writer = recording_writer(self._logs, lambda: self.metrics.scalars)
        return self._tb_writer

    def close_logs(self) -> None:
        """All that was written is in the files; another writer begins with it."""
        if self._tb_writer is not None:
            self._tb_writer.close()
            self._tb_writer = None

    # One pass --------------------------------------------------------------------------------------------------------

    @contextmanager
    def one_pass(self) -> Iterator[Pass]:
        """Measure the block, which is one pass over the training or test batches."""
        before = self._peers.bytes_now(), self._peers.round_trips_now()
        with WorkClock() as clock:
            yield Pass(clock, *before)

    def account(self, into: RoundMetrics, training: bool, done: Pass) -> None:
        """Close the books of a pass."""
        clock = done.clock
        if training:
            trips = [now - before for now, before in zip(self._peers.round_trips_now(), done.round_trips_before)]
            into.train_seconds, into.work, into.round_trips = clock.total, clock.seconds, max(trips)
        else:
            into.test_seconds = clock.total
            figures = {"accuracy": into.accuracy, "average loss": into.average_loss}
            said = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
            if said:
                logger.info(f"Test after round {into.round}: {', '.join(said)}.")
        sent, received = self._peers.bytes_now()
        into.bytes_sent += sent - done.bytes_before[0]
        into.bytes_received += received - done.bytes_before[1]
        self._progress.emit("round", **into.model_dump(mode="json"))
