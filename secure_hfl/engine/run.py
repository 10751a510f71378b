"""One party's run of one task: what both roles share.

join ─▶ agree ─▶ intersect ─▶ split and compare ─▶ set up the projections ─▶ rounds ─▶ results
 ▲        └──────────┴───────────────┴──────── a lost connection: join again, go on from the last common checkpoint
 └─────────────────────────────────────────────any other failure: tell every peer why, keep the log, raise TaskFailed
"""

from __future__ import annotations

import gc
import shutil
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from protocols.core.envelope import Phase, Place
from protocols.core.errors import SecureHflError
from protocols.layer.interface import CollaboratorLayer, HostLayer, LayerSpec
from protocols.task.abort import Abort, AbortCode
from protocols.task.alignment import SampleId
from protocols.task.manifest import Manifest
from protocols.task.resumption import ResumePoint
from secure_hfl import run_options
from secure_hfl.engine.checkpointing import MAX_RESUMES, Checkpoints
from secure_hfl.engine.failure import Failure, diagnose, one_line
from secure_hfl.engine.interrupt import Interrupter
from secure_hfl.engine.link import Link
from secure_hfl.engine.measurements import Accounts
from secure_hfl.engine.precomputation import Precomputation
from secure_hfl.engine.recovery import Shutdown, ShuttingDown, did_not_return, first_round, is_resumable
from secure_hfl.engine.user_code import SchedulerT, UserCode, Value
from secure_hfl.errors import ConfigurationError, PeerRefused, SchemeMismatch
from secure_hfl.executor import LocalExecutor
from secure_hfl.home import home_directory
from secure_hfl.identity import Identity, warn_of_dates
from secure_hfl.log import close_task_log, log_traceback, logger, open_task_log
from secure_hfl.metrics import RunMetrics, add_traffic
from secure_hfl.progress import progress_for
from secure_hfl.results import save_results
from secure_hfl.schedulers.base import seed_everything
from secure_hfl.schemes import load_scheme
from secure_hfl.tasks import TaskRecord, TaskStore, resolve_task
from secure_hfl.transcript import Transcript, last_position
from secure_hfl.work_clock import span

FLUSH_SECONDS = 5.0
"""How long a failing party waits for its last words to leave."""


