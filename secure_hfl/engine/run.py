"""The life of one party's run of one task, whatever its role.

join ─▶ agree ─▶ intersect ─▶ split and compare ─▶ set up the projections ─▶ rounds ─▶ results
 ▲        └──────────┴───────────────┴──────── a lost connection: join again, go on from the last common checkpoint
 └─────────────────────────────────────────────any other failure: tell every peer why, keep the log, raise TaskFailed
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from typing import Protocol

import torch

from protocols.core.envelope import Phase
from protocols.core.errors import SecureHflError
from protocols.core.randomness import SeededRandomness
from protocols.core.wording import plural
from protocols.task.abort import AbortCode
from protocols.task.manifest import Manifest
from protocols.task.resumption import ResumePoint
from secure_hfl import progress_file
from secure_hfl.checkpoints.snapshot import Snapshot
from secure_hfl.engine.abort_codes import code_of
from secure_hfl.engine.failure import Failure, diagnose, one_line
from secure_hfl.engine.id_forms import what_may_not_match
from secure_hfl.engine.models import Models
from secure_hfl.engine.psi_files import Ids
from secure_hfl.engine.psi_work import PsiOutcome
from secure_hfl.engine.recovery import did_not_return
from secure_hfl.engine.run_view import RunView
from secure_hfl.engine.shutdown import ShuttingDown
from secure_hfl.engine.whole_import import import_whole
from secure_hfl.engine.workbench import Workbench
from secure_hfl.errors import ConfigurationError, PeerRefused
from secure_hfl.executor import Executor
from secure_hfl.failed_test import FailedTest
from secure_hfl.identity import warn_of_dates
from secure_hfl.log import close_task_log, log_traceback, logger, open_task_log
from secure_hfl.memory import give_back
from secure_hfl.progress_file import Both, ProgressFile
from secure_hfl.ray_executor import executor_for
from secure_hfl.results import LAST_STATE
from secure_hfl.transport import FORKS_SAFELY


class Role(Protocol):
    """What the host and a collaborator do differently."""

    @property
    def models(self) -> Models:
        """This party's."""

    def join(self) -> None:
        """Open a channel to every peer. Raises `PeerRefused`."""

    def agree(self) -> Manifest:
        """On what is run, and from where."""

    def intersect(self, ids: Ids, executor: Executor) -> PsiOutcome:
        """Private set intersection."""

    def align(self) -> None:
        """Compare the splits."""

    def set_up(self) -> None:
        """Build the models, draw the first batch, make the projection layers."""

    def set_up_again(self, snapshot: Snapshot) -> None:
        """The same from a checkpoint."""

    def start_background(self, is_first: bool) -> None:
        """Begin to make ahead of time what can be. `is_first`: nothing was trained yet."""

    def train(self, point: ResumePoint | None) -> None:
        """All rounds from there on, and the farewell."""

    def close(self) -> None:
        """The run is over: stop listening for peers."""


