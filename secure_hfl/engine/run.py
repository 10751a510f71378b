"""One party's run of one task: what both roles share.

join ─▶ agree ─▶ intersect ─▶ split and compare ─▶ set up the projections ─▶ rounds ─▶ results
  └────────┴─────────┴───────────────┴──────── any failure: tell every peer why, keep the log, raise TaskFailed
"""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from protocols.agreement import Manifest
from protocols.alignment import SampleId, check_ids, ids_digest
from protocols.control import Abort
from protocols.envelope import Phase
from protocols.errors import InvalidInput, SecureHflError
from protocols.message import Array
from secure_hfl import run_options
from secure_hfl.engine.failure import Failure, diagnose, one_line
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.errors import ConfigurationError, SchemeMismatch, UserCodeError
from secure_hfl.executor import LocalExecutor
from secure_hfl.home import home_directory
from secure_hfl.identity import Identity
from secure_hfl.log import close_task_log, log_traceback, logger, open_task_log
from secure_hfl.metrics import RoundMetrics, RunMetrics, Stopwatch, peak_rss_mb
from secure_hfl.progress import progress_for
from secure_hfl.results import recording_writer, save_results
from secure_hfl.schedulers.base import HeteroNNScheduler, seed_everything
from secure_hfl.schemes import load_scheme
from secure_hfl.session import Link, Place
from secure_hfl.stock import StockKeeper
from secure_hfl.tasks import TaskRecord, TaskStore, resolve_task
from secure_hfl.transcript import Transcript

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SchedulerT = TypeVar("SchedulerT", bound=HeteroNNScheduler)
Value = TypeVar("Value")

FLUSH_SECONDS = 5.0
"""How long a failing party waits for its last words to leave."""