class TaskRun(Accounts, UserCode[SchedulerT]):
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
        self.precomputation = Precomputation(())
        self.metrics = RunMetrics(party=self.party, role=self.role, scheme=self.scheme.name, seed=self.options.seed)
        self.current_round = 0
        self.manifest: Manifest
        self.id_intersection: frozenset[str] = frozenset()
        self.train_ids: Collection[SampleId] = ()
        self.test_ids: Collection[SampleId] = ()
        self.feature_model: nn.Module
        self.detail_by_code: dict[str, str] = {}
        self.specs: dict[str, LayerSpec] = {}
        self.checkpoints = Checkpoints(self)
        self.interrupter = Interrupter()
        self.shutdown = Shutdown()
        self.is_resuming = bool(self.options.resume)
        self._interruptions = 0
        self._interrupted_at: float | None = None
        self._interrupted_by: BaseException | None = None
        self._earlier = RunMetrics(party=self.party, role=self.role, scheme=self.scheme.name)
        self._started = 0.0
        self._artifacts: list[Path] = []
        self._transcript_files: list[Path] = []
        self._batch_ids: bytes = b""
        self._results = self.store.directory(self.record.task_id) / "results"
        self._transcripts = self.store.directory(self.record.task_id) / "transcripts"

    @property
    def task_id(self) -> str:
        """Of the task that it runs."""
        return self.record.task_id

    # The life of a run -----------------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Run the task to its end. Raises `TaskFailed`."""
        self.store.start(self.record.task_id)
        handler = open_task_log(self.store.directory(self.record.task_id) / "log.txt")
        self._started = time.perf_counter()
        try:
            with self.shutdown.listening():
                self._prepare()
                self._work_through_interruptions()
                self._finish()
        except BaseException as error:
            self.interrupter.stop()
            log_traceback(handler, error)
            failure = self._fail(self.interrupter.reason or error)
            if isinstance(error, (KeyboardInterrupt, ShuttingDown)) and self.interrupter.reason is None:
                raise
            raise failure.error() from (None if isinstance(error, SecureHflError) else error)
        finally:
            self.interrupter.stop()
            self._close()
            close_task_log(handler)

    def _work_through_interruptions(self) -> None:
        while True:
            try:
                self._work()
                return
            except BaseException as error:
                cause = self.interrupter.reason or error
                if is_resumable(cause) and self.shutdown.requested:
                    raise ShuttingDown from None
                if not is_resumable(cause) or self._interruptions >= MAX_RESUMES:
                    raise
                self._suspend(cause)

    def _work(self) -> None:
        """From joining to the last message."""
        try:
            self._join()
        except PeerRefused as error:
            if not (self.is_resuming and self.checkpoints.is_settled):
                if self._interrupted_by is None:
                    raise
                raise did_not_return(error, self._interrupted_by) from None
            self._finish_alone()
            return
        self._agree()
        point = self.manifest.resume_point
        self.checkpoints.begin(self.manifest.resumed_from, self.is_resuming)
        if point is None:
            if self.options.seed is not None:
                seed_everything(self.options.seed, self.party)
            self._intersect()
            self.sign()
            self.keep(ResumePoint(Phase.PSI))
        else:
            self.checkpoints.restore_intersection()
        if point is None or not point.is_set_up:
            self._align()
            self._set_up()
            self.sign()
            self.keep(ResumePoint(Phase.SETUP))
        else:
            self._set_up_again(point)
            self.sign()
        self._start_background(is_first=point is None or not point.is_set_up)
        if self.is_resuming:
            self._announce_resumption(point)
        gc.collect()  # takes 0.2 s with torch: now, at all parties at once, not at each in the middle of a round
        self._train(point)

    @abstractmethod
    def _join(self) -> None:
        """Open a channel to every peer. Raises `PeerRefused`."""

    @abstractmethod
    def _agree(self) -> None:
        """On what is run, and from where."""

    @abstractmethod
    def _intersect(self) -> None:
        """Private set intersection."""

    @abstractmethod
    def _align(self) -> None:
        """Split, and compare the splits."""

    @abstractmethod
    def _set_up(self) -> None:
        """Build the models, draw the first batch, make the projection layers."""

    @abstractmethod
    def _set_up_again(self, point: ResumePoint) -> None:
        """The same from a checkpoint."""

    @abstractmethod
    def _start_background(self, is_first: bool) -> None:
        """Begin to make ahead of time what can be. `is_first`: nothing was trained yet."""

    @abstractmethod
    def _train(self, point: ResumePoint | None) -> None:
        """All rounds from there on, and the farewell."""

    @abstractmethod
    def models(self) -> dict[str, nn.Module]:
        """This party's models by file name."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """This party's optimizers by name."""

    @abstractmethod
    def layers(self) -> Mapping[str, HostLayer] | Mapping[str, CollaboratorLayer]:
        """This party's ends of the projection layers, by the collaborator's feature key."""

    # Interruptions ---------------------------------------------------------------------------------------------------

    def _suspend(self, cause: BaseException) -> None:
        """Let go of everything that belongs to the broken conversation."""
        self.interrupter.stop()
        self._interruptions += 1
        self._interrupted_by = cause
        if self._interrupted_at is None:
            self._interrupted_at = time.perf_counter()
        logger.warning(f"Interrupted in {self.place}: {cause} Waiting to go on from the last checkpoint.")
        self.progress.emit("interrupted", reason=one_line(str(cause)))
        reason = f"{self.party} was interrupted in {self.place} and waits for all to come back"
        failure = Failure(self.party, AbortCode.CONNECTION_LOST, reason)
        for link in self.links.values():
            self._send_abort(link, failure)
        self._disconnect()
        self.interrupter = self.interrupter.renewed()
        self.is_resuming = True

    def _announce_resumption(self, point: ResumePoint | None) -> None:
        where = "the beginning" if point is None else str(point)
        seconds = time.perf_counter() - (self._started if self._interrupted_at is None else self._interrupted_at)
        self.metrics.resumes += 1
        self.metrics.recovery_seconds.append(seconds)
        self._interrupted_at = None
        self.checkpoints.release()
        logger.info(f"Going on from {where} after {seconds:.2f} s.")
        self.progress.emit("resumed", **{"from": where, "seconds": seconds})

    def keep(self, point: ResumePoint, batches: int = 0) -> None:
        """Make a checkpoint."""
        for _, transcript in self.transcripts:
            transcript.sync()  # a checkpoint must not be ahead of what is known to have led to it
        self.checkpoints.save(point, batches)
        self._interruptions = 0
        self.shutdown.checkpoint_made()

    def batch_done(self, number: int, count: int, every: int) -> None:
        """After a batch of training: make a checkpoint if one is due. Raises `ShuttingDown` if that was waited for."""
        self.shutdown.after_batch()
        if every and count % every == 0:
            self.keep(ResumePoint(Phase.TRAIN, number, count), count)

    def resume_iterator(self, point: ResumePoint, start: Callable[[], Iterator[Value]]) -> Iterator[Value] | None:
        """Put models and generators back; the iterator of the round under way, if the checkpoint lies in one."""
        self.set_mode(training=True)
        self.current_round, behind, batches = first_round(point)
        if behind is None:
            return self.checkpoints.replay(start, batches)
        self.checkpoints.restore_local()
        self.checkpoints.begin_round()
        return None

    def _finish_alone(self) -> None:
        """Nobody is there any more, and nobody need be: all have saved their results."""
        logger.warning("The others have finished and gone; only the last signature in the transcript may be missing.")
        if not self._artifacts:
            self.checkpoints.take_newest()
            self.checkpoints.restore_intersection()
            self._artifacts = sorted(path for path in self._results.rglob("*") if path.is_file())

    def last_position(self, link: Link) -> bytes:
        """How far the transcript of the conversation before goes, for the peer; empty if there was none."""
        if not self.is_resuming:
            return b""
        seam = last_position(self._transcripts, link.channel.peer)
        return b"" if seam is None else seam.encode()

    def _prepare(self) -> None:
        scheduler = self.scheduler
        self.progress.emit("phase", phase="join", round=0)
        self.user("validate_context", scheduler.validate_context)
        if not scheduler._context_is_valid:
            raise ConfigurationError("validate_context() must call super().validate_context() first")
        if self.record.data_check is None:
            logger.warning("No DataChecker has verified the data of this task.")
        warn_of_dates({party.name: party.certificate_pem for party in self.record.participants}, logger.warning)
        if self.options.seed is not None:
            logger.warning("This run has a seed: it can be repeated, and it is NOT SECRET.")
        if not self.is_resuming:
            if self.checkpoints.exist():
                logger.warning("An earlier run left checkpoints. This one starts anew; --resume would go on from them.")
            shutil.rmtree(self._results, ignore_errors=True)
        self._results.mkdir(mode=0o700, exist_ok=True)

    def save(self) -> None:
        """Write the results. Done before the farewell, so that no party finishes a task whose results another lost."""
        self.precomputation.stop()
        if self._tb_writer is not None:
            self._tb_writer.close()
        self.metrics = self.metrics_so_far()
        projections = {key: layer.weights() for key, layer in self.layers().items()}
        self._artifacts = save_results(self._results, self.models(), projections, self.metrics)

    def _finish(self) -> None:
        metrics = self.metrics
        transcripts = [*self._transcript_files, *(transcript.path for _, transcript in self.transcripts)]
        self.store.finish(self.record.task_id, self._summary(), [*self._artifacts, *transcripts])
        self.checkpoints.clear()
        logger.info(f"Task {self.record.task_id} finished after {self.current_round} rounds; results: {self._results}")
        self.progress.emit("end", ok=True, reason="", metrics=metrics.model_dump(mode="json"))

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
        abort = Abort(reason=one_line(failure.reason), party=one_line(failure.party, 100), code=str(failure.code))
        try:
            link.channel.send(place.phase, place.round, place.batch, abort, FLUSH_SECONDS)
        except SecureHflError as error:
            logger.debug(f"{link.name} could not be told: {error}")

    def _close(self) -> None:
        self._disconnect()
        self.executor.close()

    def _disconnect(self) -> None:
        self.precomputation.stop()
        for link in self.links.values():
            try:
                link.channel.close(FLUSH_SECONDS)
            except SecureHflError as error:
                logger.debug(f"closing the connection to {link.name}: {error}")
        add_traffic(self._earlier, [link.channel for link in self.links.values()])
        for _, transcript in self.transcripts:
            transcript.close()
            if transcript.path.exists():  # nothing is kept of a conversation that never was
                self._transcript_files.append(transcript.path)
        self.links, self.transcripts = {}, []

    # What the roles use ----------------------------------------------------------------------------------------------

    def go_to(self, phase: Phase, round_number: int = 0, batch: int = 0) -> None:
        """From now on, messages are of this place."""
        if (phase, round_number) != (self.place.phase, self.place.round):
            self.progress.emit("phase", phase=phase.name.lower(), round=round_number)
        self.place = Place(phase, round_number, batch)
        for link in self.links.values():
            link.place = self.place

    def precompute(self, prepares: Iterable[Callable[[], bool]]) -> None:
        """From now on, make ahead of time what these can."""
        self.precomputation = Precomputation(prepares)
        self.precomputation.start()

    def keep_transcript(self, link: Link, peer_certificate: bytes) -> None:
        """From now on, record everything that is sent to and received from this peer."""
        transcript = Transcript(
            self._transcripts, link.channel, self.role, self.identity, peer_certificate, self.options.seed
        )
        self.transcripts.append((link, transcript))

    def sign(self) -> None:
        """At a boundary of phases or rounds: sign, with every peer, everything that has crossed the wire."""
        place = self.place
        with span("transcript"):
            begun = [link.start(transcript.exchange(place.phase, place.round)) for link, transcript in self.transcripts]
            for conversation in begun:
                conversation.finish()
