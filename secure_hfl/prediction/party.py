"""What both roles of a prediction have: the trained models, and sessions one after the other.

join ─▶ agree ─▶ intersect ─▶ set up again, with fresh keys ─▶ one round of test batches ─▶ farewell
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from protocols.core.envelope import Phase
from protocols.core.errors import SecureHflError, WrongSession
from protocols.task.manifest import Manifest
from protocols.task.terms import Pinned
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.engine.failure import diagnose
from secure_hfl.engine.models import Models
from secure_hfl.engine.psi_files import Ids
from secure_hfl.engine.psi_work import PsiOutcome, PsiWork
from secure_hfl.engine.run_view import RunView
from secure_hfl.engine.workbench import Workbench
from secure_hfl.failed_test import FailedTest
from secure_hfl.identity import digest_of
from secure_hfl.log import close_task_log, log_traceback, open_task_log
from secure_hfl.prediction.assignment import PredictionAssignment
from secure_hfl.prediction.features import PredictionFeatures
from secure_hfl.prediction.trained import TrainedState, Training
from secure_hfl.ray_executor import executor_for

ROWS = 128
"""Samples in a batch of predictions, at most."""


def rows_of(manifest: Manifest, count: int) -> int:
    """Samples in a batch, where so many are predicted: as many as all collaborators allow."""
    allowed = [manifest.limits(key).rows for key in manifest.feature_keys]
    return min([count, ROWS, *filter(None, allowed)])


def batches_of(ids: Sequence[str], rows: int) -> list[slice]:
    """Which of the ids are in which batch."""
    return [slice(start, min(start + rows, len(ids))) for start in range(0, len(ids), rows)]


def show(scheduler: Any, view: RunView) -> None:
    """From now on a scheduler's properties look at this: its methods that build models may use them."""
    scheduler._run = view


class PredictingParty:
    """One party, for any number of sessions one after the other.

    Args:
        scheduler: the user's.
        assignment: what it predicts with.
        training: which training's results.
        make_models: of the role; given the calls of the user's methods.
        build: makes the models by the user's methods.

    Attributes:
        bench: what sessions work with.
        state: what the training has left here.
    """

    def __init__(
        self,
        scheduler: PartyScheduler,
        assignment: PredictionAssignment,
        training: Training,
        bench: Workbench,
        models: Models,
        build: Callable[[], None],
    ) -> None:
        self.bench, self.assignment, self.training, self.models = bench, assignment, training, models
        self.state = TrainedState(training, assignment)
        bench.user.validate()
        self._restore(build)
        train, other = bench.state.train_ids, bench.state.test_ids
        self.features = PredictionFeatures(bench.user, scheduler, models.feature_model, train, other)

    def _restore(self, build: Callable[[], None]) -> None:
        bench, snapshot = self.bench, self.state.snapshot
        bench.state.current_round = self.state.rounds
        if snapshot is None:
            build()
            self.state.load_models(self.models.by_name())
        else:
            bench.state.intersection = snapshot.ids()
            bench.state.train_ids, bench.state.test_ids = snapshot.at_set_up().ids(bench.state.intersection)
            build()
            # Without the optimizers: nothing is trained, and another version may group parameters otherwise.
            bench.user_state.hold(self.models.by_name(), {})
            local = {**(snapshot.user.local or {}), "optimizers": {}}
            bench.user_state.restore(replace(snapshot.user, local=local))
        self.models.set_mode(training=False)

    @property
    def all_ids(self) -> list[str]:
        """Of this party, now."""
        return self.bench.user.all_ids()

    @property
    def local_ids(self) -> Ids:
        """The same; in a file, if they are many."""
        return self.bench.user.local_ids(self.bench.psi_files)

    def pinned(self) -> Pinned:
        """The certificates of the task."""
        record = self.assignment.record
        others = {each.name: digest_of(each.certificate_pem) for each in record.collaborators}
        return Pinned(digest_of(record.host.certificate_pem), others)

    @contextmanager
    def session(self, failed_test: FailedTest | None = None) -> Iterator[None]:
        """Around one. What goes wrong in it is told to all peers, and raised as `TaskFailed`.

        Args:
            failed_test: keeps it before, if it is a failed test, or one that is left unanswered.
        """
        bench = self.bench
        bench.user.interrupter = bench.user.interrupter.renewed()
        handler = open_task_log(self.assignment.directory / "log.txt")
        try:
            bench.peers.go_to(Phase.JOIN)
            yield
        except BaseException as error:
            interrupter = bench.user.interrupter
            interrupter.stop()
            if not isinstance(error, WrongSession):  # a budget, or other terms: whoever serves says so in one line
                log_traceback(handler, error)
            cause = interrupter.reason or error
            if failed_test is not None:
                if any(link.has_open_question for link in bench.peers.links.values()):
                    failed_test.keep_unanswered(cause)
                failed_test.keep(cause, bench.peers.place.phase)
            failure = diagnose(cause, self.assignment.party, bench.peers.place)
            bench.peers.abort(failure)
            if not isinstance(error, Exception) and interrupter.reason is None:
                raise
            raise failure.error() from (None if isinstance(error, SecureHflError) else error)
        finally:
            bench.user.interrupter.stop()
            bench.close()
            close_task_log(handler)

    def intersect(
        self, ids: Ids, run: Callable[[PsiWork], PsiOutcome], most: int, opened: Callable[[int], None]
    ) -> PsiOutcome:
        """PSI of these ids with the peers', signed."""
        bench = self.bench
        bench.peers.go_to(Phase.PSI)
        executor = executor_for(self.assignment.options.engine)
        try:
            manifest = bench.state.manifest
            work = PsiWork(manifest, ids, executor, bench.progress, bench.psi_files, most, True, opened)
            outcome = run(work)
        finally:
            executor.close()
            bench.psi_files.clear()
        bench.peers.sign()
        return outcome

    def settle(self, keys: Collection[str]) -> None:
        """Nothing more is shown in this session: write down what was."""
        for key in keys:
            spec = self.bench.layers.specs.get(key)
            if spec is not None:
                self.bench.checkpoints.spent.settle(key, spec.budget)
        self.bench.layers.clear()