class TaskRun(ABC, Generic[SchedulerT]):
    """Everything one party's run holds, and its life from `execute()` to results.

    Args:
        scheduler: the user's.
        reference: the task's id, prefix, name, or the tutorial's placeholder.
    """

    role: ClassVar[str]

    def __init__(self, scheduler: SchedulerT, reference: str) -> None:
        self.scheduler = scheduler
        self.options = run_options.current()
        home = home_directory()
        self.store = TaskStore(home)
        self.record: TaskRecord = resolve_task(self.store, reference, self.options.task)
        if self.record.role != self.role:
            raise ConfigurationError(
                f"task {self.record.name!r} makes this party the {self.record.role}, but the script runs a {self.role}"
            )
        self.identity = Identity.load_or_create(home)
        self.scheme = load_scheme(self.options.scheme or scheduler.scheme or self.record.scheme)
        if self.scheme.is_plaintext and self.scheme.name != self.record.scheme:
            raise SchemeMismatch(
                f"task {self.record.name!r} was agreed on with scheme {self.record.scheme!r}: a run cannot make it "
                f"{self.scheme.name!r}, which encrypts nothing. Create a task with --scheme {self.scheme.name}"
            )
        self.party = scheduler.feature_key
        self.place = Place(Phase.JOIN)
        self.links: dict[str, Link] = {}
        self.transcripts: list[tuple[Link, Transcript]] = []
        self.progress = progress_for(self.options.progress)
        self.executor = LocalExecutor()
        self.stock = StockKeeper(())
        self.watch = Stopwatch()
        self.metrics = RunMetrics(party=self.party, role=self.role, scheme=self.scheme.name, seed=self.options.seed)
        self.current_round = 0
        self.manifest: Manifest
        self.id_intersection: frozenset[str] = frozenset()
        self.train_ids: Collection[SampleId] = ()
        self.test_ids: Collection[SampleId] = ()
        self.feature_model: nn.Module
        self.detail_by_code: dict[str, str] = {}
        self.interrupter = Interrupter()
        self._started = 0.0
        self._artifacts: list[Path] = []
        self._batch_ids: bytes = b""
        self._tb_writer: SummaryWriter | None = None
        self._results = self.store.directory(self.record.task_id) / "results"

    # The life of a run -----------------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Run the task to its end. Raises `TaskFailed`."""
        self.store.start(self.record.task_id)
        handler = open_task_log(self.store.directory(self.record.task_id) / "log.txt")
        self._started = time.perf_counter()
        try:
            self._prepare()
            self._work()
            self._finish()
        except BaseException as error:
            self.interrupter.stop()
            log_traceback(handler, error)
            failure = self._fail(self.interrupter.reason or error)
            if isinstance(error, KeyboardInterrupt) and self.interrupter.reason is None:
                raise
            raise failure.error() from (None if isinstance(error, SecureHflError) else error)
        finally:
            self.interrupter.stop()
            self._close()
            close_task_log(handler)

    @abstractmethod
    def _work(self) -> None:
        """From joining to the last message."""

    @abstractmethod
    def _models(self) -> dict[str, nn.Module]:
        """This party's models by file name."""

    @abstractmethod
    def _projections(self) -> dict[str, dict[str, Array]]:
        """What this party holds of each projection layer."""

    def _prepare(self) -> None:
        scheduler = self.scheduler
        self.progress.emit("phase", phase="join", round=0)
        self.user("validate_context", scheduler.validate_context)
        if not scheduler._context_is_valid:
            raise ConfigurationError("validate_context() must call super().validate_context() first")
        if self.record.data_check is None:
            logger.warning("No DataChecker has verified the data of this task.")
        if self.options.seed is not None:
            logger.warning("This run has a seed: it can be repeated, and it is NOT SECRET.")
            seed_everything(self.options.seed, self.party)
        shutil.rmtree(self._results, ignore_errors=True)
        self._results.mkdir(mode=0o700)

    def save(self) -> None:
        """Write the results. Done before the farewell, so that no party finishes a task whose results another lost."""
        metrics = self.metrics
        metrics.seconds = time.perf_counter() - self._started
        metrics.peak_rss_mb = peak_rss_mb()
        self.stock.stop()
        metrics.offline_seconds += self.stock.cpu_seconds
        if self._tb_writer is not None:
            self._tb_writer.close()
        self._count_bytes()
        self._artifacts = save_results(self._results, self._models(), self._projections(), metrics)

    def _finish(self) -> None:
        metrics = self.metrics
        transcripts = [transcript.path for _, transcript in self.transcripts]
        self.store.finish(self.record.task_id, self._summary(), [*self._artifacts, *transcripts])
        logger.info(f"Task {self.record.task_id} finished after {self.current_round} rounds; results: {self._results}")
        self.progress.emit("end", ok=True, reason="", metrics=metrics.model_dump(mode="json"))

    def _summary(self) -> dict[str, Any]:
        last = self.metrics.rounds[-1] if self.metrics.rounds else None
        return {
            "rounds": len(self.metrics.rounds),
            "accuracy": last.accuracy if last is not None and isfinite(last.accuracy or 0.0) else None,
            "seconds": round(self.metrics.seconds, 3),
            "bytes_sent": self.metrics.bytes_sent,
            "bytes_received": self.metrics.bytes_received,
        }

    def _fail(self, error: BaseException) -> Failure:
        """Tell every peer why, and keep what only we may know in the log."""
        failure = diagnose(error, self.party, self.place)
        local = self.detail_by_code.get(failure.code, "")
        if local:
            failure = Failure(failure.party, failure.code, failure.reason, local, failure.from_peer)
        for link in self.links.values():
            self._send_abort(link, failure)
        self.store.fail(self.record.task_id, failure.reason)
        self.progress.emit("end", ok=False, reason=failure.reason)
        return failure

    def _send_abort(self, link: Link, failure: Failure) -> None:
        if link.name == failure.party and failure.from_peer:
            return  # it knows
        place = self.place
        abort = Abort(reason=one_line(failure.reason), party=one_line(failure.party, 100), code=failure.code)
        try:
            link.channel.send(place.phase, place.round, place.batch, abort, FLUSH_SECONDS)
        except SecureHflError as error:
            logger.debug(f"{link.name} could not be told: {error}")

    def _close(self) -> None:
        self.stock.stop()
        for link in self.links.values():
            try:
                link.channel.close(FLUSH_SECONDS)
            except SecureHflError as error:
                logger.debug(f"closing the connection to {link.name}: {error}")
        for _, transcript in self.transcripts:
            transcript.close()
        self.executor.close()

    # What the roles use ----------------------------------------------------------------------------------------------

    def go_to(self, phase: Phase, round_number: int = 0, batch: int = 0) -> None:
        """From now on, messages are of this place."""
        if phase != self.place.phase:
            self.progress.emit("phase", phase=phase.name.lower(), round=round_number)
        self.place = Place(phase, round_number, batch)
        for link in self.links.values():
            link.place = self.place

    def user(self, name: str, method: Callable[..., Value], *args: Any) -> Value:
        """Call one of the user's methods; what it raises becomes a `UserCodeError` that names it."""
        try:
            with self.interrupter.user_code():
                return method(*args)
        except SecureHflError:
            raise
        except Exception as error:  # whatever a user's code raises ends the task in an orderly way
            raise UserCodeError(f"{name} raised {type(error).__name__}: {error}") from error

    def local_ids(self) -> list[str]:
        """The user's ids."""
        ids = self.user("load_local_ids", self.scheduler.load_local_ids)
        if not isinstance(ids, (list, tuple, set, frozenset)):
            raise InvalidInput(f"load_local_ids must return a list of text ids, not {type(ids).__name__}")
        return list(ids)

    def split(self) -> None:
        """The user's split of the intersection."""
        parts = self.user("split_dataset", self.scheduler.split_dataset, set(self.id_intersection))
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise InvalidInput("split_dataset must return (training ids, test ids)")
        train, test = (check_ids(f"split_dataset's {what} ids", ids) for what, ids in zip(("training", "test"), parts))
        if not train:
            raise InvalidInput("split_dataset returned no training ids")
        known = {str(item) for item in self.id_intersection}
        strangers = sum(str(item) not in known for ids in (train, test) for item in ids)
        if strangers:
            raise InvalidInput(f"split_dataset returned {strangers} ids that are not in the intersection")
        self.train_ids, self.test_ids = train, test

    def build_feature_part(self) -> torch.optim.Optimizer | None:
        """The bottom model and its optimizer; None when it is frozen."""
        self.feature_model = self.build_model("build_feature_model")
        if not self.scheduler.is_feature_trainable:
            return None
        return self.build_optimizer("build_feature_optimizer", self.feature_model)

    def build_model(self, name: str) -> nn.Module:
        """What the user's method of this name builds."""
        model = self.user(name, getattr(self.scheduler, name))
        if not isinstance(model, nn.Module):
            raise UserCodeError(f"{name} must return a torch.nn.Module, not {type(model).__name__}")
        return model

    def build_optimizer(self, name: str, model: nn.Module) -> torch.optim.Optimizer | None:
        """What the user's method of this name builds; it may be None if there is nothing to train."""
        optimizer = self.user(name, getattr(self.scheduler, name), model)
        if optimizer is None and next(model.parameters(), None) is None:
            return None
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UserCodeError(f"{name} must return a torch.optim.Optimizer, not {type(optimizer).__name__}")
        return optimizer

    def set_mode(self, training: bool) -> None:
        """Train or eval mode. A frozen bottom model stays in eval mode: it is a fixed function."""
        self.feature_model.train(training and self.scheduler.is_feature_trainable)

    def batches(self, training: bool) -> Iterator[Any]:
        """The user's iterator of this round, its errors named, its gradients off where nothing is trained."""
        scheduler = self.scheduler
        name = "iterate_train_feature" if training else "iterate_test_feature"
        ids = self.train_ids if training else self.test_ids
        made = self.user(name, getattr(scheduler, name), self.feature_model, ids)
        if not isinstance(made, Iterable):
            raise UserCodeError(f"{name} must yield batches or return them in an iterable, not {type(made).__name__}")
        iterator, end = iter(made), object()
        with_gradients = training and scheduler.is_feature_trainable
        while True:
            with torch.set_grad_enabled(with_gradients):
                batch = self.user(name, next, iterator, end)
            if batch is end:
                return
            yield batch

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
        self._batch_ids = ids_digest(self.manifest.session, "batch", ids)

    def take_batch_ids(self) -> bytes:
        """The digest for the batch that was just yielded, or empty."""
        digest, self._batch_ids = self._batch_ids, b""
        return digest

    @property
    def tb_writer(self) -> SummaryWriter:
        """Made when first used."""
        if self._tb_writer is None:
            self._tb_writer = recording_writer(self._results / "tensorboard", self.metrics.scalars)
        return self._tb_writer

    def keep_stock(self, prepares: Iterable[Callable[[], bool]]) -> None:
        """From now on, make ahead of time what these can."""
        self.stock = StockKeeper(prepares)
        self.stock.start()

    def keep_transcript(self, link: Link, peer_certificate: bytes) -> None:
        """From now on, record everything that is sent to and received from this peer."""
        directory = self.store.directory(self.record.task_id) / "transcripts"
        transcript = Transcript(directory, link.channel, self.role, self.identity, peer_certificate, self.options.seed)
        self.transcripts.append((link, transcript))

    def checkpoint(self) -> None:
        """At a boundary of phases or rounds: sign, with every peer, everything that has crossed the wire."""
        place = self.place
        begun = [link.start(transcript.exchange(place.phase, place.round)) for link, transcript in self.transcripts]
        for conversation in begun:
            conversation.finish()

    def bytes_now(self) -> tuple[int, int]:
        """Wire bytes sent and received so far, over all peers."""
        channels = [link.channel for link in self.links.values()]
        return sum(channel.bytes_sent for channel in channels), sum(channel.bytes_received for channel in channels)

    def account(self, into: RoundMetrics, training: bool, bytes_before: tuple[int, int]) -> None:
        """Close the books of one pass over the training or test batches."""
        seconds = self.watch.take()
        total = seconds.pop("total")
        if training:
            into.train_seconds, into.seconds_by_step = total, seconds
        else:
            into.test_seconds = total
        sent, received = self.bytes_now()
        into.bytes_sent += sent - bytes_before[0]
        into.bytes_received += received - bytes_before[1]
        self.progress.emit("round", **into.model_dump(mode="json"))

    def _count_bytes(self) -> None:
        self.metrics.bytes_sent, self.metrics.bytes_received = self.bytes_now()
        for link in self.links.values():
            for way, traffic in (("sent", link.channel.sent), ("received", link.channel.received)):
                for name, (count, size) in traffic.by_type.items():
                    into = self.metrics.messages.setdefault(name, {})
                    into[f"{way}_messages"] = into.get(f"{way}_messages", 0) + count
                    into[f"{way}_bytes"] = into.get(f"{way}_bytes", 0) + size


def check_features(name: str, features: object) -> torch.Tensor:
    """A batch of features as [rows, width] of floats. Raises `UserCodeError`."""
    if not isinstance(features, torch.Tensor):
        raise UserCodeError(f"{name} must yield tensors of features, not {type(features).__name__}")
    if features.ndim != 2 or not features.numel():
        raise UserCodeError(f"{name} must yield features [batch, features], not {list(features.shape)}")
    if not features.is_floating_point():
        raise UserCodeError(f"{name} must yield floating point features, not {features.dtype}")
    return features