class Run:
    """One party's run.

    Args:
        bench: what it works with.
        role: what it does.

    Attributes:
        view: what the scheduler is shown of it.
    """

    def __init__(self, bench: Workbench, role: Role) -> None:
        self.bench = bench
        self.view = RunView(bench, role.models)
        self._role = role
        self._failed_test = FailedTest(bench.assignment.directory)

    def execute(self) -> None:
        """Run the task to its end.

        Raises:
            TaskFailed: it did not get there.
            TaskStateError: a test of what is sent has failed in an earlier run of it.
        """
        bench, task = self.bench, self.bench.assignment
        self._failed_test.check_training()
        task.store.start(task.record.task_id)
        handler = open_task_log(task.directory / "log.txt")
        record = self._keep_progress()
        bench.measurements.start()
        try:
            with bench.recovery.shutdown.listening():
                self._prepare()
                bench.recovery.go_through(self._work, self._cause_of, self._suspend)
                self._finish()
        except BaseException as error:
            interrupter = bench.user.interrupter
            interrupter.stop()
            log_traceback(handler, error)
            failure = self._fail(interrupter.reason or error)
            if isinstance(error, (KeyboardInterrupt, ShuttingDown)) and interrupter.reason is None:
                raise
            raise failure.error() from (None if isinstance(error, SecureHflError) else error)
        finally:
            bench.user.interrupter.stop()
            self.close()
            bench.layers.clear()  # a scheduler that is kept keeps what its run works with
            task.scheme.let_go()
            give_back()
            record.close()
            close_task_log(handler)

    def close(self) -> None:
        """Let go of everything. May be called again."""
        try:
            self.bench.close()
        finally:
            self._role.close()

    def _keep_progress(self) -> ProgressFile:
        """From now on, also in the task's directory."""
        bench, task = self.bench, self.bench.assignment
        about = {"party": task.party, "role": task.role, "scheme": task.scheme.name}
        about["script"] = os.path.abspath(sys.argv[0]) if sys.argv[0] else ""
        record = ProgressFile(task.directory / progress_file.NAME, bench.recovery.is_resuming, about)
        bench.progress.listener = Both(bench.progress.listener, record)
        return record

    def _tell_plan(self) -> None:
        """What is to come, as far as it is known."""
        bench = self.bench
        manifest, (train, test) = bench.state.manifest, bench.state.samples
        rows = next(iter(bench.layers.specs.values())).rows
        batches = -(-train // rows)
        bench.progress.emit(
            "plan",
            rounds=manifest.max_rounds or None,
            batches=min(batches, manifest.max_batches or batches),
            train=train,
            test=test,
            peers=list(bench.peers.links),
        )

    def _prepare(self) -> None:
        bench, task = self.bench, self.bench.assignment
        bench.progress.emit("phase", phase="join", round=0)
        import_whole()
        bench.user.validate()
        if task.record.data_check is None:
            logger.warning("No DataChecker has verified the data of this task (optional).")
        warn_of_dates({party.name: party.certificate_pem for party in task.record.participants}, logger.warning)
        if not FORKS_SAFELY:
            logger.warning(
                "gRPC was imported before secure_hfl, so a process that this one forks, for a DataLoader for example, "
                "may crash: set GRPC_ENABLE_FORK_SUPPORT=0, or import secure_hfl first."
            )
        if task.options.seed is not None:
            logger.warning("This run has a seed: it can be repeated, and it is NOT SECRET.")
        if not bench.recovery.is_resuming:
            if bench.checkpoints.exist():
                logger.warning("An earlier run left checkpoints. This one starts anew; --resume would go on from them.")
            shutil.rmtree(task.results, ignore_errors=True)
        task.results.mkdir(mode=0o700, exist_ok=True)

    def _work(self) -> None:
        """From joining to the last message."""
        bench, role = self.bench, self._role
        try:
            role.join()
        except PeerRefused as error:
            self._nobody_there(error)
            return
        manifest = bench.state.manifest = role.agree()
        point = manifest.resume_point
        snapshot = bench.checkpoints.begin(manifest.resumed_from, bench.recovery.is_resuming)
        if snapshot is None:
            if not bench.recovery.is_resuming:
                bench.psi_files.clear()
            self._intersect()
        else:
            bench.take_over(snapshot)
        is_new = snapshot is None or not snapshot.point.is_set_up
        if snapshot is None or not snapshot.point.is_set_up:
            self._set_up()
        else:
            bench.state.train_ids, bench.state.test_ids = snapshot.at_set_up().ids(bench.state.intersection)
            role.set_up_again(snapshot)
            bench.peers.sign()
        del snapshot  # it need not stay in memory
        self._tell_plan()
        role.start_background(is_new)
        if bench.recovery.is_resuming:
            self._announce_resumption(point)
        gc.collect()  # takes 0.2 s with torch: now, at all parties at once, not at each in the middle of a round
        role.train(point)

    def _intersect(self) -> None:
        bench, options = self.bench, self.bench.assignment.options
        if options.seed is not None:
            seed_everything(options.seed, bench.assignment.party)
        bench.peers.go_to(Phase.PSI)
        executor = executor_for(options.engine)
        try:
            ids = bench.user.local_ids(bench.psi_files)
            outcome = self._role.intersect(ids, executor)
        except OSError as error:
            where, what = bench.psi_files.directory, error.strerror or type(error).__name__
            raise ConfigurationError(
                f"{where}: {what}. Large sets of ids go there while they are intersected: make room, then --resume"
            ) from error
        finally:
            executor.close()  # its processes have nothing left to do, and hold memory
        bench.state.intersection, bench.measurements.metrics.psi = outcome.intersection, outcome.metrics
        if problem := what_may_not_match(ids, outcome.intersection):
            logger.warning(f"{problem}.")
        bench.peers.sign()
        bench.keep(ResumePoint(Phase.PSI))
        bench.psi_files.clear()

    def _set_up(self) -> None:
        bench = self.bench
        bench.peers.go_to(Phase.ALIGN)
        bench.state.train_ids, bench.state.test_ids = bench.user.split(bench.state.intersection)
        self._role.align()
        bench.peers.sign()
        bench.state.current_round = 1
        bench.peers.go_to(Phase.SETUP)
        self._role.set_up()
        bench.peers.sign()
        bench.keep(ResumePoint(Phase.SETUP))

    # Interruptions ---------------------------------------------------------------------------------------------------

    def _cause_of(self, error: BaseException) -> BaseException:
        return self.bench.user.interrupter.reason or error

    def _suspend(self, cause: BaseException) -> None:
        """Let go of everything that belongs to the broken conversation."""
        bench, party = self.bench, self.bench.assignment.party
        bench.user.interrupter.stop()
        where = bench.peers.place
        told, seconds = str(cause), bench.user.schedule_timeout
        told += "" if told.endswith((".", "?", "!")) else "."
        logger.warning(f"Interrupted in {where}: {told} Waiting {seconds:g} s to go on from the last checkpoint.")
        bench.progress.emit("interrupted", reason=one_line(str(cause)), code=str(code_of(cause)))
        reason = f"{party} was interrupted in {where} and waits for all to come back"
        bench.peers.abort(Failure(party, AbortCode.CONNECTION_LOST, reason))
        bench.close()
        bench.user.interrupter = bench.user.interrupter.renewed()

    def _announce_resumption(self, point: ResumePoint | None) -> None:
        bench = self.bench
        where = "the beginning" if point is None else str(point)
        seconds = bench.recovery.resumed(bench.measurements.started)
        bench.measurements.resumed(seconds)
        logger.info(f"Going on from {where} after {seconds:.2f} s.")
        bench.progress.emit("resumed", **{"from": where, "seconds": seconds})

    def _nobody_there(self, error: PeerRefused) -> None:
        """Raise, unless nobody need be there: all have saved their results."""
        bench, recovery = self.bench, self.bench.recovery
        if not (recovery.is_resuming and bench.checkpoints.is_settled):
            if recovery.interrupted_by is None:
                raise error
            raise did_not_return(error, recovery.interrupted_by) from None
        logger.warning("The others have finished and gone; only the last signature in the transcript may be missing.")
        if not bench.state.results:
            bench.take_over(bench.checkpoints.newest())
            bench.state.results = sorted(path for path in bench.assignment.results.rglob("*") if path.is_file())

    # The end ---------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        bench, task = self.bench, self.bench.assignment
        metrics = bench.measurements.metrics
        files = [*bench.state.results, *bench.peers.transcript_files]
        task.store.finish(task.record.task_id, bench.measurements.summary(), files)
        bench.checkpoints.hand_over(task.results / LAST_STATE)
        rounds = bench.state.current_round
        logger.info(f"Task {task.record.task_id} finished after {plural(rounds, 'round')}; results: {task.results}")
        bench.progress.emit("end", ok=True, reason="", metrics=metrics.model_dump(mode="json"))

    def _fail(self, error: BaseException) -> Failure:
        """Tell every peer why, and keep what only we may know in the log."""
        bench, task = self.bench, self.bench.assignment
        failure = diagnose(error, task.party, bench.peers.place)
        self._failed_test.keep(error, bench.peers.place.phase, takes_their_word=True)
        bench.peers.abort(failure)
        task.store.fail(task.record.task_id, failure.reason)
        bench.progress.emit("end", ok=False, reason=failure.reason, code=str(failure.code))
        return failure


def seed_everything(number: int, label: str) -> None:
    """Torch's generators for a reproducible run, different at every party."""
    torch.manual_seed(int.from_bytes(SeededRandomness(number, f"torch at {label}").bytes(8), "little") >> 1)
